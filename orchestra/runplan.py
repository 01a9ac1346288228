"""The resolved plan of one run: plain data that crosses from the command line to the supervisor as JSON.

The command line validates with pydantic and compiles a `RunPlan`; the supervisor, which never loads pydantic or
yaml, reads it back. Everything is resolved but what only exists at launch (names with a nonce, ids, descriptors,
the replica number): those stay `Placeholder`s inside templates.
Annotations are evaluated, as in `kinds`, which says why.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from orchestra.bindings import Placeholder, Template
from orchestra.kinds import Access, Family, Fill, Kind, OnDown

PLAN_VERSION = 2


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
    made_by: str = ""  # the process that makes it; we check, record and remove it
    huge_pages: int | None = None  # bytes of one page
    lock: bool = False  # keep the segment in memory (mlock, SHM_LOCK)
    extra: Mapping[str, Any] = MappingProxyType({})  # x-*


class Use(NamedTuple):
    """One object in `uses`, in file order: descriptors are numbered by it."""

    object: str
    access: Access


class Dependency(NamedTuple):
    """Wait for all replicas of `process` to be `started`, `ready`, `completed` or `ended`.

    With `restart` every restart of `process` restarts the dependant too.
    """

    process: str
    condition: str
    restart: bool = False


class Ready(NamedTuple):
    """How a replica says that it is ready; exactly the field that `kind` names is used. `timeout` is seconds."""

    kind: str  # notify | fd | log | exec | tcp | unix | exists | stopped
    fd: int = 0
    pattern: str = ""  # log: a regular expression, searched in each line of both streams
    command: tuple[Template, ...] = ()  # exec: exit code 0 means ready
    port: int = 0  # tcp: on 127.0.0.1 or ::1
    path: Template = ()  # unix: absolute, or relative to the process's directory
    object: str = ""  # exists
    timeout: float = 30.0


class WaitFor(NamedTuple):
    """A condition that must hold before a process starts. `maximum` None: no upper bound."""

    subject: str  # an object, or for blocked_on a process
    what: str  # messages | attached | value | exists | blocked_on
    minimum: int = 0
    maximum: int | None = None
    expected: bool = True  # exists
    object: str = ""  # blocked_on
    member: int = 0  # value: which semaphore of a set


class Restart(NamedTuple):
    """When a replica that ended is started again: at most `limit` times `within` seconds. Delays are seconds."""

    policy: str = "never"  # never | on-failure | always
    limit: int = 5
    within: float = 60.0
    delay: float = 0.2
    max_delay: float = 10.0


class Attributes(NamedTuple):
    """What a process runs as and under; None leaves what the supervisor has. Set between fork and exec."""

    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] | None = None  # supplementary groups of `user`
    home: str = ""  # HOME, USER and LOGNAME of `user`
    login: str = ""
    umask: int | None = None
    nice: int | None = None
    scheduler: tuple[str, int] | None = None  # ("fifo", 80)
    cpu_affinity: tuple[tuple[int, ...], ...] = ()  # one set for all replicas, or one a replica
    limits: tuple[tuple[str, int, int], ...] = ()  # ("nofile", soft, hard); -1 is no limit


class LogPlan(NamedTuple):
    """How the run's log is kept. Sizes are bytes; `keep` None keeps every rotated file."""

    rotate_size: int | None = None
    keep: int | None = None
    raw: bool = False


class ProcessPlan(NamedTuple):
    """One declared process, all replicas alike. `grace` is seconds; `success` holds exit codes and signal names."""

    name: str
    command: tuple[Template, ...] = ()  # argv; argv[0] is looked up at launch in `directory` or the child's PATH
    function: str = ""  # "package.module:name", instead of a command: called in a child of a preloaded parent
    arguments: Mapping[str, Any] = MappingProxyType({})  # keyword arguments of the function
    python: str = ""  # interpreter of the preloaded parent; default: the one that runs orchestra
    directory: Template = ()
    environment: tuple[tuple[str, Template], ...] = ()
    uses: tuple[Use, ...] = ()
    replicas: int = 1
    service: bool = False
    success: tuple[int | str, ...] = (0,)
    depends_on: tuple[Dependency, ...] = ()
    wait_for: tuple[WaitFor, ...] = ()
    ready: Ready | None = None
    restart: Restart = Restart()
    watchdog: float | None = None  # seconds between two WATCHDOG=1
    autostart: bool = True
    stop_signal: int = 15
    stop_command: tuple[Template, ...] = ()  # run before the signal; the signal follows only if it fails
    grace: float = 5.0
    escalate: str = "stop-all"  # stop-all | stop-dependants | ignore
    stdin: str = "null"  # null | inherit | file
    stdin_file: Template = ()
    output: str = "pipe"  # pipe | line | tty
    attributes: Attributes = Attributes()
    isolation: str = "host"  # host | private: of this process alone
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
    isolation: str = "host"  # host | private: of the whole run
    undeclared: str = "report"  # report | remove | fail
    log: LogPlan = LogPlan()

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps({"version": PLAN_VERSION, **_plain(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Rebuild a plan. Raises ValueError for another plan version."""
        data = json.loads(text)
        if data.pop("version", None) != PLAN_VERSION:
            raise ValueError("this plan was written by another version of orchestra")
        data["objects"] = tuple(_object(item) for item in data["objects"])
        data["processes"] = tuple(_process(item) for item in data["processes"])
        data["log"] = LogPlan(**data["log"])
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
    data["wait_for"] = tuple(WaitFor(**item) for item in data["wait_for"])
    data["ready"] = None if data["ready"] is None else _ready(data["ready"])
    data["restart"] = Restart(**data["restart"])
    data["stop_command"] = tuple(_template(word) for word in data["stop_command"])
    data["stdin_file"] = _template(data["stdin_file"])
    data["attributes"] = _attributes(data["attributes"])
    return ProcessPlan(**data)


def _ready(data: dict[str, Any]) -> Ready:
    data["command"] = tuple(_template(word) for word in data["command"])
    data["path"] = _template(data["path"])
    return Ready(**data)


def _attributes(data: dict[str, Any]) -> Attributes:
    data["groups"] = None if data["groups"] is None else tuple(data["groups"])
    data["scheduler"] = None if data["scheduler"] is None else tuple(data["scheduler"])
    data["cpu_affinity"] = tuple(tuple(cpus) for cpus in data["cpu_affinity"])
    data["limits"] = tuple(tuple(limit) for limit in data["limits"])
    return Attributes(**data)
