"""The parent of functions: a program that imports a module once, and then makes children that call its functions.

It is run by the interpreter that a topology names (`python:`), from this path, with the standard library alone: any
CPython from 3.8 on. `orchestra/supervisor/preload.py` is the other side. Both speak through a socket of packets, each
one JSON object; a start brings the child's descriptors along.

How a child becomes the supervisor's own: this process forks a *midwife*, which takes the starts that come, forks each
child, and leaves when it is told `end`. Her children then go to the nearest subreaper above, the supervisor, which is
told by the kernel when they end. She stays until the supervisor has every answer: a child that dies at once must not
be reaped before it is known whose it was. So the price of a further child is one fork.
"""

from __future__ import annotations

import array
import errno
import gc
import json
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, NoReturn

    from orchestra.supervisor import become  # noqa: TC004 `main` loads it by its path

PACKET = 1 << 17  # bytes a packet may have at most; a larger body comes as a file
SILENCE = 0.5  # seconds without a word after which the midwife looks for children that died before they answered
SETTLE = 0.5  # seconds in which a thread that was joined may still be seen
NAME_MAX = 15  # bytes of what `ps -o comm` shows
_DESCRIPTORS = 253  # SCM_MAX_FD


class Line:
    """The socket to the supervisor."""

    def __init__(self, number: int) -> None:
        os.set_inheritable(number, False)
        self.socket = socket.socket(fileno=number)

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """Wait for a packet; return it and its descriptors, None when the supervisor is gone. May raise TimeoutError"""
        size = array.array("i").itemsize * _DESCRIPTORS
        data, extra, flags, _ = self.socket.recvmsg(PACKET, socket.CMSG_SPACE(size), socket.MSG_CMSG_CLOEXEC)
        numbers = array.array("i")
        for level, kind, body in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers.frombytes(body[: len(body) - len(body) % numbers.itemsize])
        descriptors = numbers.tolist()
        if not data:
            return None
        packet: dict[str, Any] = json.loads(data)
        if packet.get("file"):  # too large for a packet: the first descriptor holds it
            with open(descriptors.pop(0), "rb") as file:
                file.seek(0)
                packet = json.load(file)
        if flags & socket.MSG_CTRUNC:
            packet["truncated"] = True
        return packet, descriptors

    def send(self, **packet: Any) -> None:
        """Send a packet; the supervisor may be gone."""
        try:
            self.socket.send(json.dumps(packet).encode())
        except OSError as err:
            if err.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise

    def begun(self, number: int) -> None:
        """Say that this child runs: the last word to the supervisor. In few steps, for each child takes them."""
        try:
            os.write(self.socket.fileno(), b'{"n":%d,"pid":%d}' % (number, os.getpid()))
        except OSError as err:
            if err.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
        os.close(self.socket.detach())


def serve(line: Line, reserved: list[int]) -> dict[str, Any]:
    """Make children until the supervisor is gone; returns in a child, with its packet."""
    while True:
        got = line.receive()
        if got is None:
            os._exit(0)
        if "n" not in got[0]:
            continue  # the end of a batch whose midwife is gone already
        threads = thread_count()
        if threads > 1:
            line.send(n=got[0]["n"], stage="threads", errno=errno.EDEADLK, threads=threads)
            _close(got[1])
            continue
        midwife = os.fork()
        if midwife == 0:
            return _deliver(line, got, reserved)
        _close(got[1])
        try:
            _, status = os.waitpid(midwife, 0)
        except ChildProcessError:  # the module ignores SIGCHLD: the kernel reaps by itself
            continue
        if status:
            line.send(broken=status)


def _deliver(line: Line, first: tuple[dict[str, Any], list[int]], reserved: list[int]) -> dict[str, Any]:
    """Be the midwife; returns in a child."""
    children: dict[int, int] = {}
    line.socket.settimeout(SILENCE)
    got: tuple[dict[str, Any], list[int]] | None = first
    while got is not None and "n" in got[0]:
        packet, descriptors = got
        child = os.fork()
        if child == 0:
            line.socket.settimeout(None)
            _begin(line, packet, descriptors, reserved)
            return packet
        children[child] = packet["n"]
        _close(descriptors)
        got = _next(line, children)
    os._exit(0)


def _next(line: Line, children: dict[int, int]) -> tuple[dict[str, Any], list[int]] | None:
    """Wait for a packet; meanwhile answer for children that cannot any more, without reaping them."""
    while True:
        try:
            return line.receive()
        except socket.timeout:  # noqa: UP041 what it is called before 3.10
            for child in list(children):
                if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    line.send(n=children.pop(child), pid=child)


