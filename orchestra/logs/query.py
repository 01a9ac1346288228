"""Reading a run's log back: by time, process, level, text; the last N without reading the rest.

A log is read in blocks of whole lines and shown in blocks of whole lines. What a filter can decide by looking for
bytes in a block it does so; only lines that are still in question are looked at one by one, and only those that are
not plain text of a child are parsed.

Lines stand in the order in which they were read, so their timestamps rise, except where somebody set the clock. That
is why a search by time looks SLACK further than it must and then compares each line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final

from orchestra.errors import NotFound, OrchestraError, StateError, UsageError
from orchestra.logs.catalogue import LEVELS
from orchestra.logs.files import Segment, Snapshot, open_snapshot
from orchestra.logs.follow import end_of_lines
from orchestra.logs.records import PLAIN_BYTES, message_of, record_of, split, without_torn
from orchestra.logs.render import text_of_record
from orchestra.logs.seek import HEAD, STAMP, start_of
from orchestra.logs.when import SLACK, moved

_BLOCK: Final = 1 << 20  # bytes of one read
_FIRST: Final = 64 * 1024  # bytes of the first read; each further one takes twice as much, up to _BLOCK
_WIDTH: Final = STAMP.stop - STAMP.start
_NEXT: Final = b"\n" + HEAD  # where a line ends and the next one begins


@dataclass(frozen=True, slots=True)
class Target:
    """A process (of one replica, or of all) or an object, by its key in the topology."""

    name: str
    replica: int | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `worker`, `worker.2` or `jobs`. Raises UsageError."""
        name, dot, replica = text.partition(".")
        if dot and not (replica.isascii() and replica.isdigit() and int(replica) > 0):
            raise UsageError(f"{text}: {replica!r} is not the number of a replica", hint="Replicas count from 1.")
        return cls(name, int(replica) if dot else None)

    def matches(self, record: dict[str, Any]) -> bool:
        """Whether a record is about this process or object."""
        if record.get("process") == self.name:
            return self.replica in (None, record.get("replica", 1))
        return self.replica is None and record.get("object") == self.name


