# ruff: noqa: INP001, A002 - one file, alone on PYTHONPATH: no package, its own system calls, the user's words
"""What a program inside a run imports; one file, any CPython from 3.8 on, Linux.

    from orchestra_client import attach, log, ready

    with attach() as run:
        jobs = run.queue("jobs")                 # POSIX or System V, as the topology says: same verbs
        board = run.segment("board")             # a memoryview, read-only where declared read
        locks = run.semaphore("locks", 2)        # index in a set
        ready()
        while (message := jobs.receive(timeout=1.0)) is not None:
            with locks:
                board[0:4] = message.body[:4]
            log.info("job done", data={"priority": message.priority})

Timeouts are seconds: None blocks, 0 does not. A signal never ends a wait early. Started by hand, without a run,
attach() raises NotInRun; give it addresses instead, as the command line spells them::

    with attach(jobs="posix-queue:/jobs", table="sysv-segment:0x4f524331") as run: ...

The bindings posix_ipc and sysv_ipc are used where they are installed and can do the job. For the rest (no bindings,
System V ids and key 0, sets of semaphores, System V timeouts, inherited descriptors) this file calls the C library.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import stat
import sys
from contextlib import suppress
from functools import lru_cache, partialmethod
from time import monotonic, time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Opened = TypeVar("Opened")
    Body = bytes | bytearray | memoryview | str  # text travels as UTF-8
    Binding = dict[str, Any]  # one object of ORCHESTRA_BINDINGS

__all__ = ["Message", "NotInRun", "Pipe", "Queue", "Run", "Semaphore", "attach", "log", "notify", "ready"]

CONTRACT = "1"  # the ORCHESTRA_VERSION that this file speaks


class NotInRun(RuntimeError):
    """This program was not started by orchestra, and it was given no addresses."""


class Message(NamedTuple):
    """One received message. A POSIX queue has priorities and type 1, a System V queue types and priority 0."""

    body: bytes
    priority: int = 0
    type: int = 1

    @property
    def text(self) -> str:
        """The body as UTF-8 text; bytes that are none show as U+FFFD."""
        return self.body.decode("utf-8", "replace")


_new = tuple.__new__  # _new(Message, (body, 0, 1)) takes half the time of Message(body, 0, 1)


# --- a run and its objects -------------------------------------------------------------------------------------------
def attach(**addresses: str) -> Run:
    """Return the run this process belongs to; use it as a context manager, which closes what was opened.

    `addresses` name objects by hand, in a run or without one: `posix-queue:/jobs`, `posix-segment:/board`,
    `posix-semaphore:/slots`, `sysv-queue:ID`, `sysv-segment:0xKEY`, `sysv-semaphore:0`, `file-segment:PATH`,
    `fifo:PATH`. An underscore stands for the dash in a key. Raises NotInRun without a run and without addresses,
    ValueError for an address that is none, OSError for a key that nothing has.
    """
    bindings: dict[str, Binding] = {}
    version = os.environ.get("ORCHESTRA_VERSION")
    if version == CONTRACT:
        bindings = json.loads(os.environ.get("ORCHESTRA_BINDINGS", "{}"))
    elif version is not None:
        raise NotInRun(f"this run speaks version {version} of the wiring, this client version {CONTRACT}")
    elif not addresses:
        raise NotInRun(
            "this program was not started by orchestra. Start it with `orchestra up FILE`, or give it addresses: "
            'attach(jobs="posix-queue:/jobs")'
        )
    bindings.update({_key(name): _by_hand(address) for name, address in addresses.items()})
    return Run(bindings)


class Run:
    """This process and the objects it `uses`. Asking twice for an object gives the same one.

    `bindings` holds what the topology says of each object, with its `x-*` keys: `run.bindings["board"]["x-shape"]`.
    """

    def __init__(self, bindings: dict[str, Binding]) -> None:
        env = os.environ.get
        self.bindings = bindings
        self.topology, self.instance = env("ORCHESTRA_TOPOLOGY", ""), env("ORCHESTRA_INSTANCE", "")
        self.run, self.process = env("ORCHESTRA_RUN", ""), env("ORCHESTRA_PROCESS", "")
        self.replica = int(env("ORCHESTRA_REPLICA") or 1)  # counts from 1
        self._opened: dict[tuple[str, str, int], Any] = {}
        self._closers: list[Callable[[], object]] = []

    def queue(self, key: str) -> Queue:
        """Open a queue. Raises LookupError when `uses` gives none of that key, OSError when it cannot be opened."""
        return self._open("queue", key, 0, _open_queue)

    def segment(self, key: str) -> memoryview:
        """Map a segment; its view is read-only where `uses` says read, and ends with the `with` block."""
        return self._open("segment", key, 0, _open_segment)

    def semaphore(self, key: str, index: int = 0) -> Semaphore:
        """Open a semaphore; `index` counts from 0 in a System V set."""
        return self._open("semaphore", key, index, _open_semaphore)

    def pipe(self, key: str) -> Pipe:
        """Return this process's end of a pipe. A FIFO is opened now, which waits for the other side."""
        return self._open("pipe", key, 0, _open_pipe)

    def close(self) -> None:
        """Close what was opened. Views are released; a slice of one keeps its memory mapped until it goes too."""
        self._opened.clear()
        while self._closers:
            with suppress(BufferError):  # somebody built on a view (numpy); it is unmapped when they let go
                self._closers.pop()()

    def __enter__(self) -> Run:  # noqa: PYI034 - typing.Self is younger than Python 3.8
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, kind: str, key: str, index: int, opener: Callable[..., Opened]) -> Opened:
        opened: Opened | None = self._opened.get((kind, key, index))
        if opened is None:
            binding = self.bindings.get(_key(key))
            if binding is None:
                known = ", ".join(f"{name} ({facts['kind']})" for name, facts in sorted(self.bindings.items()))
                raise LookupError(f"this process uses no {kind} {key!r}; it uses {known or 'nothing'}")
            if binding["kind"] != kind:
                raise LookupError(f"{key!r} is a {binding['kind']}: say run.{binding['kind']}({key!r})")
            opened = self._opened[kind, key, index] = opener(key, binding, index, self._closers.append)
        return opened


