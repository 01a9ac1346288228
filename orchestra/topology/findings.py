"""From the errors of the models to findings with a place, a code and words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestra.errors import Problem
from orchestra.topology import hints
from orchestra.topology.fields import WHOLE, Closed, Contradiction
from orchestra.topology.interpolation import SECTIONS, dotted
from orchestra.topology.keys import EXTENSIONS
from orchestra.topology.marks import Marks, Path
from orchestra.topology.model import Process, Topology
from orchestra.topology.nodes import Map, Scalar, is_nothing
from orchestra.topology.objectmodels import IN_WORDS, OBJECT_MODELS, Fill, Ftok, default_family
from orchestra.topology.processmodels import (
    Bounds,
    Dependency,
    EachCpus,
    Limit,
    Log,
    Ready,
    Restart,
    Rotate,
    StdinFile,
    Stop,
    ValueBounds,
    Waiting,
)
from orchestra.topology.values import QUIET, described

_TAGS = frozenset({"value", "mapping"})  # of unions; the file does not have them
# Where they stand in a process: behind so many parts of the path, below these keys.
_TAGGED = {"restart": 3, "stdin": 3, "cpu_affinity": 3, "depends_on": 4, "limits": 4, "wait_for": 5}


def findings(error: ValidationError, marks: Marks) -> list[Problem]:
    """Return a problem for each error that was not reported already."""
    found = []
    for item in error.errors(include_url=False):
        if item["type"] in (QUIET, WHOLE):
            continue
        problem = _finding(dict(item), marks)
        if problem is not None:
            found.append(problem)
    return found


def path_of(location: tuple[str | int, ...]) -> Path:
    """Return the path in the document: pydantic's location without the tags of unions."""
    parts = list(location)
    if len(parts) > 2 and parts[0] in SECTIONS:
        del parts[2]  # the family
    if parts and parts[-1] == "[key]":
        parts.pop()
    if len(parts) > 3 and parts[0] in SECTIONS and parts[2] in ("key", "fill") and parts[3] in _TAGS:
        del parts[3]
    if len(parts) > 3 and parts[0] == "processes":
        tag = _TAGGED.get(str(parts[2]), len(parts))
        if len(parts) > tag and parts[tag] in _TAGS:
            del parts[tag]
    return tuple(parts)


def _finding(item: dict[str, Any], marks: Marks) -> Problem | None:
    location = tuple(item["loc"])
    context = item.get("ctx") or {}
    kind = item["type"]
    path = path_of(location)
    if "message" in context:
        full = (*path, *context.get("at", ()))
        on_key = location[-1:] == ("[key]",) or kind == "unknown_key"
        return marks.problem(full, kind, context["message"], context["help"], key=on_key)
    node = marks.node(path)
    if isinstance(node, Scalar) and node.broken:
        return None
    if kind == "extra_forbidden":
        return unknown_key(path, location, marks)
    if kind == "missing":
        return _missing(path, marks)
    if kind == "union_tag_invalid":
        return _wrong_family(path, str(context.get("tag", "")), marks)
    if kind == "too_short":
        if node:  # its items are wrong, each with a finding of its own
            return None
        return marks.problem(path, "bad_value", "the list is empty")
    if kind in ("tuple_type", "list_type"):
        hint = f"Write [{node.text}]." if isinstance(node, Scalar) and node.text else ""
        return marks.problem(path, "wrong_type", f"expected a list, found {described(node)}", hint)
    expected = "expected a mapping, `key: value`"
    return marks.problem(path, "wrong_type", f"{expected}, found {described(node)}", _mapping_hint(path))


def _mapping_hint(path: Path) -> str:
    if len(path) == 2 and path[0] == "processes":
        return "Write `command: […]` below the name of the process."
    if path[-1:] == ("environment",):
        return "Write `NAME: value` lines, without `-` and `=`."
    if path[-1:] == ("ready",):
        return "Write how: `ready: {notify: true}`, `{log: …}`, `{exec: […]}`, `{tcp: PORT}` …"
    if path[2:3] == ("wait_for",):
        return "Write `wait_for: {jobs: {messages: {min: 1}}}`; for other processes there is `depends_on`."
    if path[-1:] == ("stop",):
        return "Write `stop: {signal: SIGINT, grace: 5s}`."
    if path[-1:] == ("limits",):
        return "Write `limits: {nofile: 1024}`."
    if path == ("log",):
        return "Write `log: {rotate: {size: 64MiB, keep: all}, raw: false}`."
    if path == ("processes",):
        return "Write `name:` lines below, without `-`."
    return ""


