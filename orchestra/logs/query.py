"""Reading a run's log back: by time, process, level, text; the last N without reading the rest.

Lines stand in the order in which they were read, so their timestamps rise, except where somebody set the clock. That
is why a search by time looks SLACK further than it must and then compares each line.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, BinaryIO, Final

from orchestra.errors import NotFound, StateError, UsageError
from orchestra.logs.catalogue import LEVELS
from orchestra.logs.encode import text_of
from orchestra.logs.render import text_of_record

SLACK: Final = 60  # seconds by which the clock may have been set back
_BLOCK: Final = 64 * 1024
_HEAD: Final = b'{"timestamp":"'  # how each of our lines begins
_STAMP: Final = slice(len(_HEAD), len(_HEAD) + 27)  # 2026-01-02T03:04:05.000006Z
_LAST: Final = 253_402_300_799 - SLACK  # seconds since the epoch: a minute before the year 10000
_UNITS: Final = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
_RELATIVE: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


class Line:
    """One stored line. `record` is parsed when asked for, and None for a line that a crash tore."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @cached_property
    def record(self) -> dict[str, Any] | None:
        """Return the line as a dictionary, None when it is not a whole record."""
        try:
            found = json.loads(self.raw)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    @property
    def stamp(self) -> str:
        """Return the timestamp text, "" for a torn line."""
        if self.raw.startswith(_HEAD):
            return self.raw[_STAMP].decode("ascii", "replace")
        return str((self.record or {}).get("timestamp", ""))


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


@dataclass(frozen=True, slots=True)
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

    def passes(self, line: Line) -> bool:
        """Whether to show a line. Torn lines never pass."""
        if (self.since or self.until) and not self._in_time(line.stamp):
            return False
        # Most lines fall here, before they cost a parse: our encoder writes these keys in exactly this form.
        if self.stream and f'"stream":"{self.stream}"'.encode() not in line.raw:
            return False
        if self.targets and not any(f'":"{target.name}"'.encode() in line.raw for target in self.targets):
            return False
        if (self.events and b'"event":"' not in line.raw) or (self.level and b'"level":"' not in line.raw):
            return False
        record = line.record
        return record is not None and self._passes(record)

    def _in_time(self, stamp: str) -> bool:
        return stamp != "" and stamp >= self.since and not (self.until and stamp >= self.until)

    def _passes(self, record: dict[str, Any]) -> bool:
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


def read(path: str | os.PathLike[str], wanted: Filter | None = None, *, tail: int | None = None) -> Iterator[Line]:
    """Yield the lines of a log that pass `wanted`, in order; with `tail`, the last so many of them.

    What is appended meanwhile is not shown. Raises NotFound when there is no such log, StateError when it is
    unreadable.
    """
    chosen = wanted or Filter()
    try:
        with open(path, "rb") as log:
            size = os.fstat(log.fileno()).st_size
            if tail is not None:
                found = _last(log, size, chosen, tail)
                yield from reversed(found)
                return
            for line in _forward(log, size, chosen.since):
                if chosen.until and line.stamp > _moved(chosen.until, SLACK):
                    return
                if chosen.passes(line):
                    yield line
    except FileNotFoundError as err:
        raise NotFound(f"there is no log at {os.fspath(path)}", detail=f"open({os.fspath(path)}) -> ENOENT") from err
    except OSError as err:
        raise StateError(f"cannot read the log: {err.strerror}", detail=f"{os.fspath(path)}: {err}") from err


def _forward(log: BinaryIO, size: int, since: str) -> Iterator[Line]:
    start = _bisect(log, size, _moved(since, -SLACK)) if since else 0
    log.seek(start)
    for raw in log:
        start += len(raw)
        if start > size or not raw.endswith(b"\n"):
            return  # appended since we began, or still being written
        yield Line(raw)


def _last(log: BinaryIO, size: int, wanted: Filter, count: int) -> list[Line]:
    # The last `count` lines that pass, newest first.
    found: list[Line] = []
    oldest = _moved(wanted.since, -SLACK) if wanted.since else ""
    for line in _backward(log, size):
        if len(found) >= count or ("" < line.stamp < oldest):
            break
        if wanted.passes(line):
            found.append(line)
    return found


def _backward(log: BinaryIO, size: int) -> Iterator[Line]:
    # Lines from the end of the file to its beginning; a last line without its newline is left out.
    parts: list[bytes] = []  # pieces of a line whose beginning is not read yet, last piece first
    position = size
    complete = False  # whether a newline follows what is in `parts`
    while position > 0:
        start = max(0, position - _BLOCK)
        log.seek(start)
        block = log.read(position - start)
        position = start
        *lines, rest = reversed(block.split(b"\n"))
        for piece in lines:
            if complete:
                yield Line(b"".join([piece, *reversed(parts), b"\n"]))
            parts, complete = [], True
        parts.append(rest)
    if complete and (first := b"".join(reversed(parts))):
        yield Line(first + b"\n")


def _bisect(log: BinaryIO, size: int, since: str) -> int:
    # Offset of a line before which every timestamp is older, as far as they rise.
    low, high = 0, size
    while high - low > _BLOCK:
        middle = (low + high) // 2
        log.seek(middle)
        log.readline()  # the rest of a line that began earlier
        stamp = ""
        while log.tell() < high and (raw := log.readline()) and not (stamp := Line(raw).stamp):
            continue  # torn by a crash
        if stamp and stamp < since:
            low = middle
        else:
            high = middle
    if low == 0:
        return 0
    log.seek(low)
    return low + len(log.readline())


def _moved(stamp: str, seconds: float) -> str:
    moment = datetime.fromisoformat(stamp) + timedelta(seconds=seconds)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_when(text: str, now: float | None = None) -> str:
    """Return a moment that a person gave as a timestamp of the log.

    Either how long ago (`90`, `30s`, `5m`, `1h30m`, `2d`) or a date, a time of today, or both, local unless it says
    otherwise (`2026-01-02`, `14:30`, `2026-01-02T14:30:05Z`). Raises UsageError.
    """
    present = time.time() if now is None else now
    text = text.strip()
    try:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return _stamp(present - float(text))
        if _RELATIVE.fullmatch(text):
            return _stamp(present - sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
        if re.fullmatch(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?", text):
            hour, rest = text.split(":", 1)
            text = f"{datetime.fromtimestamp(present).astimezone():%Y-%m-%d}T{hour:0>2}:{rest}"
        return _stamp(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError) as err:
        raise UsageError(
            f"{text!r} is not a time",
            hint="Say how long ago (30s, 5m, 1h30m) or when (14:30, 2026-01-02, 2026-01-02T14:30:05Z).",
        ) from err


def _stamp(seconds: float) -> str:
    # No log is from before 1970, and years have four digits: beyond that all moments are alike.
    return text_of(round(min(max(seconds, SLACK), _LAST) * 1_000_000) * 1000)


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