@dataclass(frozen=True)
class Filter:
    """What to show; the empty one shows everything. A record must pass every part that is given.

    `since` (inclusive) and `until` (exclusive) are timestamps as in the log. `level` is the least severe to show;
    lines without a level, that is plain output, do not pass it. `events` are ids or patterns such as `process.*`.
    `grep` searches the line as a terminal shows it, without its prefix.
    """

    targets: Sequence[Target] = ()
    since: str = ""
    until: str = ""
    level: str = ""
    grep: re.Pattern[str] | None = None
    events: Sequence[str] = ()
    stream: str = ""

    def select(self, lines: bytes) -> bytes:
        """Return those of some whole lines that pass, in their order. Torn lines never pass."""
        if self.since or self.until:
            lines = self._timely(lines)
        if not self._is_particular or not lines:
            return without_torn(lines)
        passes = self._passes
        return b"".join([line for line in self._candidates(lines) if passes(line)])

    @cached_property
    def _is_particular(self) -> bool:
        """Whether anything but the time is asked for."""
        return bool(self.targets or self.level or self.grep or self.events or self.stream)

    def _timely(self, lines: bytes) -> bytes:
        beginnings = lines.removeprefix(HEAD).split(_NEXT)  # each is a timestamp, and what follows it
        if lines.startswith(HEAD) and len(beginnings) == lines.count(b"\n"):
            oldest, newest = min(beginnings)[:_WIDTH], max(beginnings)[:_WIDTH]
            if self._in_time(oldest) and self._in_time(newest):
                return lines
            if newest < self.since.encode() or (self.until and oldest >= self.until.encode()):
                return b""
        return b"".join([line for line in split(lines) if self._in_time(stamp_of(line))])

    def _in_time(self, stamp: bytes) -> bool:
        return stamp != b"" and stamp >= self.since.encode() and not (self.until and stamp >= self.until.encode())

    def _candidates(self, lines: bytes) -> Iterator[bytes]:
        """Yield the lines that hold what a line that passes must hold."""
        needle = self._needle
        if needle is None:
            yield from split(lines)
            return
        done = 0
        while found := needle.search(lines, done):
            start = max(done, lines.rfind(b"\n", done, found.start()) + 1)
            done = lines.find(b"\n", found.end()) + 1 or len(lines)
            yield lines[start:done]

    @cached_property
    def _needle(self) -> re.Pattern[bytes] | None:
        """What every line that passes has in it, in the very form in which our encoder writes it: the rarest first."""
        if self.events:
            key, words = "event", [_beginning(pattern) for pattern in self.events]
        elif self.level:
            key, words = "level", [f'{level}"' for level in LEVELS[LEVELS.index(self.level) :]]
        elif self.stream == "stderr":
            key, words = "stream", [f'{self.stream}"']
        elif self.targets:
            key, words = "process|object", [f'{target.name}"' for target in self.targets]
        else:
            return None
        return re.compile(f'"(?:{key})":"(?:{"|".join(map(re.escape, words))})'.encode())

    def _passes(self, line: bytes) -> bool:
        plain = PLAIN_BYTES.fullmatch(line)
        if plain is None:
            record = record_of(line)
            return record is not None and self._passes_record(record)
        if self.events or self.level:
            return False
        _, message, process, replica, stream = plain.groups()
        if self.stream and stream != self.stream.encode():
            return False
        if self.targets:
            about = {"process": process.decode("utf-8", "replace"), "replica": int(replica or 1)}
            if not any(target.matches(about) for target in self.targets):
                return False
        return self.grep is None or self.grep.search(message_of(message.decode("utf-8", "replace"))) is not None

    def _passes_record(self, record: dict[str, Any]) -> bool:
        if self.stream and record.get("stream") != self.stream:
            return False
        if self.targets and not any(target.matches(record) for target in self.targets):
            return False
        event = record.get("event", "")
        if self.events and not any(fnmatchcase(event, pattern) for pattern in self.events):
            return False
        if self.level and (
            record.get("level") not in LEVELS or LEVELS.index(record["level"]) < LEVELS.index(self.level)
        ):
            return False
        return self.grep is None or self.grep.search(text_of_record(record)) is not None


def stamp_of(line: bytes) -> bytes:
    """Return the timestamp of a line, b"" for a torn one."""
    if line.startswith(HEAD):
        return line[STAMP]
    return str((record_of(line) or {}).get("timestamp", "")).encode("ascii", "replace")


def _last_stamp(lines: bytes) -> bytes:
    return stamp_of(lines[lines.rfind(b"\n", 0, -1) + 1 :])


def _beginning(pattern: str) -> str:
    """Return what every event id begins with that a pattern matches."""
    fixed = re.match(r"[^*?\[]*", pattern)
    assert fixed is not None
    return fixed[0] + ('"' if fixed[0] == pattern else "")


# --- reading ---------------------------------------------------------------------------------------------------------


def open_log(path: str | os.PathLike[str]) -> Snapshot:
    """Return a log as it is now; to be closed. Raises NotFound when there is none, StateError when it is unreadable."""
    try:
        log = open_snapshot(path)
    except OSError as err:
        raise _unreadable(path, err) from err
    if not len(log):
        raise NotFound(f"there is no log at {os.fspath(path)}", detail=f"open({os.fspath(path)}) -> ENOENT")
    return log


