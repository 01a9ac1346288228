"""The resolved plan of one run: plain data that crosses from the command line to the supervisor as JSON.

The command line validates with pydantic and compiles a `RunPlan`; the supervisor, which never loads pydantic or
yaml, reads it back. Everything is resolved but what only exists at launch (names with a nonce, ids, descriptors,
the replica number): those stay `Placeholder`s inside templates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from orchestra.bindings import Placeholder, Template
from orchestra.kinds import Access, Family, Fill, Kind, OnDown

PLAN_VERSION = 1


class ObjectPlan(NamedTuple):
    """One declared object. `name` None means derived; `ipc_key` None means a random key, 0 IPC_PRIVATE."""

    key: str  # the key in the file: "jobs"
    family: Family
    kind: Kind
    name: str | None = None  # explicit POSIX name with its slash, or absolute path (file, fifo)
    ipc_key: int | None = None  # explicit SysV key, unsigned; an ftok pair is already computed
    mode: int = 0o600
    owner: int | None = None
    group: int | None = None
    on_down: OnDown = OnDown.REMOVE
    external: bool = False
    max_messages: int | None = None
    message_size: int | None = None
    capacity: int | None = None
    size: int | None = None
    fill: Fill | None = None
    values: tuple[int, ...] = ()
    extra: Mapping[str, Any] = MappingProxyType({})  # x-*


class Use(NamedTuple):
    """One object in `uses`, in file order: descriptors are numbered by it."""

    object: str
    access: Access


class Dependency(NamedTuple):
    """Wait for all replicas of `process` to be `started`, `ready`, `completed` or `ended`."""

    process: str
    condition: str


class ProcessPlan(NamedTuple):
    """One declared process, all replicas alike. `grace` is seconds; `success` holds exit codes and signal names."""

    name: str
    command: tuple[Template, ...]  # argv; argv[0] is looked up at launch in `directory` or the child's PATH
    directory: Template = ()
    environment: tuple[tuple[str, Template], ...] = ()
    uses: tuple[Use, ...] = ()
    replicas: int = 1
    service: bool = False
    success: tuple[int | str, ...] = (0,)
    depends_on: tuple[Dependency, ...] = ()
    stop_signal: int = 15
    grace: float = 5.0
    escalate: str = "stop-all"  # stop-all | stop-dependants | ignore
    extra: Mapping[str, Any] = MappingProxyType({})


class RunPlan(NamedTuple):
    """Everything one run needs. `environment` is the caller's, already stripped."""

    topology: str  # `name:` of the file
    instance: str
    file: str  # absolute path
    folder: str  # the file's own folder: base of relative paths
    objects: tuple[ObjectPlan, ...] = ()
    processes: tuple[ProcessPlan, ...] = ()
    environment: Mapping[str, str] = MappingProxyType({})
    description: str = ""
    python_path: str = ""  # folder that holds orchestra_client.py, for children

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps({"version": PLAN_VERSION, **_plain(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> RunPlan:
        """Rebuild a plan. Raises ValueError for another plan version."""
        data = json.loads(text)
        if data.pop("version", None) != PLAN_VERSION:
            raise ValueError("this plan was written by another version of orchestra")
        data["objects"] = tuple(_object(item) for item in data["objects"])
        data["processes"] = tuple(_process(item) for item in data["processes"])
        return cls(**data)


def _plain(value: Any) -> Any:
    if isinstance(value, Placeholder):
        return {"$": [value.object, value.field]}
    if hasattr(value, "_fields"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _template(parts: list[Any]) -> Template:
    return tuple(part if isinstance(part, str) else Placeholder(*part["$"]) for part in parts)


def _object(data: dict[str, Any]) -> ObjectPlan:
    data["family"], data["kind"] = Family(data["family"]), Kind(data["kind"])
    data["on_down"] = OnDown(data["on_down"])
    data["fill"] = None if data["fill"] is None else Fill(**data["fill"])
    data["values"] = tuple(data["values"])
    return ObjectPlan(**data)


def _process(data: dict[str, Any]) -> ProcessPlan:
    data["command"] = tuple(_template(word) for word in data["command"])
    data["directory"] = _template(data["directory"])
    data["environment"] = tuple((name, _template(parts)) for name, parts in data["environment"])
    data["uses"] = tuple(Use(item["object"], Access(item["access"])) for item in data["uses"])
    data["depends_on"] = tuple(Dependency(**item) for item in data["depends_on"])
    data["success"] = tuple(data["success"])
    return ProcessPlan(**data)
