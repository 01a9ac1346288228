"""The log file as its writer sees it: append only, gathered writes, and a full disk never ends a run.

While the file cannot be written (ENOSPC, EDQUOT, EIO …) up to BACKLOG bytes wait; what comes on top is counted and
dropped by whole lines. Once writing works again the waiting lines follow, then one `log.lost` event that says how many
are missing at this place, then the new ones: the file never holds a torn line.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import Final

from orchestra.logs.encode import SUPERVISOR, event_record

BACKLOG: Final = 4 * 1024 * 1024  # bytes kept for later while the disk is full
_GATHER: Final = 256  # buffers in one writev; IOV_MAX is 1024
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class LogFile:
    """The log of one run, open for appending. Several writers may append: O_APPEND keeps their lines whole."""

    def __init__(self, path: str | os.PathLike[str], *, run: str, logger: str = SUPERVISOR) -> None:
        self.path = os.fspath(path)
        self._run, self._logger = run, logger
        self._waiting: deque[bytes | memoryview] = deque()
        self._size = 0  # bytes in _waiting
        self._lost_lines = self._lost_bytes = 0  # since the last log.lost event
        self.lost_lines = 0  # in all
        self.problem = ""  # the errno's name while the file cannot be written
        self.fd = os.open(self.path, _FLAGS, 0o600)
        if _ends_torn(self.fd):  # an earlier writer died in the middle of a line
            self.write(b"\n")

    @property
    def pending(self) -> int:
        """Bytes taken by `write` that are not in the file yet."""
        return self._size

    def write(self, lines: bytes) -> None:
        """Take one or more complete lines for the next `flush`."""
        if not lines:
            return
        if self.problem and (self._lost_lines or self._size + len(lines) > BACKLOG):
            self._lost_lines += (count := lines.count(b"\n"))
            self.lost_lines += count
            self._lost_bytes += len(lines)
            return
        self._waiting.append(lines)
        self._size += len(lines)

    def flush(self) -> bool:
        """Write what waits; return whether the file grew. Never raises: `problem` says what is wrong."""
        grew = False
        while self._waiting:
            try:
                written = os.writev(self.fd, [self._waiting[i] for i in range(min(len(self._waiting), _GATHER))])
            except OSError as err:
                self.problem = errno.errorcode.get(err.errno or 0, "EIO")
                return grew
            grew = True
            self._advance(written)
            if not self._waiting and self._lost_lines:
                self._say_lost()
        self.problem = ""
        return grew

    def close(self) -> None:
        """Write what waits, once more, and close. What still cannot be written then is counted as lost."""
        self.flush()
        self.lost_lines += sum(bytes(lines).count(b"\n") for lines in self._waiting)
        self._waiting.clear()
        self._size = 0
        os.close(self.fd)

    def _advance(self, written: int) -> None:
        self._size -= written
        while written:
            first = self._waiting.popleft()
            if written < len(first):  # a partial write: its rest must come before anything else
                self._waiting.appendleft(memoryview(first)[written:])
                return
            written -= len(first)

    def _say_lost(self) -> None:
        record = event_record(
            "log.lost",
            run=self._run,
            logger=self._logger,
            lines=self._lost_lines,
            bytes=self._lost_bytes,
            reason=self.problem or "ENOSPC",
        )
        self._lost_lines = self._lost_bytes = 0
        self._waiting.append(record)
        self._size += len(record)


def append_records(path: str | os.PathLike[str], records: bytes) -> bool:
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
