"""The log as its writer sees it: append only, gathered writes, rotation, and a full disk never ends a run.

While the file cannot be written (ENOSPC, EDQUOT, EIO …) up to BACKLOG bytes wait; what comes on top is counted and
dropped by whole lines. Once writing works again the waiting lines follow, then one `log.lost` event that says how many
are missing at this place, then the new ones: the file never holds a torn line.

A write that the disk makes wait makes the supervisor wait, and so the children, whose pipes fill: nothing is lost and
nothing piles up in memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from typing import Any, Final

from orchestra.logs.encode import SUPERVISOR, event_record
from orchestra.logs.files import StrPath, rotated_numbers, rotated_path

BACKLOG: Final = 4 * 1024 * 1024  # bytes kept for later while the disk is full
AT_ONCE: Final = 128 * 1024  # bytes that are written without waiting for `flush`: so much is still in the cache
_GATHER: Final = 256  # buffers in one writev; IOV_MAX is 1024
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class LogFile:
    """The log of one run, open for appending. Several writers may append: O_APPEND keeps their lines whole.

    With `rotate_size` no file grows beyond so many bytes, but for a single line that is longer; then `keep` is how many
    rotated files stay (None: all). See `files` for their names. Only one writer of a log may rotate it.
    """

    def __init__(
        self,
        path: StrPath,
        *,
        run: str,
        logger: str = SUPERVISOR,
        rotate_size: int | None = None,
        keep: int | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self._run, self._logger = run, logger
        self._limit, self._keep = rotate_size, keep
        self._waiting: deque[bytes] = deque()
        self._size = 0  # bytes in _waiting
        self._grew = False  # since the last `flush`
        self._torn = False  # the file ends in the middle of a line, whose rest waits
        self._lost_lines = self._lost_bytes = 0  # since the last log.lost event
        self.lost_lines = 0  # in all
        self.problem = ""  # the errno's name while the file cannot be written
        self._rotated = 0  # number of the newest rotated file
        self._cannot_rotate = ""  # why, once that was said
        self._reopen_asked = False
        self.fd = os.open(self.path, _FLAGS, 0o600)
        self._room = 0  # bytes that this file may still take, where there is a limit
        self._begin_file()

    @property
    def pending(self) -> int:
        """Bytes taken by `write` that are not in the file yet."""
        return self._size

    def write(self, lines: bytes) -> None:
        """Take one or more complete lines; what is little waits for the next `flush`."""
        if not lines:
            return
        if self.problem and (self._lost_lines or self._size + len(lines) > BACKLOG):
            self._lost_lines += (count := lines.count(b"\n"))
            self.lost_lines += count
            self._lost_bytes += len(lines)
            return
        self._waiting.append(lines)
        self._size += len(lines)
        if self._size >= AT_ONCE and not self.problem:
            self._drain()

    def flush(self) -> bool:
        """Write what waits; return whether the log grew since the last call. Never raises: see `problem`."""
        if self._waiting:
            self._drain()
        grew, self._grew = self._grew, False
        return grew

    def reopen(self) -> None:
        """Go on in the file that the path names now, or in a new one: somebody has renamed the old one."""
        self._drain()
        self._reopen_asked = True
        if not self._torn:
            self._reopen()

    def close(self) -> None:
        """Write what waits, once more, and close. What still cannot be written then is counted as lost."""
        self.flush()
        self.lost_lines += sum(lines.count(b"\n") for lines in self._waiting)
        self._waiting.clear()
        self._size = 0
        os.close(self.fd)

    def _drain(self) -> None:
        while self._waiting:
            batch = self._batch()  # may begin a new file
            try:
                written = os.writev(self.fd, batch)
            except OSError as err:
                self.problem = errno.errorcode.get(err.errno or 0, "EIO")
                return
            self._grew = True
            self._advance(written)
            if not self._waiting and self._lost_lines:
                self._say_lost()
            if self._reopen_asked and not self._torn:
                self._reopen()
        self.problem = ""

    def _batch(self) -> list[bytes]:
        # What to write next. With a limit: what fits into this file, or the first of it into the next one.
        if self._limit is None:
            return [self._waiting[i] for i in range(min(len(self._waiting), _GATHER))]
        if self._room < self._limit and self._cut(self._room) == 0:
            self._rotate()
        first = self._waiting[0]
        end = self._cut(self._room) or first.find(b"\n") + 1  # or one line that is longer than a file may be
        if end < len(first):
            self._waiting[0] = first[:end]
            self._waiting.insert(1, first[end:])
            return [self._waiting[0]]
        batch, size = [first], len(first)
        for lines in list(self._waiting)[1:_GATHER]:
            if size + len(lines) > self._room:
                break
            batch.append(lines)
            size += len(lines)
        return batch

    def _cut(self, room: int) -> int:
        # How much of the first buffer fits, by whole lines; the rest of a torn line always does.
        first = self._waiting[0]
        if len(first) <= room:
            return len(first)
        end = first.rfind(b"\n", 0, max(room, 0)) + 1
        return end or (first.find(b"\n") + 1 if self._torn else 0)

    def _advance(self, written: int) -> None:
        self._size -= written
        self._room -= written
        while written:
            first = self._waiting.popleft()
            if written < len(first):  # a partial write: its rest must come before anything else
                self._torn = not first.endswith(b"\n", 0, written)
                self._waiting.appendleft(first[written:])
                return
            written -= len(first)
        self._torn = False

    def _rotate(self) -> None:
        # Begin the next file. Where that fails this one goes on, and a file's worth later it is tried again.
        if not self._is_at_path():
            self._reopen()
            return
        self._rotated = max([self._rotated, *rotated_numbers(self.path)]) + 1
        older, new = rotated_path(self.path, self._rotated), f"{self.path}.new"
        try:
            fd = os.open(new, _FLAGS | os.O_TRUNC, 0o600)
            try:
                os.rename(self.path, older)
                os.rename(new, self.path)
            except OSError:
                os.close(fd)
                raise
        except OSError as err:
            self._stay(err)
            return
        os.close(self.fd)
        self.fd = fd
        self._cannot_rotate = ""
        self._begin_file()
        self._drop_oldest()

    def _stay(self, err: OSError) -> None:
        assert self._limit is not None
        self._room += self._limit
        reason = errno.errorcode.get(err.errno or 0, "EIO")
        if reason != self._cannot_rotate:
            self._cannot_rotate = reason
            self._say("log.not_rotated", reason=reason)

    def _drop_oldest(self) -> None:
        if self._keep is None:
            return
        numbers = rotated_numbers(self.path)
        for number in numbers[: max(0, len(numbers) - self._keep)]:
            path = rotated_path(self.path, number)
            with contextlib.suppress(OSError):  # the next rotation tries again
                size = os.stat(path).st_size
                os.unlink(path)
                self._say("log.dropped", file=os.path.basename(path), bytes=size)

    def _reopen(self) -> None:
        self._reopen_asked = False
        try:
            fd = os.open(self.path, _FLAGS, 0o600)
        except OSError as err:
            self._room += self._limit or 0
            self._say("log.not_rotated", reason=errno.errorcode.get(err.errno or 0, "EIO"))
            return
        os.close(self.fd)
        self.fd = fd
        self._begin_file()
        self._say("log.reopened")

    def _begin_file(self) -> None:
        size = os.fstat(self.fd).st_size
        self._room = (self._limit or 0) - size
        if size and _ends_torn(self.fd):  # an earlier writer died in the middle of a line
            self._first(b"\n")

    def _is_at_path(self) -> bool:
        try:
            there = os.stat(self.path)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self.fd))

    def _say_lost(self) -> None:
        lines, size = self._lost_lines, self._lost_bytes
        self._lost_lines = self._lost_bytes = 0
        self._say("log.lost", lines=lines, bytes=size, reason=self.problem or "ENOSPC")

    def _say(self, event: str, **fields: Any) -> None:
        self._first(event_record(event, run=self._run, logger=self._logger, **fields))

    def _first(self, lines: bytes) -> None:
        # It belongs to this place of the file, before all that waits.
        self._waiting.appendleft(lines)
        self._size += len(lines)


class RawCopy:
    """The bytes of one stream as they came, in a file of their own. Made when the first ones come.

    What cannot be written is dropped and counted in `lost`; `reason` is the errno's name.
    """

    def __init__(self, path: StrPath) -> None:
        self.lost, self.reason = 0, ""
        self._path = os.fspath(path)
        self._fd = -1

    def write(self, chunk: bytes) -> bool:
        """Append; return whether everything was written. Never raises."""
        rest = memoryview(chunk)
        try:
            if self._fd < 0:
                self._fd = self._open()
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as err:
            self.lost += len(rest)
            self.reason = errno.errorcode.get(err.errno or 0, "EIO")
            return False
        return True

    def close(self) -> None:
        """Close the file, if it was made."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.dirname(self._path), 0o700)
        return os.open(self._path, _FLAGS, 0o600)


def append_records(path: StrPath, records: bytes) -> bool:
    """Append complete lines to a log that another process wrote; return whether all of it is there.

    A torn last line of a writer that was killed is ended first, so that only that line is unreadable.
    """
    try:
        fd = os.open(path, _FLAGS, 0o600)
    except OSError:
        return False
    try:
        rest = memoryview(b"\n" + records if _ends_torn(fd) else records)
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _ends_torn(fd: int) -> bool:
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
