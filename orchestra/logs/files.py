"""The files that one log is made of: `log.jsonl`, which grows, and `log.jsonl.000001`, `.000002` … before it.

The writer rotates between two lines: it renames `log.jsonl` to the next number and begins a new one. Numbers only
grow, the lowest that is left is the oldest. For a moment between the two steps there is no `log.jsonl`; readers take
that as an empty one. A file that somebody else renamed (logrotate does) is no longer part of the log.

A reader that opens `log.jsonl` first and looks for numbers afterwards misses nothing: what was renamed before has a
number by then, and what is renamed later it holds open. Files are told apart by device and inode, never by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final, NamedTuple, Self

StrPath = str | os.PathLike[str]

_READ: Final = os.O_RDONLY | os.O_CLOEXEC
_NUMBER: Final = re.compile(r"[0-9]{6,}")
_DIGITS: Final = 6


class Segment(NamedTuple):
    """One file of a log, open for reading. `size` is what it held when it was opened; the last one may grow.

    `number` is the one in its name, or the one it will have once it is rotated.
    """

    fd: int
    number: int
    size: int
    device: int
    inode: int

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


def rotated_path(path: StrPath, number: int) -> str:
    """Return the name of the rotated file with this number."""
    return f"{os.fspath(path)}.{number:0{_DIGITS}d}"


def rotated_numbers(path: StrPath) -> list[int]:
    """Return the numbers of the rotated files of a log, oldest first; [] where there is no such folder."""
    folder, name = os.path.split(os.fspath(path))
    prefix = f"{name}."
    try:
        names = os.listdir(folder or ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    ends = (found[len(prefix) :] for found in names if found.startswith(prefix))
    # Only names that we would give: `.0000007` is somebody else's file.
    return sorted(int(end) for end in ends if _NUMBER.fullmatch(end) and f"{int(end):0{_DIGITS}d}" == end)


def segments_of(path: StrPath) -> list[str]:
    """Return the paths of all files of a log that exist, oldest first, the current one last. Raises OSError."""
    found = [rotated_path(path, number) for number in rotated_numbers(path)]
    return [*found, os.fspath(path)] if os.path.exists(path) else found


class Snapshot:
    """The files of a log at one moment, oldest first. Only the last one is held open: there may be thousands.

    `numbers` are those of the rotated files, `last` is the newest of all; it may still grow beyond its `size`.
    """

    __slots__ = ("dropped", "last", "numbers", "path")

    def __init__(self, path: StrPath, numbers: tuple[int, ...], last: Segment | None) -> None:
        self.path, self.numbers, self.last = path, numbers, last
        self.dropped = 0  # how many of them were gone when they should have been read

    def __len__(self) -> int:
        return len(self.numbers) + (self.last is not None)

    def open(self, index: int) -> Segment | None:
        """Open one of them, to be closed by the caller; None for one that was dropped meanwhile. Raises OSError."""
        if index < len(self.numbers):
            found = _open(rotated_path(self.path, self.numbers[index]), self.numbers[index])
            self.dropped += found is None
            return found
        assert self.last is not None
        return self.last._replace(fd=os.dup(self.last.fd))

    def close(self) -> None:
        """Let go of the last file."""
        if self.last is not None:
            self.last.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_snapshot(path: StrPath) -> Snapshot:
    """Return the log as it is at this moment; of length 0 when there is none. Raises OSError."""
    before = set(rotated_numbers(path))
    current = _open(path, 0)
    numbers = rotated_numbers(path)
    for index, number in enumerate(numbers):
        if current is not None and number not in before and _is_at(rotated_path(path, number), current):
            # Rotated since we opened it: what came after that is not of this moment.
            return Snapshot(path, tuple(numbers[:index]), current._replace(number=number))
    after = numbers[-1] + 1 if numbers else 1
    return Snapshot(path, tuple(numbers), None if current is None else current._replace(number=after))


def open_next(path: StrPath, last: Segment) -> Segment | None:
    """Open the file that follows `last` in its log; None as long as `last` is the newest.

    Once there is a next one nothing is appended to `last` any more: read `last` to its end after this call, then go on.
    Raises OSError.
    """
    current = _open(path, 0)
    numbers = rotated_numbers(path)
    for number in numbers:
        if number < last.number:
            continue
        segment = _open(rotated_path(path, number), number)
        if segment is None or _are_one(segment, last):
            _close(segment)
            continue
        _close(current)
        return segment
    if current is None or _are_one(current, last):
        _close(current)
        return None
    return current._replace(number=max(numbers, default=0) + 1)


def read_blocks(segment: Segment, start: int = 0, size: int = 1 << 20) -> Iterator[bytes]:
    """Yield what a segment holds from an offset to its present end, in blocks of up to `size` bytes."""
    while block := os.pread(segment.fd, size, start):
        start += len(block)
        yield block


def _open(path: StrPath, number: int) -> Segment | None:
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    info = os.fstat(fd)
    return Segment(fd, number, info.st_size, info.st_dev, info.st_ino)


def _close(segment: Segment | None) -> None:
    if segment is not None:
        segment.close()


def _are_one(one: Segment, other: Segment) -> bool:
    return (one.device, one.inode) == (other.device, other.inode)


def _is_at(path: StrPath, segment: Segment) -> bool:
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return False
    return (info.st_dev, info.st_ino) == (segment.device, segment.inode)