class Queue:
    """A message queue; threads may share it. Here speaks posix_ipc.MessageQueue, or _RawPosixQueue with its verbs."""

    def __init__(self, key: str, access: str, backend: Any, busy: Any, interrupted: Any) -> None:
        self.key, self.access = key, access
        self._send = self._refuse if access == "read" else backend.send  # bound once: this is the fast path
        self._receive = self._refuse if access == "write" else backend.receive
        self._busy, self._interrupted = busy, interrupted  # what the backend raises

    def send(self, body: Body, *, priority: int = 0, type: int = 1, timeout: float | None = None) -> None:
        """Send one message; wait while the queue is full.

        `priority` (0 to 32767, the highest leaves first) belongs to POSIX queues, `type` (from 1) to System V queues;
        what the queue does not have is refused. Raises TimeoutError when the queue stayed full, ValueError for a
        message that it can never hold, PermissionError where `uses` says read, OSError (EIDRM) when it was removed.
        """
        if type != 1:
            raise ValueError(f"{self.key} is a POSIX queue: messages have a priority, no type")
        end = timeout and monotonic() + (timeout := timeout if timeout > 0 else 0.0)
        while True:
            try:
                self._send(body, timeout, priority)
            except self._busy:
                raise TimeoutError(errno.ETIMEDOUT, f"queue {self.key} stayed full") from None
            except self._interrupted:
                timeout = end and max(0.0, end - monotonic())
            else:
                return

    def receive(self, *, type: int = 0, timeout: float | None = None) -> Message | None:
        """Take one message; return None when none came in time.

        System V only: a `type` above 0 takes the first message of that type, below 0 the first of the lowest type
        up to its absolute value. Raises PermissionError where `uses` says write, OSError (EIDRM) when it was removed.
        """
        if type:
            raise ValueError(f"{self.key} is a POSIX queue: it gives the oldest of the highest priority, not a type")
        end = timeout and monotonic() + (timeout := timeout if timeout > 0 else 0.0)
        while True:
            try:
                body, priority = self._receive(timeout)
            except self._busy:
                return None
            except self._interrupted:
                timeout = end and max(0.0, end - monotonic())
            else:
                return _new(Message, (body, priority, 1))

    def _refuse(self, *_: object) -> Any:
        raise PermissionError(errno.EACCES, f"this process uses queue {self.key} to {self.access} only")


