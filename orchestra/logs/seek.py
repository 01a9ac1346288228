"""Finding a moment in a log without reading what comes before it: bisection by the timestamps of lines.

Lines stand in the order in which they were read, so timestamps rise, except where somebody set the clock. Both
functions find a place before which every timestamp is older *as far as they rise*: who must be sure goes back further
and compares.
"""

from __future__ import annotations

import os
from typing import Final

from orchestra.logs.files import Snapshot, StrPath

HEAD: Final = b'{"timestamp":"'  # how each line of ours begins
STAMP: Final = slice(len(HEAD), len(HEAD) + 27)  # 2026-01-02T03:04:05.000006Z
_CLOSE: Final = 64 * 1024  # bytes that are read rather than bisected further
_READ: Final = 8 * 1024


def offset_at(path: StrPath, timestamp: str) -> int:
    """Return the offset of the first line of one file that can be of `timestamp` or later; its size if none can.

    At most 64 KiB of older lines follow that offset. Raises OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return offset_in(fd, os.fstat(fd).st_size, timestamp)
    finally:
        os.close(fd)


def offset_in(fd: int, size: int, timestamp: str) -> int:
    """Do what `offset_at` does in the first `size` bytes of an open file."""
    low, high = 0, size  # the line that is sought begins in [low, high]
    while high - low > _CLOSE:
        middle = (low + high) // 2
        begin, stamp = _first_stamp(fd, middle, high)
        if stamp and stamp < timestamp:
            low = begin
        else:
            high = middle
    return low


def start_of(log: Snapshot, timestamp: str) -> tuple[int, int]:
    """Return where to begin to read in a log of several files: the index of one, and an offset in it.

    (0, 0) for an empty log. Raises OSError.
    """
    low, high = 0, len(log)  # the first line that is sought is in the file `low` or after it
    while high - low > 1:
        middle = (low + high) // 2
        if _begins_before(log, middle, timestamp):
            low = middle
        else:
            high = middle
    segment = log.open(low) if len(log) else None
    if segment is None:
        return low, 0
    try:
        return low, offset_in(segment.fd, segment.size, timestamp)
    finally:
        segment.close()


def _begins_before(log: Snapshot, index: int, timestamp: str) -> bool:
    segment = log.open(index)
    if segment is None:
        return True  # dropped: the oldest go first
    try:
        _, stamp = _first_stamp(segment.fd, 0, segment.size)
    finally:
        segment.close()
    return "" < stamp < timestamp


def _first_stamp(fd: int, start: int, end: int) -> tuple[int, str]:
    # The first whole line that begins in [start, end) and has a timestamp: its offset and that, or (end, "").
    # A line that a crash tore has none.
    begin = start
    if start and os.pread(fd, 1, start - 1) != b"\n":
        begin = _after_newline(fd, start, end)
    while begin < end:
        head = os.pread(fd, STAMP.stop, begin)
        if head.startswith(HEAD) and len(head) == STAMP.stop and b"\n" not in head:
            return begin, head[STAMP].decode("ascii", "replace")
        begin = _after_newline(fd, begin, end)
    return end, ""


def _after_newline(fd: int, start: int, end: int) -> int:
    while start < end and (block := os.pread(fd, _READ, start)):
        found = block.find(b"\n")
        if found >= 0:
            return start + found + 1
        start += len(block)
    return end