def _missing(path: Path, marks: Marks) -> Problem:
    name = str(path[-1])
    known = {
        ("version",): "Start the file with `version: 1`.",
        ("condition",): "Write `{condition: ready}`, or just `ready`.",
        ("policy",): "Write `policy: on-failure`.",
        ("each",): "Write `{each: [0, 1]}`, or a list for all replicas.",
        ("file",): "Write `{file: ./input}`.",
        ("size",): "Write `size: 64MiB`.",
        ("path",): "Write `path: ./file`.",
    }
    hint = known.get((name,), "")
    parent = path[:-1]
    place = marks.key_place(parent)
    return place.problem("missing_key", dotted(parent), f"`{name}` is missing", hint)


def _wrong_family(path: Path, tag: str, marks: Marks) -> Problem | None:
    section = str(path[0])
    node = marks.node((*path, "family"))
    if isinstance(node, Scalar) and node.broken:
        return None
    families = list(OBJECT_MODELS[section])
    if not isinstance(node, Scalar):
        return marks.problem((*path, "family"), "wrong_type", f"expected a word, found {described(node)}")
    foreign = {
        "system-v": "sysv",
        "systemv": "sysv",
        "svr4": "sysv",
        "xsi": "sysv",
        "shm": "posix",
        "pipe": "anonymous",
        "named": "fifo",
        "mmap": "file",
    }
    known = foreign.get(tag.lower())
    hint = (
        f"Write `{known}`."
        if known in families
        else hints.nearest_help(tag, families, "Families of " + section + " are {}.")
    )
    found = f"`{tag}` is no family of {section}" if tag else "the family is missing"
    return marks.problem((*path, "family"), "bad_value", found, hint)


def unknown_key(path: Path, location: tuple[str | int, ...], marks: Marks) -> Problem:
    """Return the finding for a key that the model does not have, with the best help there is."""
    key = str(path[-1])
    parent = path[:-1]
    model, table = model_at(location[:-1])
    names = keys_of(model)
    hint = table.get(key) or table.get(key.lower()) or ""
    message = f"unknown key `{key}`"
    if len(parent) == 2 and parent[0] in SECTIONS:
        why = _other_family(str(parent[0]), location, key)
        if why:
            found = OBJECT_MODELS[str(parent[0])][str(location[2])]
            message, hint = f"{IN_WORDS[found.family_name, found.kind]} has no `{key}`", hint or why
    if not hint and len(parent) == 2 and parent[0] == "processes" and key in keys_of(Topology):
        hint = f"`{key}` belongs to the top of the file: check its indentation."
    if not hint and not parent and key in keys_of(Process):
        hint = f"`{key}` belongs to a process: check its indentation."
    if not hint:
        hint = hints.nearest_help(key, names, "Keys here are {}.")
    return marks.problem(path, "unknown_key", message, hint, key=True)


def model_at(location: tuple[str | int, ...]) -> tuple[type[BaseModel], Mapping[str, str]]:
    """Return the model that reads a mapping, and the foreign words of that place."""
    if not location:
        return Topology, hints.TOP
    if location[0] == "log":
        return (Rotate if "rotate" in location else Log), hints.LOG
    if location[0] == "processes":
        return _model_in_process(location[2:])
    section = str(location[0])
    if "key" in location[3:]:
        return Ftok, {}
    if "fill" in location[3:]:
        return Fill, {}
    family = str(location[2]) if len(location) > 2 else default_family(section)
    return OBJECT_MODELS[section][family], hints.OBJECT[section]


