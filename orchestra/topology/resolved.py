"""The resolved file for `orchestra config`: everything merged and filled in, with the origin of every value.

Paths are absolute, so the text can be stored elsewhere and loaded again; `variables` and `include` have done their work
and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestra.bindings import Template
from orchestra.topology.dump import to_data, to_json, to_yaml
from orchestra.topology.include import normal
from orchestra.topology.interpolation import dotted
from orchestra.topology.loader import Loaded
from orchestra.topology.marks import Path
from orchestra.topology.model import Process, Topology
from orchestra.topology.nodes import Map, Scalar
from orchestra.topology.processmodels import StdinFile
from orchestra.topology.processplans import absolute, program_path

DEFAULT = "default"


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: a place in a file and what was filled in there, or a default (no file)."""

    file: str = ""
    line: int = 0
    filled_from: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.file:
            return DEFAULT
        filled = f" ({', '.join(self.filled_from)})" if self.filled_from else ""
        return f"{self.file}:{self.line}{filled}"


@dataclass(frozen=True)
class Resolved:
    """A resolved file as data; `origins` has one entry per line of its YAML form."""

    data: dict[str, Any]
    origins: dict[Path, Origin]

    def to_yaml(self) -> str:
        """Return YAML with the origin of each value as a comment; it loads again."""
        return to_yaml(self.data, lambda path: str(self.origins.get(path, "")))

    def to_json(self) -> dict[str, Any]:
        """Return {"topology": the file, "origins": {dotted path: {"file", "line", "filled_from"}}}."""
        origins = {
            dotted(path): {"file": origin.file, "line": origin.line, "filled_from": list(origin.filled_from)}
            for path, origin in self.origins.items()
        }
        return {"topology": to_json(self.data), "origins": origins}


def resolve(loaded: Loaded, *, defaults: bool = False) -> Resolved:
    """Return the resolved form of a file; with `defaults`, keys that were not given are there too."""
    topology = with_absolute_paths(loaded)
    data = to_data(topology, defaults=defaults)
    data.setdefault("name", topology.name)
    for key in ("variables", "include", "$schema"):
        data.pop(key, None)
    data = {key: value for key, value in data.items() if not (isinstance(value, dict) and not value)}
    first: dict[str, Any] = {key: data.pop(key) for key in ("version", "name") if key in data}
    data = {**first, **data}
    origins = {path: _origin(path, loaded) for path in _leaves(data, ())}
    return Resolved(data, origins)


def with_absolute_paths(loaded: Loaded) -> Topology:
    """Return the topology with every path absolute."""
    topology = loaded.topology
    changed: dict[str, dict[str, Any]] = {}
    for section, key, item in topology.objects():
        folder = loaded.marks.folder((section, key))
        update: dict[str, Any] = {}
        path, ftok, fill = getattr(item, "path", None), getattr(item, "key", None), getattr(item, "fill", None)
        if isinstance(path, str):
            update["path"] = normal(path, folder)
        if hasattr(ftok, "project") and ftok is not None:
            update["key"] = ftok.model_copy(update={"path": normal(ftok.path, folder)})
        if getattr(fill, "file", None) is not None:
            update["fill"] = fill.model_copy(update={"file": normal(fill.file, folder)})  # type: ignore[union-attr]
        changed.setdefault(section, {})[key] = item.model_copy(update=update) if update else item
    for name, process in topology.processes.items():
        folder = loaded.marks.folder(("processes", name))
        changed.setdefault("processes", {})[name] = _process(process, folder)
    return topology.model_copy(update=changed)


def _process(process: Process, folder: str) -> Process:
    update: dict[str, Any] = {
        "directory": absolute(process.directory or (), folder),
        "command": _command(process.command, folder),
        "env_file": tuple(normal(path, folder) for path in process.env_file),
    }
    if process.python is not None and "/" in process.python:
        update["python"] = normal(process.python, folder)
    if isinstance(process.stdin, StdinFile):
        update["stdin"] = process.stdin.model_copy(update={"file": absolute(process.stdin.file, folder)})
    if process.stop.command is not None:
        update["stop"] = process.stop.model_copy(update={"command": _command(process.stop.command, folder)})
    if process.ready is not None and process.ready.exec is not None:
        update["ready"] = process.ready.model_copy(update={"exec": _command(process.ready.exec, folder)})
    elif process.ready is not None and process.ready.unix is not None:
        update["ready"] = process.ready.model_copy(update={"unix": absolute(process.ready.unix, folder)})
    given = process.model_fields_set | {"directory"}  # the folder of the resolved text may be another one
    return process.model_copy(update={key: value for key, value in update.items() if key in given})


def _command(command: tuple[Template, ...], folder: str) -> tuple[Template, ...]:
    return (program_path(command[0], folder), *command[1:]) if command else ()


def _leaves(data: Any, path: Path) -> list[Path]:
    """Return the paths of what YAML writes on one line: values, lists, empty mappings and `x-*`."""
    found: list[Path] = []
    for key, value in data.items():
        where = (*path, key)
        if isinstance(value, dict) and value and not key.startswith("x-"):
            found += _leaves(value, where)
        else:
            found.append(where)
    return found


def _origin(path: Path, loaded: Loaded) -> Origin:
    marks = loaded.marks
    parent: Any = marks.node(path[:-1]) if len(path) > 1 else marks.root
    known = isinstance(parent, Map) and str(path[-1]) in parent.keys_at
    if not known and not _listed(path, loaded) and not _in_short(path, loaded):
        return Origin()
    place = marks.place(path)
    return Origin(place.source.path, place.line, _filled_from(marks.node(path)))


def _listed(path: Path, loaded: Loaded) -> bool:
    """Whether a path stands for an entry of a short form: `uses: [jobs]` has no key `jobs`."""
    return len(path) == 4 and path[2] in ("uses", "depends_on") and isinstance(loaded.marks.node(path), Scalar)


_SHORT = ("condition", "policy", "min", "max", "soft", "hard")  # what one value of a short form stands for


def _in_short(path: Path, loaded: Loaded) -> bool:
    """Whether a path is what a short form means: `restart: always` has no key `policy`."""
    return path[-1] in _SHORT and isinstance(loaded.marks.node(path), Scalar)


def _filled_from(node: Any) -> tuple[str, ...]:
    nodes = node if isinstance(node, list) else [node]
    found: dict[str, None] = {}
    for item in nodes:
        for origin in item.origin if isinstance(item, Scalar) else ():
            found[origin] = None
    return tuple(found)