class _SysvQueue(Queue):
    """Speaks sysv_ipc.MessageQueue; what that refuses is done over by _RawSysvQueue, which can wait and says why."""

    def __init__(self, key: str, access: str, backend: Any, refused: Any, raw: _RawSysvQueue) -> None:
        super().__init__(key, access, backend, refused, refused)
        self._patient_send = self._refuse if access == "read" else raw.send
        self._patient_receive = self._refuse if access == "write" else raw.receive

    def send(self, body: Body, *, priority: int = 0, type: int = 1, timeout: float | None = None) -> None:
        if priority:
            raise ValueError(f"{self.key} is a System V queue: messages have a type, no priority")
        try:
            self._send(body, timeout is None, type)
        except self._busy:
            if not _patiently(lambda wait: self._patient_send(body, wait, type), timeout):
                raise TimeoutError(errno.ETIMEDOUT, f"queue {self.key} stayed full") from None

    def receive(self, *, type: int = 0, timeout: float | None = None) -> Message | None:
        try:
            body, kind = self._receive(timeout is None, type)
        except self._busy:
            found = _patiently(lambda wait: self._patient_receive(wait, type), timeout)
            if found is None:
                return None
            body, kind = found
        return _new(Message, (body, 0, kind))


class Semaphore:
    """A counting semaphore; `with` takes one and gives it back."""

    def __init__(self, key: str, verbs: tuple[Callable[..., Any], ...], busy: Any, interrupted: Any) -> None:
        self.key = key
        self._acquire, self._release, self._value = verbs
        self._busy, self._interrupted = busy, interrupted  # what the verbs raise

    def acquire(self, timeout: float | None = None) -> bool:
        """Take one, waiting while there is none; False when none came in time. Raises OSError (EIDRM) when removed."""
        end = timeout and monotonic() + (timeout := timeout if timeout > 0 else 0.0)
        while True:
            try:
                self._acquire(timeout)
            except self._busy:
                return False
            except self._interrupted:
                timeout = end and max(0.0, end - monotonic())
            else:
                return True

    def release(self, n: int = 1) -> None:
        """Give back `n`."""
        for _ in range(n):
            self._release()

    @property
    def value(self) -> int:
        """How many there are; others may change it at any moment."""
        return int(self._value())

    def __enter__(self) -> Semaphore:  # noqa: PYI034
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._release()


class Pipe(NamedTuple):
    """This process's end of a pipe."""

    fd: int  # yours to read or write, and to close


# --- readiness and logging -------------------------------------------------------------------------------------------
def ready() -> None:
    """Say that this process is ready. Harmless where nobody asked."""
    notify("READY=1")
    fd = os.environ.pop("ORCHESTRA_READY_FD", None)  # popped: the number may be another file's by the next call
    if fd is not None:
        with suppress(OSError):  # whoever asked may have gone
            os.write(int(fd), b"\n")
            os.close(int(fd))


