"""What children write: their pipes, read in large chunks and turned into lines of the log.

All pipes sit in an epoll of their own, nested in the supervisor's. One that has something to say is taken out and read
every few milliseconds until it has nothing to say any more, so that many small writes cost one wake-up; a pass that
found much is followed by the next at once. Out of the epoll a write is a third cheaper, and it is the writers who pay:
the kernel would tell both epolls of each single one. An idle run has nothing timed: it is never woken.

A stream is read by pieces of 64 KiB, and each is in the log before the next one is read: the same memory is used again
and again, and what is made of a piece is still in the processor's cache when it is written. Reading stops where writing
waits: a slow disk fills the pipes and so slows the children.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from orchestra.logs.capture import Capture
from orchestra.logs.encode import event_record, now_text
from orchestra.logs.sink import LogFile, RawCopy
from orchestra.supervisor.reactor import READ, Reactor
from orchestra.supervisor.states import Who
from orchestra.supervisor.terminals import open_terminal

CHUNK = 64 * 1024  # bytes of one read
GATHER = 0.01  # seconds between two passes over little output
PLENTY = 32 * 1024  # bytes in one pass after which the next one follows at once,
BREATH = 0.001  # and the one after that soon: in GATHER a fast writer fills its pipe, and then waits
_TURN = 16  # reads of one stream before the next one has its turn; fewer where many are ready:
_PASS = 64  # reads of one pass, so that a signal waits for milliseconds only; but each stream has one
_DRY = 1024  # a read that returned less has emptied the pipe, or left little
_LARGEST = 1024 * 1024  # bytes of memory that malloc(3) is to hand out again and again instead of giving them back
_PAGE = 4096

Tap = Callable[[str, bytes], None]
_DEFAULT_PAGES, _MOST_PAGES = 16, 256  # of one pipe: the kernel's default, and fs.pipe-max-size's


class _Stream:
    """One pipe of one replica. Its capture is made when there is something to capture: most children start silent."""

    __slots__ = ("capture", "fd", "key", "name", "pid", "raw", "tap", "who")

    def __init__(self, who: Who, key: Hashable, fd: int, name: str) -> None:
        self.who = who
        self.key = key  # whoever writes there: the replica, or what is run beside it
        self.fd = fd
        self.name = name
        self.pid = 0  # not started yet
        self.capture: Capture | None = None
        self.raw: RawCopy | None = None
        self.tap: Tap | None = None


class Outputs:
    """All pipes of a run. `on_end` is called with a key when one of its streams was closed by the last writer.

    A key is the replica that writes, or stands for a command that is run beside it. `raw` is the folder for copies of
    what each stream brought, byte by byte: `<process>.<replica>.<stream>`.
    """

    def __init__(
        self,
        reactor: Reactor,
        log: LogFile,
        run: str,
        streams: int,
        on_end: Callable[[Hashable], None],
        raw: str | os.PathLike[str] | None = None,
    ) -> None:
        self._reactor, self._log, self._run, self._on_end = reactor, log, run, on_end
        self._raw = raw
        self._inner = select.epoll()
        self._streams: dict[int, _Stream] = {}
        self._busy: dict[int, _Stream] = {}  # those that are read by the clock, and so are not in the epoll
        self._of: dict[Hashable, list[_Stream]] = {}
        self._pages = pipe_pages(streams)
        self._paused = True  # before the next pass: who is silent then has been so for BREATH at least
        self._muted = self._has_read = False
        reactor.watch(self._inner.fileno(), self._pass)

    @contextmanager
    def pipes(self, who: Who, key: Hashable = None, *, terminals: bool = False) -> Iterator[tuple[int, int]]:
        """Yield the write ends for stdout and stderr, closed afterwards; call `started` inside once there is a pid.

        `key` is for a command beside the replica, whose lines are the replica's too. With `terminals` they are pseudo
        terminals. Raises OSError when there are no descriptors left. Without `started` the read ends go too.
        """
        fds: list[int] = []
        key = who if key is None else key
        new: list[_Stream] = []
        try:
            fds += open_terminal() if terminals else os.pipe2(os.O_CLOEXEC)
            fds += open_terminal() if terminals else os.pipe2(os.O_CLOEXEC)
            if self._pages > _DEFAULT_PAGES and not terminals:
                for fd in fds[::2]:
                    _enlarge(fd, self._pages)
            new = [_Stream(who, key, fds[0], "stdout"), _Stream(who, key, fds[2], "stderr")]
            self._of.setdefault(key, []).extend(new)  # somebody may still hold a stream of an earlier incarnation
            yield fds[1], fds[3]
        finally:
            started = bool(new) and new[0].pid > 0
            if not started:
                for stream in new:
                    self._drop(stream)
            for index, fd in enumerate(fds):
                if index % 2 or not started:
                    os.close(fd)

    def started(self, key: Hashable, pid: int, tap: Tap | None = None) -> None:
        """Begin to read what is written for `key`; `tap` gets each stream's name and the raw chunks as they come."""
        for stream in [stream for stream in self._of[key] if stream.pid == 0]:
            stream.pid = pid
            stream.tap = tap
            os.set_blocking(stream.fd, False)
            self._streams[stream.fd] = stream
            self._inner.register(stream.fd, READ)

    def untap(self, key: Hashable) -> None:
        """Stop telling the tap."""
        for stream in self._of.get(key, ()):
            stream.tap = None

    def drain(self, key: Hashable) -> None:
        """Read what was written for `key` so far. A stream that somebody else still holds stays open."""
        now = now_text()
        for stream in self._of.get(key, [])[:]:
            left = _MOST_PAGES * _PAGE  # what the pipe can hold: its writers are dead
            while left >= 0 and (count := self._read(stream, now)) > 0:
                left -= count

    def is_open(self, key: Hashable) -> bool:
        """Whether somebody can still write to a stream of `key`."""
        return bool(self._of.get(key))

    def close(self) -> None:
        """Read what there is and close everything, also streams that somebody still holds."""
        now = now_text()
        for key in list(self._of):
            self.drain(key)
            for stream in self._of.get(key, [])[:]:
                self._end(stream, now)
        self._reactor.cancel("gather")
        self._reactor.forget(self._inner.fileno())
        self._inner.close()

    def _pass(self) -> None:
        """Read each stream that is ready or was a moment ago, and decide when to look again."""
        now = now_text()
        total = 0
        ended: dict[Hashable, None] = {}
        for fd, _ in self._inner.poll(0):
            self._inner.unregister(fd)
            self._busy[fd] = self._streams[fd]
        turn = max(1, min(_TURN, _PASS // max(len(self._busy), 1)))
        for stream in list(self._busy.values()):
            if self._busy.get(stream.fd) is not stream:
                continue  # ended by what was read before it
            before = total
            for _ in range(turn):
                count = self._read(stream, now)
                total += max(count, 0)
                if count < _DRY:
                    break
            if count == 0:
                ended[stream.key] = None
            elif total == before and self._paused:
                del self._busy[stream.fd]
                self._inner.register(stream.fd, READ)
        self._mute(bool(self._busy))
        if self._busy:
            pause = 0 if total >= PLENTY else GATHER if self._paused else BREATH
            self._reactor.after("gather", pause, self._pass)
        self._paused = total < PLENTY
        for key in ended:
            self._on_end(key)

    def _mute(self, muted: bool) -> None:
        if muted is not self._muted:
            self._muted = muted
            self._reactor.change(self._inner.fileno(), 0 if muted else READ)

    def _read(self, stream: _Stream, now: str) -> int:
        """Read once; return the number of bytes, 0 for the end, -1 when there is nothing now."""
        try:
            chunk = os.read(stream.fd, CHUNK)
        except BlockingIOError:
            return -1
        except OSError as err:
            if err.errno != errno.EIO:
                raise
            chunk = b""  # a terminal that nobody has open any more
        if not chunk:
            self._end(stream, now)
            return 0
        capture = stream.capture or self._begin(stream)
        self._log.write(capture.feed(chunk, now))
        if stream.raw is not None:
            self._copy(stream, stream.raw, chunk)
        if stream.tap is not None:
            stream.tap(stream.name, chunk)
        return len(chunk)

    def _begin(self, stream: _Stream) -> Capture:
        if not self._has_read:
            self._has_read = True
            keep_heap()
        process, replica = stream.who  # replica 0 is what was done for all of them
        capture = Capture(run=self._run, process=process, replica=replica or None, pid=stream.pid, stream=stream.name)
        stream.capture = capture
        if self._raw is not None:
            stream.raw = RawCopy(os.path.join(self._raw, f"{process}.{replica}.{stream.name}"))
        return capture

    def _copy(self, stream: _Stream, raw: RawCopy, chunk: bytes) -> None:
        if raw.write(chunk) and raw.lost:
            self._say_lost(stream, raw)

    def _say_lost(self, stream: _Stream, raw: RawCopy) -> None:
        process, replica = stream.who
        record = event_record(
            "log.raw_lost",
            run=self._run,
            process=process,
            replica=replica,
            stream=stream.name,
            bytes=raw.lost,
            reason=raw.reason,
        )
        self._log.write(record)
        raw.lost = 0

    def _end(self, stream: _Stream, now: str) -> None:
        if stream.capture is not None:
            self._log.write(stream.capture.close(now))
        if stream.raw is not None:
            stream.raw.close()
            if stream.raw.lost:
                self._say_lost(stream, stream.raw)
        if self._busy.pop(stream.fd, None) is None:
            self._inner.unregister(stream.fd)
        os.close(stream.fd)
        del self._streams[stream.fd]
        self._drop(stream)

    def _drop(self, stream: _Stream) -> None:
        streams = self._of[stream.key]
        streams.remove(stream)
        if not streams:
            del self._of[stream.key]


def pipe_pages(streams: int, soft_limit: int | None = None) -> int:
    """Return how many pages each of `streams` pipes may take: a power of two, 16 (the default) to 256.

    All together stay within a quarter of fs.pipe-user-pages-soft (per user, unprivileged): beyond that limit every
    new pipe of the user shrinks to two pages, see pipe(7).
    """
    limit = _soft_limit() if soft_limit is None else soft_limit
    share = limit // 4 // max(streams, 1)
    pages = _DEFAULT_PAGES
    while pages * 2 <= min(share, _MOST_PAGES):
        pages *= 2
    return pages


def keep_heap() -> None:
    """Have malloc(3) keep what it got: else each piece of output asks the kernel for pages and gives them back.

    glibc raises both of its thresholds (M_MMAP_THRESHOLD and M_TRIM_THRESHOLD) when memory that it had mapped is freed;
    this maps and frees some without touching it. It made collecting lines three times as fast.
    """
    bytes(_LARGEST)


def _soft_limit() -> int:
    try:
        with open("/proc/sys/fs/pipe-user-pages-soft", encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _enlarge(fd: int, pages: int) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, pages * _PAGE)
    except OSError:
        return  # over a limit of this host: the default will do