def _begin(line: Line, packet: dict[str, Any], descriptors: list[int], reserved: list[int]) -> None:
    """Take everything that the child was given, and tell the supervisor; does not return when that fails."""
    stage: str | int = "descriptors"
    try:
        os.setsid()
        if packet.get("truncated"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        places = dict(zip(packet["places"], descriptors))  # noqa: B905 came with 3.10
        become.arrange(places)
        _close([fd for fd in {*descriptors, *reserved} if fd not in places])
        if packet["terminal"]:
            stage = "terminal"
            become.control_terminal(1)
        stage = "chdir"
        os.chdir(packet["directory"])
        become.take(packet["steps"])
    except become.Refused as err:
        _refuse(line, packet, err.index, err.errno)
    except OSError as err:
        _refuse(line, packet, stage, err.errno or 0)
    _set_environment(packet)
    show(packet["title"], packet["label"])
    line.begun(packet["n"])


def _refuse(line: Line, packet: dict[str, Any], stage: str | int, number: int) -> NoReturn:
    line.send(n=packet["n"], stage=stage, errno=number)
    os._exit(127)


def _set_environment(packet: dict[str, Any]) -> None:
    for name in packet["unset"]:
        os.environ.pop(name, None)
    for name, value in packet["set"].items():  # not update(): it asks what kind of mapping this is, for each child anew
        os.environ[name] = value
    if packet["listen"]:
        os.environ["LISTEN_PID"] = str(os.getpid())


def _close(descriptors: list[int]) -> None:
    for fd in descriptors:
        try:
            os.close(fd)
        except OSError:
            continue  # a reserved number that the module closed


def call(packet: dict[str, Any]) -> int:
    """Call the function; return what the process exits with, by the rules of `sys.exit(function())`."""
    _look_fresh(packet)
    try:
        function = resolve(packet["module"], packet["name"])
        returned = function(**packet["arguments"])
    except SystemExit:
        raise
    except KeyboardInterrupt as err:
        _explain(err)
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ended by the signal, as Python itself does it
        os.kill(os.getpid(), signal.SIGINT)
        return 130
    except BaseException as err:  # noqa: BLE001 whatever the function raises
        _explain(err)
        return 1
    if returned is None:
        return 0
    if isinstance(returned, int):
        return (returned & 0xFF) or int(bool(returned))  # the kernel keeps eight bits; 256 is no success
    sys.stderr.write(str(returned) + "\n")
    return 1


def _look_fresh(packet: dict[str, Any]) -> None:
    """Undo what is the parent's alone: no collector, one random state for all, buffers for a pipe."""
    gc.enable()
    sys.argv = [f"{packet['module']}:{packet['name']}"]
    if "random" in sys.modules:
        sys.modules["random"].seed()
    numbers = sys.modules.get("numpy.random")
    if numbers is not None:  # its old, global generator; no hook of its own reseeds it
        numbers.seed()
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.current_process().authkey = os.urandom(32)
    if packet["terminal"]:
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if not packet["stdin"]:
        return
    old = sys.stdin  # knows the parent's, which was no file and no terminal
    sys.stdin = open(0, encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
    sys.__stdin__ = sys.stdin  # type: ignore[misc]


def _explain(err: BaseException) -> None:
    """Write the traceback, without our own frame, in one piece; through the program's own hook where it has one."""
    inner = err.__traceback__.tb_next if err.__traceback__ is not None else None
    if sys.excepthook is not sys.__excepthook__:
        sys.excepthook(type(err), err, inner)
        return
    import traceback

    text = "".join(traceback.format_exception(type(err), err, inner))
    _flush()
    sys.stderr.write(text)
    sys.stderr.flush()


def resolve(module: str, name: str) -> Any:
    """Return the function `name` (dots allowed) of an imported module. Raises AttributeError."""
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part)
    return found


def lazy_kind(function: Any) -> str:
    """Return what a function is whose call runs none of its body, in words, or ""."""
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return next((kind for flag, kind in _LAZY.items() if flags & flag), "")


_LAZY = {
    0x20: "a generator function",
    0x80: "an async function",
    0x200: "an async generator function",
}  # CO_ of inspect


def prepare(line: Line, order: dict[str, Any]) -> None:
    """Import the module and say what came of it; does not return when there is nothing to call."""
    module = order["module"]
    own = os.getpid()
    try:
        __import__(module)
    except BaseException as err:  # also SystemExit: a script without a guard
        if os.getpid() != own:
            raise
        _report_import(line, order, err)
    if os.getpid() != own:  # a copy that the module made of us: it must not speak, nor serve, in our place
        sys.exit()
    for name in order["names"]:
        try:
            function = resolve(module, name)
            if not callable(function):
                _fail(line, "function", f"{module}:{name} is not a function")
            kind = lazy_kind(function)
            if kind:
                hint = f"Name a function that runs it{', with asyncio.run() for one' if 'async' in kind else ''}."
                _fail(line, "function", f"{module}:{name} is {kind}: calling it runs nothing", hint=hint)
        except AttributeError:
            _fail(line, "function", f"{module} has no function {name}", hint=_nearest(module, name))
    deadline = time.monotonic() + SETTLE
    while thread_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.005)
    if thread_count() > 1:
        _fail(line, "threads", f"importing {module} started threads, which a fork would lose: {_threads()}")
    _flush()
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, all that they share
    line.send(ready=True, sources=_sources(order["folder"]))