def notify(text: str) -> bool:
    """Send an sd_notify(3) datagram, such as "STATUS=warming up"; False where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    import socket

    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(text.encode(), "\0" + address[1:] if address[0] == "@" else address)
        return True
    return False


class _Log:
    """Writes one JSON object a line to stderr: `level`, `message` and, if given, `data`."""

    def write(self, level: str, message: str, data: object = None) -> None:
        record = {"level": level, "message": str(message).encode("utf-8", "backslashreplace").decode()}
        try:
            line = json.dumps(record if data is None else {**record, "data": data}, default=str, allow_nan=False)
            if "\\ud" in line:  # half a pair (of a file name that is no text) is no JSON
                json.dumps(data, default=str, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError):  # odd keys, NaN, an object that contains itself
            line = json.dumps({**record, "data": repr(data)})
        with suppress(OSError, ValueError, AttributeError):  # that nobody reads it is no reason to stop working
            sys.stderr.write(line + "\n")  # one call, so that threads do not tear lines
            sys.stderr.flush()

    debug = partialmethod(write, "debug")
    info = partialmethod(write, "info")
    warning = partialmethod(write, "warning")
    error = partialmethod(write, "error")
    critical = partialmethod(write, "critical")


log = _Log()


# --- how objects are opened ------------------------------------------------------------------------------------------
LABELS = "posix-queue posix-segment posix-semaphore sysv-queue sysv-segment sysv-semaphore file-segment fifo"


def _key(name: str) -> str:
    return name.replace("_", "-")  # keys have no underscore, Python names no dash


def _bind(module: str, make: Callable[[Any], Any]) -> tuple[Any, Any]:
    # The binding and what `make` makes with it; nothing where it is not installed or refuses. Then the C library
    # either succeeds, by descriptor or id, or fails with the usual error.
    try:
        library = __import__(module)
    except ImportError:
        return None, None
    try:
        return library, make(library)
    except library.Error:
        return None, None


def _by_hand(address: str) -> Binding:
    label, _, reference = address.partition(":")
    if label not in LABELS.split() or not reference:
        raise ValueError(f"{address!r} is no address; it begins with one of {LABELS}, then a colon")
    family, _, kind = label.partition("-")
    binding: Binding = dict.fromkeys(("name", "id", "key", "fd", "size"))
    binding.update(family=family, kind=kind or "pipe", access="read-write")
    if family != "sysv":
        binding["name"] = reference
    elif reference.startswith("0x"):
        call = {"queue": "msgget", "segment": "shmget", "semaphore": "semget"}[kind]
        number = ctypes.c_int32(int(reference, 16)).value  # key_t is signed
        binding.update(key=reference, id=_c(call, number, *([0] if kind == "queue" else [0, 0])))
    else:
        binding["id"] = int(reference)
    return binding


def _open_queue(key: str, binding: Binding, _: int, on_close: Callable[..., None]) -> Queue:
    access, name = binding["access"], binding["name"]
    if binding["family"] == "sysv":
        raw = _RawSysvQueue(key, binding["id"])
        number = ctypes.c_int32(int(binding["key"] or "0", 16)).value  # 0, IPC_PRIVATE, finds nothing
        library, queue = _bind("sysv_ipc", lambda s: number and s.MessageQueue(number, max_message_size=raw.limit))
        if queue and queue.id == raw.id:  # else somebody removed ours and made another with its key
            return _SysvQueue(key, access, queue, (library.Error, OSError), raw)  # a plain EINVAL: gone
        return _SysvQueue(key, access, raw, (BlockingIOError, InterruptedError), raw)
    fd = _inherited(binding, stat.S_ISREG)
    library, queue = _bind("posix_ipc", lambda p: p.MessageQueue(name, read=access != "write", write=access != "read"))
    if queue:
        on_close(queue.close)
        if fd is None or os.path.samestat(os.fstat(fd), os.fstat(queue.mqd)):
            return Queue(key, access, queue, library.BusyError, library.SignalError)
    if fd is None:
        fd = _c("mq_open", name.encode(), _flags(access))
        on_close(lambda: os.close(fd))
    return Queue(key, access, _RawPosixQueue(key, fd), (BlockingIOError, TimeoutError), InterruptedError)


def _open_segment(key: str, binding: Binding, _: int, on_close: Callable[..., None]) -> memoryview:
    writable = binding["access"] != "read"
    if binding["family"] == "sysv":
        view = _attach_sysv(binding, writable=writable)
    else:
        import mmap

        name = str(binding["name"])
        path = {"posix": "/dev/shm" + name, "file": name}.get(binding["family"])  # noqa: S108 - as shm_open(3)
        own, fd = _descriptor(key, binding, stat.S_ISREG, path, os.O_RDWR if writable else os.O_RDONLY)
        view = memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ))
        if own:
            os.close(fd)
    on_close(view.release)
    return view


def _attach_sysv(binding: Binding, writable: bool) -> memoryview:
    import weakref

    size = binding["size"]
    if size is None:
        with open("/proc/sysvipc/shm") as table:
            size = next(int(row[3]) for row in map(str.split, table) if row[1] == str(binding["id"]))
    address = _c("shmat", binding["id"], None, 0 if writable else SHM_RDONLY)
    memory = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(memory, _c, "shmdt", address).atexit = False  # detached with the last view of it, never before
    view = memoryview(memory).cast("B")
    return view if writable else view.toreadonly()


def _open_semaphore(key: str, binding: Binding, index: int, on_close: Callable[..., None]) -> Semaphore:
    if binding["family"] == "sysv":
        number, sembuf = binding["id"], ctypes.c_short * 3  # number, operation, flags
        take, give = sembuf(index, -1, 0), sembuf(index, 1, 0)
        verbs: tuple[Callable[..., Any], ...] = (
            lambda timeout: _c("semtimedop", number, take, 1, _timespec(timeout)),
            lambda: _c("semtimedop", number, give, 1, None),
            lambda: _c("semctl", number, index, GETVAL, 0),
        )
        verbs[2]()  # fails now, not later, where there is no such set or member
        return Semaphore(key, verbs, BlockingIOError, InterruptedError)
    if index:
        raise LookupError(f"{key!r} is a POSIX semaphore: it has no member {index}")
    library, found = _bind("posix_ipc", lambda p: p.Semaphore(binding["name"]))
    if found:
        on_close(found.close)
        verbs = found.acquire, found.release, lambda: found.value
        return Semaphore(key, verbs, library.BusyError, library.SignalError)
    at = _c("sem_open", binding["name"].encode(), 0)
    on_close(lambda: _c("sem_close", at))
    value = ctypes.c_int()
    verbs = (
        lambda timeout: _c("sem_wait", at) if timeout is None else _c("sem_timedwait", at, _timespec(timeout, time())),
        lambda: _c("sem_post", at),
        lambda: _c("sem_getvalue", at, ctypes.byref(value)) or value.value,
    )
    return Semaphore(key, verbs, TimeoutError, InterruptedError)


def _open_pipe(key: str, binding: Binding, *_: Any) -> Pipe:
    return Pipe(_descriptor(key, binding, stat.S_ISFIFO, binding["name"], _flags(binding["access"]))[1])


def _flags(access: str) -> int:
    return {"read": os.O_RDONLY, "write": os.O_WRONLY}.get(access, os.O_RDWR) | os.O_CLOEXEC


def _descriptor(key: str, binding: Binding, is_kind: Any, path: str | None, flags: int) -> tuple[bool, int]:
    # Returns whether it was opened here, and the descriptor: the inherited one if it got here, else of `path`.
    fd = _inherited(binding, is_kind)
    if fd is not None:
        return False, fd
    if path is None:
        raise OSError(errno.EBADF, f"descriptor {binding['fd']} of {binding['kind']} {key} was closed on the way here")
    return True, os.open(path, flags)


def _inherited(binding: Binding, is_kind: Callable[[int], bool]) -> int | None:
    # The descriptor of a binding, or None when it did not reach us (a shell in between may have closed or reused it).
    fd: int | None = binding["fd"]
    try:
        if fd is None or not is_kind(os.fstat(fd).st_mode):
            return None
    except OSError:
        return None
    os.set_inheritable(fd, False)  # as sd_listen_fds(3) does: what we start gets only what we hand it
    return fd


# --- the C library ---------------------------------------------------------------------------------------------------

# Result, then arguments: i int, l long, z size_t, p pointer, s bytes. Sources: manual pages of sections 2 and 3.
PROTOTYPES = """
    mq_open:isi mq_getattr:iip mq_timedsend:iiszip mq_timedreceive:lipzpp
    sem_open:lsi sem_close:il sem_post:il sem_wait:il sem_timedwait:ilp sem_getvalue:ilp
    msgget:iii msgsnd:iiszi msgrcv:lipzli semget:iiii semctl:iiii semtimedop:iipzp shmget:iizi shmat:lipi shmdt:il
    getpid:i signal:lil timer_create:iipp timer_settime:ilipp timer_delete:il
