"""From an event to one line of the log. Key order and omissions are those of the documented record.

Keys, in this order, those that do not apply left out: timestamp, level, logger, message, event, run, process,
replica, pid, object, stream, data.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final

from orchestra.logs.catalogue import EVENTS, TOP_FIELDS

SUPERVISOR: Final = "orchestra.supervisor"
GUARDIAN: Final = "orchestra.guardian"

_DUMP: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
_second: tuple[int, str] = (-1, "")  # formatting the date costs more than the rest: once a second is enough


def text_of(nanoseconds: int) -> str:
    """Return a time since the epoch as RFC 3339 in UTC with microseconds: `2026-01-02T03:04:05.000006Z`."""
    global _second  # noqa: PLW0603 a cache of one entry
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    if seconds != _second[0]:
        _second = (seconds, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)))
    return f"{_second[1]}.{rest // 1000:06d}Z"


def now_text() -> str:
    """Return the present time in the form of `text_of`."""
    return text_of(time.time_ns())


def event_record(
    event: str, /, *, timestamp: str | None = None, logger: str = SUPERVISOR, who: str = "", **fields: Any
) -> bytes:
    """Return one event as a complete line, newline included.

    `fields` are those of the catalogue, and `run`; None means that a field does not apply. `who` is what the message
    calls the process (default: `process.replica`). Raises KeyError for an event that the catalogue does not know.
    A field too few never raises: a log line must not end a run.
    """
    kind = EVENTS[event]
    record: dict[str, Any] = {
        "timestamp": timestamp or now_text(),
        "level": kind.level,
        "logger": logger,
        "message": message_of(event, fields, who),
        "event": event,
    }
    for name in TOP_FIELDS:
        if fields.get(name) is not None:
            record[name] = fields[name]
    data = {name: value for name, value in fields.items() if name not in TOP_FIELDS and value is not None}
    if data:
        record["data"] = data
    return dump_line(record)


def dump_line(record: dict[str, Any]) -> bytes:
    """Return a record as one line of UTF-8. Lone surrogates (undecodable file names) become `?`."""
    return _DUMP(record).encode("utf-8", "replace") + b"\n"


def message_of(event: str, fields: dict[str, Any], who: str = "") -> str:
    """Return the words of an event, from the catalogue's template."""
    words = _Words({name: ", ".join(map(str, v)) if isinstance(v, list | tuple) else v for name, v in fields.items()})
    if not who and fields.get("process") is not None:
        replica = fields.get("replica")
        who = str(fields["process"]) if replica is None else f"{fields['process']}.{replica}"
    words["who"] = who
    words["how"] = how_it_ended(fields.get("exit_code"), fields.get("signal"))
    return EVENTS[event].message.format_map(words)


def how_it_ended(exit_code: int | None, signal: str | None) -> str:
    """Return an end in words: `exited with code 1`, `was ended by SIGSEGV`."""
    if signal is not None:
        return f"was ended by {signal}"
    return "ended" if exit_code is None else f"exited with code {exit_code}"


class _Words(dict[str, Any]):
    """Fields for a template; one that is missing reads as `?`."""

    def __missing__(self, key: str) -> str:
        return "?"