def _report_import(line: Line, order: dict[str, Any], err: BaseException) -> NoReturn:
    import traceback

    module = order["module"]
    if isinstance(err, ModuleNotFoundError) and err.name and (module + ".").startswith(err.name + "."):
        where = os.pathsep.join(path for path in sys.path[:3] if path)
        hint = f"It is looked for in {where}, and so on."
        if not os.access(sys.path[0], os.R_OK | os.X_OK):
            hint = f"{sys.path[0]} may not be read by user {os.geteuid()}."
        _fail(line, "function", f"there is no module {err.name}", hint=hint)
    trace = err.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, *_MACHINERY):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(err), err, trace))
    last = text.strip().rsplit("\n", 1)[-1]
    if order["late"]:  # nobody waits for the answer on a terminal
        sys.stderr.write(text)
    _fail(line, "import", f"{module} cannot be imported: {last}", detail=text)


_MACHINERY = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


def _fail(line: Line, stage: str, problem: str, *, detail: str = "", hint: str = "") -> NoReturn:
    _flush()
    line.send(failed=stage, problem=problem, detail=detail[-PACKET // 4 :], hint=hint)
    os._exit(1)


def _flush() -> None:
    """Write out what is buffered, or each child would once more: also where the module has put others in their place"""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()  # type: ignore[union-attr]
        except (AttributeError, OSError, ValueError):  # None, nobody reads, closed
            continue


def _nearest(module: str, name: str) -> str:
    import difflib

    names = [each for each, value in vars(sys.modules[module]).items() if callable(value)]
    close = difflib.get_close_matches(name, names, 1)
    return f"Did you mean {close[0]}?" if close else ""


def thread_count() -> int:
    """Return the number of threads of this process, also of those that Python knows nothing of."""
    return len(os.listdir("/proc/self/task"))


def _threads() -> str:
    import threading

    known = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    native = thread_count() - 1 - len(known)
    words = known + ([f"{native} of a library's own"] if native > 0 else [])
    return ", ".join(words)


def _sources(folder: str) -> dict[str, int]:
    """Return the files below `folder` that were imported, with their times: when one changes we are out of date."""
    found = {}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.startswith(folder + os.sep) and not path.startswith(sys.prefix + os.sep):
            try:
                found[path] = os.stat(path).st_mtime_ns
            except OSError:
                continue
    return found


def show(title: str, label: str) -> None:
    """Have `ps` show `title` as the command line and `label` as the name; where that is refused, nothing changes."""
    try:
        start, end = _argument_area()
        _write("/proc/self/comm", label.encode()[:NAME_MAX])
        _write("/proc/self/mem", title.encode()[: end - start - 1].ljust(end - start, b"\0"), start)
    except (OSError, ValueError):
        return


def _write(path: str, text: bytes, offset: int = 0) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if offset:
            os.lseek(fd, offset, os.SEEK_SET)
        os.write(fd, text)
    finally:
        os.close(fd)


_area: tuple[int, int] | None = None  # the same in every child: read once


def _argument_area() -> tuple[int, int]:
    """Return where the kernel keeps our command line: arg_start and arg_end of /proc/PID/stat, proc(5)."""
    global _area  # noqa: PLW0603 this is a program
    if _area is None:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        _area = int(fields[45]), int(fields[46])
    return _area


def _load_become() -> Any:
    """Import the file beside this one, whatever the path of the interpreter says, and leave no trace of that."""
    folder = os.path.dirname(os.path.abspath(__file__))
    before = sys.path[:]
    sys.path[:] = [folder, *before]
    try:
        return __import__("become")
    finally:
        sys.modules.pop("become", None)
        sys.path[:] = [path for path in before if os.path.abspath(path or ".") != folder]


def main() -> NoReturn:
    """Take the order of the supervisor, import, serve; a child comes out of that and calls its function."""
    global become  # noqa: PLW0603 not importable as part of the package here
    become = _load_become()
    line = Line(int(sys.argv[1]))
    got = line.receive()
    if got is None:
        os._exit(0)
    order = got[0]
    reserved = list(order["reserved"])
    _reserve(reserved)
    show(order["title"], order["label"])
    sys.path.insert(0, order["folder"])
    sys.argv = [order["module"]]
    gc.disable()
    prepare(line, order)
    packet = serve(line, reserved)
    sys.exit(call(packet))


def _reserve(numbers: list[int]) -> None:
    """Occupy the numbers that children will need, so that no file the module opens, and keeps, gets one of them."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in numbers:
        if number != null:
            os.dup2(null, number, inheritable=False)
    if null not in numbers:
        os.close(null)


if __name__ == "__main__":
    main()