"""
IPC_NOWAIT, SHM_RDONLY, GETVAL, SIGEV_THREAD_ID, CLOCK_MONOTONIC = 0o4000, 0o10000, 12, 4, 1
FOREVER = 1e8  # seconds, three years: more could overflow a timespec


def _c(name: str, *arguments: Any) -> int:
    # Call a function of the C library. Raises the OSError of its errno where it says that it failed.
    result: int = _load(name)(*arguments)
    if result == -1 or (not result and name == "sem_open"):  # SEM_FAILED is a null pointer
        number = ctypes.get_errno()
        if name in ("msgsnd", "msgrcv", "semtimedop"):  # EINVAL: an id that is no more; its other causes are checked
            number = {errno.EINVAL: errno.EIDRM, errno.ENOMSG: errno.EAGAIN}.get(number, number)
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


@lru_cache(maxsize=None)  # noqa: UP033 - cache() is younger than Python 3.8
def _load(name: str) -> Any:
    types = {"i": ctypes.c_int, "l": ctypes.c_long, "z": ctypes.c_size_t, "p": ctypes.c_void_p, "s": ctypes.c_char_p}
    prototypes = dict(item.split(":") for item in PROTOTYPES.split())
    for library in (None, "librt.so.1", "libpthread.so.0"):  # glibc before 2.34 kept mq_* and sem_* apart
        try:
            function = getattr(ctypes.CDLL(library, use_errno=True), name)
        except (OSError, AttributeError):
            continue
        function.restype, *function.argtypes = [types[letter] for letter in prototypes[name]]
        return function
    raise OSError(errno.ENOSYS, f"this C library has no {name}")


def _timespec(seconds: float | None, start: float = 0.0) -> Any:
    if seconds is None:
        return None
    seconds = start + min(seconds, FOREVER)
    return (ctypes.c_long * 2)(int(seconds), int(seconds % 1 * 1e9))


def _bytes(key: str, body: Body, limit: int) -> bytes:
    data = body.encode() if isinstance(body, str) else bytes(body)
    if len(data) > limit:
        raise ValueError(f"{len(data)} bytes do not fit in a message of {key}: it holds {limit}")
    return data


class _RawPosixQueue:
    def __init__(self, key: str, fd: int) -> None:
        attributes = (ctypes.c_long * 8)()  # struct mq_attr: flags, maxmsg, msgsize, curmsgs
        _c("mq_getattr", fd, attributes)
        self.key, self.fd, self.size = key, fd, int(attributes[2])

    def send(self, body: Body, timeout: float | None, priority: int) -> None:
        data = _bytes(self.key, body, self.size)
        if not 0 <= priority < 32768:
            raise ValueError(f"a priority is 0 to 32767, not {priority}")
        _c("mq_timedsend", self.fd, data, len(data), priority, _timespec(timeout, time()))

    def receive(self, timeout: float | None) -> tuple[bytes, int]:
        buffer, priority = ctypes.create_string_buffer(self.size), ctypes.c_uint()
        size = _c("mq_timedreceive", self.fd, buffer, self.size, ctypes.byref(priority), _timespec(timeout, time()))
        return ctypes.string_at(buffer, size), priority.value


class _RawSysvQueue:
    def __init__(self, key: str, number: int) -> None:
        with open("/proc/sys/kernel/msgmax") as file:
            self.limit = int(file.read())
        self.key, self.id = key, number

    def send(self, body: Body, wait: bool, kind: int) -> bool:
        data = _bytes(self.key, body, self.limit)
        if kind < 1:
            raise ValueError(f"a type is 1 or more, not {kind}")
        message = bytes(ctypes.c_long(kind)) + data  # struct msgbuf
        _c("msgsnd", self.id, message, len(data), 0 if wait else IPC_NOWAIT)
        return True

    def receive(self, wait: bool, kind: int) -> tuple[bytes, int]:
        start = ctypes.sizeof(ctypes.c_long)
        buffer = ctypes.create_string_buffer(start + self.limit)
        size = _c("msgrcv", self.id, buffer, self.limit, kind, 0 if wait else IPC_NOWAIT)
        return ctypes.string_at(ctypes.addressof(buffer) + start, size), ctypes.c_long.from_buffer(buffer).value


def _patiently(call: Callable[[bool], Any], timeout: float | None) -> Any:
    # Repeat call(wait), which a signal ends with InterruptedError, until it is done; None when it was not in time.
    end = monotonic() + (timeout or 0.0)
    timer = _interrupt_after(timeout) if timeout and timeout > 0 else None
    try:
        while True:
            try:
                return call(timeout is None or timer is not None)
            except BlockingIOError:
                return None
            except InterruptedError:
                if timer is not None and monotonic() >= end:
                    return None
    finally:
        if timer is not None:
            _c("timer_delete", timer)


def _interrupt_after(timeout: float) -> int:
    # msgsnd and msgrcv know no timeout, and one who polls is served after all who wait. So a timer aimed at this
    # thread interrupts the call. Its signal needs a handler that does nothing: getpid is one. The timer repeats,
    # as a signal that comes just before the call would be lost.
    import signal
    import threading

    _c("signal", signal.SIGRTMAX, ctypes.cast(_load("getpid"), ctypes.c_void_p).value)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGRTMAX])
    event = (ctypes.c_int * 16)(0, 0, signal.SIGRTMAX, SIGEV_THREAD_ID, threading.get_native_id())
    timer = ctypes.c_long()
    _c("timer_create", CLOCK_MONOTONIC, event, ctypes.byref(timer))
    times = (ctypes.c_long * 4)(0, 10_000_000, *_timespec(max(timeout, 1e-6)))  # 10 ms, first
    _c("timer_settime", timer.value, 0, times, None)
    return timer.value
