"""What is left of a file when its errors are taken out, so that the rules can look at the rest in the same pass."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from orchestra.kinds import Access
from orchestra.topology.fields import Condition
from orchestra.topology.findings import path_of
from orchestra.topology.interpolation import SECTIONS
from orchestra.topology.marks import Path
from orchestra.topology.model import Topology
from orchestra.topology.nodes import Scalar, Seq, is_nothing
from orchestra.topology.values import read_text

# Where a key cannot be left out; never seen by a user, because the file has errors anyway.
_STOPGAPS: dict[tuple[str, str], Any] = {
    ("processes", "command"): ["-"],
    ("processes", "function"): "-:-",
    ("segments", "size"): 1,
    ("segments", "path"): "-",
}


def broken_entries(error: ValidationError) -> set[tuple[str, str]]:
    """Return (section, key) of every object and process that has an error, also one reported elsewhere."""
    return {(str(path[0]), str(path[1])) for path in _paths(error) if len(path) > 1}


def remains(root: dict[str, Any], error: ValidationError) -> Topology | None:
    """Return the topology without the keys that errors are in; without their objects, if that is not enough."""
    rest = _start(root)
    for path in _paths(error):
        _take_key(rest, path)
    _one_way_each(rest)
    try:
        return Topology.model_validate(rest)
    except ValidationError as again:
        for path in _paths(again):
            _take_entry(rest, path)
    try:
        return Topology.model_validate(rest)
    except ValidationError:
        return None


def _start(root: dict[str, Any]) -> dict[str, Any]:
    rest: dict[str, Any] = dict(root)
    rest["version"] = 1
    rest.setdefault("name", "orchestra")
    for section in (*SECTIONS, "processes", "variables"):
        if isinstance(rest.get(section), dict):
            rest[section] = dict(rest[section])
    return rest


def _paths(error: ValidationError) -> Iterable[Path]:
    for item in error.errors(include_url=False):
        path = path_of(tuple(item["loc"]))
        yield (*path, *(item.get("ctx") or {}).get("at", ()))


def _take_key(rest: dict[str, Any], path: Path) -> None:
    """Remove one key of an object or process; of `uses` and `depends_on` only the wrong word."""
    section, entry = str(path[0]) if path else "", None
    if len(path) > 2 and isinstance(rest.get(section), dict):
        entry = rest[section].get(path[1])
    if section == "processes" and len(path) == 2:
        return  # a contradiction: see _one_way
    if not isinstance(entry, dict) or (len(path) > 2 and path[2] == "family"):
        _take_entry(rest, path)
        return
    entry = dict(entry)
    rest[section][path[1]] = entry
    key = str(path[2])
    inner = entry.get(key)
    if len(path) > 3 and key in ("uses", "depends_on") and isinstance(inner, dict) and path[3] in inner:
        semaphores = rest.get("semaphores") or {}
        access = Access.READ_WRITE if path[3] in semaphores else Access.READ
        entry[key] = {**inner, str(path[3]): access if key == "uses" else Condition.READY}
    elif len(path) > 3 and key in ("wait_for", "limits") and isinstance(inner, dict):
        entry[key] = {name: item for name, item in inner.items() if name != path[3]}
    elif key in ("uses", "depends_on") and isinstance(inner, Seq):
        entry[key] = _names(inner)
    elif key in ("uses", "depends_on") and isinstance(inner, Scalar) and _is_declared(inner.text, rest):
        entry[key] = [inner.text]
    elif (section, key) in _STOPGAPS:
        entry[key] = _STOPGAPS[section, key]
    else:
        entry.pop(key, None)


def _one_way_each(rest: dict[str, Any]) -> None:
    """Let each process run one thing, if it did not say what, or said two."""
    processes = rest.get("processes")
    if not isinstance(processes, dict):
        return
    for name, entry in list(processes.items()):
        if is_nothing(entry):
            processes[name] = {"command": ["-"]}
        elif isinstance(entry, dict) and ("command" in entry or "function" not in entry):
            kept = {key: value for key, value in entry.items() if key not in ("function", "arguments", "python")}
            processes[name] = {"command": ["-"], **kept}


def _names(items: Iterable[Any]) -> list[str]:
    """Return what a list of names holds beside its errors, so that nobody misses a name that stands there."""
    found: dict[str, None] = {}
    for item in items:
        with suppress(PydanticCustomError):
            found[read_text(item)] = None
    return list(found)


def _is_declared(name: str, rest: dict[str, Any]) -> bool:
    sections = (rest.get(section) for section in (*SECTIONS, "processes"))
    return any(name in entries for entries in sections if isinstance(entries, dict))


def _take_entry(rest: dict[str, Any], path: Path) -> None:
    if not path:
        return
    section = str(path[0])
    entries = rest.get(section)
    if len(path) > 1 and isinstance(entries, dict) and section in (*SECTIONS, "processes", "variables"):
        entries.pop(str(path[1]), None)
    else:
        rest.pop(section, None)
        if section == "name":
            rest["name"] = "orchestra"
        elif section == "version":
            rest["version"] = 1