def read(log: Snapshot, wanted: Filter | None = None, *, tail: int | None = None) -> Iterator[bytes]:
    """Yield the lines of a log that pass `wanted`, in order, in blocks; with `tail`, the last so many of them.

    Raises StateError when the log cannot be read any further.
    """
    chosen = wanted or Filter()
    try:
        if tail is not None:
            yield from reversed(_last(log, chosen, tail))
            return
        latest = moved(chosen.until, SLACK).encode() if chosen.until else b""
        for block in _forward(log, chosen.since):
            if passed := chosen.select(block):
                yield passed
            if latest and _last_stamp(block) > latest:
                return
    except OSError as err:
        raise _unreadable(log.path, err) from err


def records(path: str | os.PathLike[str], wanted: Filter | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records of a log that pass `wanted`. Raises NotFound and StateError."""
    with open_log(path) as log:
        for block in read(log, wanted):
            yield from (record for line in split(block) if (record := record_of(line)) is not None)


def _unreadable(path: str | os.PathLike[str], err: OSError) -> OrchestraError:
    return StateError(f"cannot read the log: {err.strerror}", detail=f"{os.fspath(path)}: {err}")


def _forward(log: Snapshot, since: str) -> Iterator[bytes]:
    first, offset = start_of(log, moved(since, -SLACK)) if since else (0, 0)
    for index in range(first, len(log)):
        segment = log.open(index)
        if segment is None:
            continue  # dropped by the rotation meanwhile
        try:
            yield from _blocks(segment, offset)
        finally:
            segment.close()
        offset = 0


def _blocks(segment: Segment, start: int) -> Iterator[bytes]:
    """Yield the whole lines of a file, as far as it went when it was opened."""
    size = _FIRST
    while start < segment.size:
        block = os.pread(segment.fd, min(size, segment.size - start), start)
        end = block.rfind(b"\n") + 1
        if end:
            yield block[:end]
            start, size = start + end, min(size * 2, _BLOCK)
        elif len(block) < size:
            return  # still being written, or torn
        else:
            size *= 2


def _last(log: Snapshot, wanted: Filter, count: int) -> list[bytes]:
    """Return the last `count` lines that pass, in blocks, the newest block first."""
    found: list[bytes] = []
    oldest = moved(wanted.since, -SLACK).encode() if wanted.since else b""
    for block in _backward(log) if count else ():
        passed = wanted.select(block)
        lines = passed.count(b"\n")
        if lines > count:
            passed = b"".join(split(passed)[-count:])
        if passed:
            found.append(passed)
            count -= lines
        if count <= 0 or b"" < _last_stamp(block) < oldest:
            break
    return found


def _backward(log: Snapshot) -> Iterator[bytes]:
    """Yield blocks of whole lines from the end to the beginning; a last line without its newline is left out."""
    step = _FIRST
    for index in reversed(range(len(log))):
        segment = log.open(index)
        if segment is None:
            return  # dropped meanwhile, and with it all that were before
        try:
            end, size = end_of_lines(segment.fd, segment.size), step
            while end > 0:
                start = max(0, end - size)
                block = os.pread(segment.fd, end - start, start)
                if not block:
                    break  # somebody has cut the file off since
                # Whole lines begin after the first newline; at the beginning of the file, with its first byte.
                begin = block.find(b"\n") + 1 if start else 0
                if begin == len(block):
                    size *= 2  # nothing but the end of one long line
                    continue
                yield block[begin:]
                end = start + begin
                step = size = min(step * 2, _BLOCK)
        finally:
            segment.close()


def parse_level(text: str) -> str:
    """Return a level word of the log. Raises UsageError."""
    word = {"warn": "warning", "err": "error", "fatal": "critical"}.get(text.lower(), text.lower())
    if word not in LEVELS:
        raise UsageError(f"{text!r} is not a level", hint=f"One of: {', '.join(LEVELS)}.")
    return word


def parse_grep(text: str) -> re.Pattern[str]:
    """Return a compiled pattern. Raises UsageError."""
    try:
        return re.compile(text)
    except re.error as err:
        raise UsageError(
            f"{text!r} is not a regular expression: {err}", hint="Put a backslash before ( [ * + ? . to mean just them."
        ) from err
