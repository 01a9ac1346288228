"""The records of a run against the catalogue: what a reader of the log may rely on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestra.logs.catalogue import EVENTS, TOP_FIELDS

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
}
FRAME = ("timestamp", "level", "logger", "message", "event", "run")


def breaches(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say where an event of ours is not as the reference page has it; [] when all are."""
    return [f"{record.get('event')}: {why}" for record in records if "stream" not in record for why in _of(record)]


def _of(record: Mapping[str, Any]) -> list[str]:
    kind = EVENTS.get(str(record.get("event")))
    if kind is None:
        return ["no such event"]
    fields = {name: record[name] for name in TOP_FIELDS if name in record} | dict(record.get("data", {}))
    types = {name.rstrip("?"): word for name, word in kind.fields.items()}
    found = [] if record.get("level") == kind.level else [f"level {record.get('level')}, not {kind.level}"]
    found += [f"no {name}" for name in FRAME if name not in record]
    found += [f"no {name}" for name in sorted(kind.required - fields.keys())]
    found += [f"{name} is not in the catalogue" for name in sorted(fields.keys() - types.keys() - {"run"})]
    found += [
        f"{name} is {value!r}, no {types[name]}"
        for name, value in fields.items()
        if name in types
        and (not isinstance(value, TYPES[types[name]]) or isinstance(value, bool) != (types[name] == "boolean"))
    ]
    if list(record) != [key for key in _ORDER if key in record]:
        found.append(f"keys in the order {', '.join(record)}")
    return found


_ORDER = (*FRAME[:5], *TOP_FIELDS, "data")
