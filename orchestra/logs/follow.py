"""Reading a log while it grows: whole lines only, in order, across the files that rotation makes of it.

A follower never waits. `up` reads when the supervisor says that the log has grown, `logs -f` when the kernel does
(`orchestra.cli.following`); both get the same lines from here.
"""

from __future__ import annotations

import os
from typing import Final, Self

from orchestra.logs.files import Segment, Snapshot, StrPath, open_next, open_snapshot

_SOME: Final = 256 * 1024  # bytes of one read


class Follower:
    """Reads what is in a log and what is appended to it, from a place on; the log need not exist yet."""

    def __init__(self, path: StrPath) -> None:
        self.path = os.fspath(path)
        self._segment: Segment | None = None
        self._offset = 0  # of the first byte in it that `read` has not returned
        self._before: Segment | None = None  # the one that was left, as long as its writer may still be there
        self._before_offset = 0
        self.files = 0  # how many it has come to: changes when `file` does
        self.missed = 0  # how many were dropped by the rotation before they could be read

    @classmethod
    def after(cls, path: StrPath, log: Snapshot) -> Follower:
        """Return a follower of the lines that were not whole yet when the snapshot was taken. Raises OSError."""
        follower = cls(path)
        last = log.open(len(log) - 1) if len(log) else None  # None: dropped, and then so is all before it
        if last is not None:
            follower._segment, follower.files = last, 1
            follower._offset = end_of_lines(last.fd, last.size)
        return follower

    def read(self, limit: int = _SOME) -> bytes:
        """Return the next whole lines, about `limit` bytes of them; b"" when there is nothing new. Raises OSError."""
        if self._segment is None:
            self._segment = _oldest(self.path)
            self.files += self._segment is not None
        while self._segment is not None:
            if self._before is not None:
                # A file that was made by others (`create` of logrotate) is empty until the writer comes to it, and
                # what it writes until then is in the one before. So look at this one first.
                begun = os.fstat(self._segment.fd).st_size > 0
                lines, self._before_offset = _lines(self._before.fd, limit, self._before_offset)
                if lines:
                    return lines
                if begun:
                    self._before.close()
                    self._before = None
            if self._before is None:
                lines, self._offset = _lines(self._segment.fd, limit, self._offset)
                if lines:
                    return lines
            following = None if self._is_newest(self._segment) else open_next(self.path, self._segment)
            if following is None:
                break
            self._go_on(self._segment, following)
        return b""

    def _go_on(self, last: Segment, following: Segment) -> None:
        self.missed += max(0, following.number - last.number - 1)
        self.files += 1
        if self._before is None:
            self._before, self._before_offset = last, self._offset
        else:  # nobody has come to it
            last.close()
        self._segment, self._offset = following, 0

    @property
    def file(self) -> int | None:
        """The descriptor of the file that grows next, None while there is none: what to watch."""
        return None if self._segment is None else self._segment.fd

    def close(self) -> None:
        """Close what is open."""
        for segment in (self._segment, self._before):
            if segment is not None:
                segment.close()
        self._segment = self._before = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_newest(self, segment: Segment) -> bool:
        try:
            info = os.stat(self.path)
        except FileNotFoundError:
            return False
        return (info.st_dev, info.st_ino) == (segment.device, segment.inode)


def _lines(fd: int, limit: int, offset: int) -> tuple[bytes, int]:
    """Return whole lines of a file from an offset on, about `limit` bytes of them, and the offset behind them."""
    block = os.pread(fd, limit, offset)
    if not block and offset > os.fstat(fd).st_size:  # cut off (`copytruncate` of logrotate): it begins anew
        offset = 0
        block = os.pread(fd, limit, offset)
    end = block.rfind(b"\n") + 1
    while not end and len(block) == limit:  # one line longer than the limit
        limit *= 2
        block = os.pread(fd, limit, offset)
        end = block.rfind(b"\n") + 1
    return block[:end], offset + end


def end_of_lines(fd: int, size: int) -> int:
    """Return where the last whole line in the first `size` bytes of a file ends. Raises OSError."""
    end, step = size, 4096
    while end > 0:
        start = max(0, end - step)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end, step = start, step * 2
    return 0


def _oldest(path: str) -> Segment | None:
    with open_snapshot(path) as log:
        opened = (log.open(index) for index in range(len(log)))
        return next((segment for segment in opened if segment is not None), None)
