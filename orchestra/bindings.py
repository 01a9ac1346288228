"""What a child process is told about the objects it uses: environment, JSON, placeholders. Pure, standard library only.

The contract (docs/reference/wiring.md) has version 1. `orchestra.client` reads it from the other side, so nothing
here may need more than the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from orchestra.kinds import Access, Family, Kind

CONTRACT_VERSION = 1
FIRST_FD = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START

# Variables of ours or of a supervisor above us that must not reach a child by inheritance.
STRIPPED_PREFIXES = ("ORCHESTRA_", "LISTEN_", "WATCHDOG_")
STRIPPED_NAMES = frozenset({"NOTIFY_SOCKET"})


class Binding(NamedTuple):
    """One used object as its user sees it. `fd` is the number inside the child."""

    key: str
    family: Family
    kind: Kind
    access: Access
    name: str | None = None  # POSIX name, or absolute path of a file or FIFO
    id: int | None = None
    ipc_key: int | None = None  # unsigned
    fd: int | None = None
    size: int | None = None
    extra: Mapping[str, Any] = MappingProxyType({})  # x-* keys of the object


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A value that is known only at launch: `${queues.jobs.name}` is ("jobs", "name")."""

    object: str
    field: str


Template = tuple[str | Placeholder, ...]

# Fields a placeholder may ask for, by what the object has.
PLACEHOLDER_FIELDS = ("name", "id", "key", "path", "fd", "size")


def variable(key: str) -> str:
    """Return the environment name of an object key: `free-slots` → `ORCHESTRA_FREE_SLOTS`."""
    return "ORCHESTRA_" + key.upper().replace("-", "_")


def value_of(binding: Binding, wanted: str) -> str:
    """Return the text of one placeholder field. Raises KeyError when this object has no such field."""
    values: dict[str, str | None] = {
        "name": binding.name if binding.family is Family.POSIX else None,
        "path": binding.name if binding.family in (Family.FILE, Family.FIFO) else None,
        "id": None if binding.id is None else str(binding.id),
        "key": None if binding.ipc_key is None else f"{binding.ipc_key:#010x}",
        "fd": None if binding.fd is None else str(binding.fd),
        "size": None if binding.size is None else str(binding.size),
    }
    value = values.get(wanted)
    if value is None:
        raise KeyError(wanted)
    return value


def render(template: Template, bindings: Mapping[str, Binding], replica: int) -> str:
    """Fill in a template. Raises KeyError for an object that is not in `bindings` or a field it lacks."""
    parts = []
    for part in template:
        if isinstance(part, str):
            parts.append(part)
        elif not part.object:
            parts.append(str(replica))
        else:
            parts.append(value_of(bindings[part.object], part.field))
    return "".join(parts)


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment without what belongs to us or to a supervisor above us."""
    return {
        name: value
        for name, value in environment.items()
        if name not in STRIPPED_NAMES and not name.startswith(STRIPPED_PREFIXES)
    }


def object_variables(bindings: Sequence[Binding]) -> dict[str, str]:
    """Return `ORCHESTRA_<OBJECT>`, `_KEY`, `_FD`, `ORCHESTRA_BINDINGS`, LISTEN_FDS, LISTEN_FDNAMES; not LISTEN_PID."""
    env: dict[str, str] = {}
    for binding in bindings:
        base = variable(binding.key)
        if binding.id is not None:
            env[base] = str(binding.id)
        elif binding.name is not None:
            env[base] = binding.name
        if binding.ipc_key is not None:
            env[base + "_KEY"] = f"{binding.ipc_key:#010x}"
        if binding.fd is not None:
            env[base + "_FD"] = str(binding.fd)
    env["ORCHESTRA_BINDINGS"] = json.dumps({b.key: _as_json(b) for b in bindings}, separators=(",", ":"))
    passed = [b for b in bindings if b.fd is not None]
    if passed:
        env["LISTEN_FDS"] = str(len(passed))
        env["LISTEN_FDNAMES"] = ":".join(b.key for b in passed)
    return env


def _as_json(binding: Binding) -> dict[str, Any]:
    known = {
        "family": binding.family.value,
        "kind": binding.kind.value,
        "name": binding.name,
        "id": binding.id,
        "key": None if binding.ipc_key is None else f"{binding.ipc_key:#010x}",
        "fd": binding.fd,
        "size": binding.size,
        "access": binding.access.value,
    }
    return {**known, **binding.extra}