def _model_in_process(location: tuple[str | int, ...]) -> tuple[type[BaseModel], Mapping[str, str]]:
    models: dict[str, tuple[type[BaseModel], Mapping[str, str]]] = {
        "stop": (Stop, hints.STOP),
        "ready": (Ready, hints.READY),
        "restart": (Restart, hints.RESTART),
        "depends_on": (Dependency, {}),
        "stdin": (StdinFile, {}),
        "cpu_affinity": (EachCpus, {}),
        "limits": (Limit, {}),
    }
    if not location:
        return Process, hints.PROCESS
    if location[0] == "wait_for":
        inner = location[2] if len(location) > 2 else ""
        if inner == "":
            return Waiting, hints.WAITING
        return (ValueBounds if inner == "value" else Bounds), hints.BOUNDS
    return models.get(str(location[0]), (Process, hints.PROCESS))


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys of a model as they are written."""
    names = [info.alias or name for name, info in model.model_fields.items()]
    return [name for name in names if name != EXTENSIONS]


_WHY_NOT = {
    ("queues", "posix", "capacity"): "It is sized by `max_messages` and `message_size`.",
    ("queues", "posix", "key"): "It has a `name:`.",
    ("queues", "sysv", "name"): "It has a `key:`.",
    ("segments", "posix", "key"): "It has a `name:`.",
    ("segments", "posix", "path"): "It has a `name:`; `family: file` has a path.",
    ("segments", "sysv", "name"): "It has a `key:`.",
    ("segments", "sysv", "path"): "It has a `key:`; `key: {path: …, project: A}` is ftok's.",
    ("segments", "file", "name"): "It has a `path:`.",
    ("segments", "file", "key"): "It has a `path:`.",
    ("semaphores", "posix", "key"): "It has a `name:`.",
    ("semaphores", "posix", "values"): "It is a single one: `value:`. A set needs `family: sysv`.",
    ("semaphores", "sysv", "name"): "It has a `key:`.",
    ("pipes", "fifo", "name"): "It has a `path:`.",
    ("pipes", "anonymous", "path"): "`family: fifo` has one.",
}
_NAMELESS = {
    ("segments", "memfd"): "It is nameless and dies with its last holder: only `size` and `fill` mean something.",
    ("pipes", "anonymous"): "It reaches only the processes that use it, and has no keys but `family`.",
}


def _other_family(section: str, location: tuple[str | int, ...], key: str) -> str:
    """Return why a key that another family has means nothing for this one; "" when no family has it."""
    family = str(location[2])
    known = _WHY_NOT.get((section, family, key))
    if known:
        return known
    having = [name for name, model in OBJECT_MODELS[section].items() if key in keys_of(model)]
    if not having:
        return ""
    return _NAMELESS.get((section, family)) or f"Only `family: {'` or `'.join(having)}` has it."


def contradictions(marks: Marks) -> list[Problem]:
    """Return what is wrong between the keys of each object, read from the file itself."""
    found: list[Problem] = []
    for section in SECTIONS:
        entries = marks.root.get(section)
        if not isinstance(entries, Map):
            continue
        for key, node in entries.items():
            if isinstance(node, Map):
                found += _object_contradictions((section, key), section, node, marks)
            elif is_nothing(node):
                found += _of(OBJECT_MODELS[section][default_family(section)], (), (section, key), marks, external=False)
    processes = marks.root.get("processes")
    for name, node in processes.items() if isinstance(processes, Map) else ():
        if isinstance(node, Map):
            found += _process_contradictions(("processes", name), node, marks)
        elif is_nothing(node):
            found += _of(Process, (), ("processes", name), marks, external=False)
    return found


def _process_contradictions(path: Path, node: Map, marks: Marks) -> list[Problem]:
    found = _of(Process, node.keys(), path, marks, external=False)
    if isinstance(node.get("ready"), Map):
        found += _of(Ready, node["ready"].keys(), (*path, "ready"), marks, external=False)
    waits, limits = node.get("wait_for"), node.get("limits")
    for subject, item in waits.items() if isinstance(waits, Map) else ():
        if not isinstance(item, Map):
            continue
        where = (*path, "wait_for", subject)
        found += _of(Waiting, item.keys(), where, marks, external=False)
        for what in ("messages", "attached", "value"):
            if isinstance(item.get(what), Map):
                found += _of(Bounds, item[what].keys(), (*where, what), marks, external=False)
    for limit, item in limits.items() if isinstance(limits, Map) else ():
        if isinstance(item, Map):
            found += _of(Limit, item.keys(), (*path, "limits", limit), marks, external=False)
    return found


def _object_contradictions(path: Path, section: str, node: Map, marks: Marks) -> list[Problem]:
    family = node.get("family")
    word = family.text if isinstance(family, Scalar) else default_family(section)
    model = OBJECT_MODELS[section].get(word)
    if model is None or (family is not None and not isinstance(family, Scalar)):
        return []
    external = node.get("external")
    is_external = isinstance(external, Scalar) and external.text in ("true", "True", "TRUE")
    found = _of(model, node.keys(), path, marks, external=is_external)
    fill = node.get("fill")
    if isinstance(fill, Map):
        found += _of(Fill, fill.keys(), (*path, "fill"), marks, external=False)
    return found


def _of(model: type[Closed], given: Collection[str], path: Path, marks: Marks, *, external: bool) -> list[Problem]:
    found: list[Contradiction] = model.contradictions(given, external=external)
    return [
        marks.problem(
            (*path, item.at) if item.at else path, item.code, item.message, item.help, key=item.at != "external"
        )
        for item in found
    ]
