"""The rows of the ledger as named tuples. No SQL and no kernel here: every layer may read these.

Annotations are evaluated, as in `kinds`, which says why.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from orchestra.kinds import Family, Identity, Kind, OnDown


class ObjectState(StrEnum):
    """What the ledger knows about one object.

    INTENDED   committed before the system call: the object may exist, half exist, or not exist
    LIVE       made by us, its identity is on record
    KEPT       outlives its run on purpose (`on_down: keep`, or `--leak`)
    REMOVED    removed by us
    GONE       found absent: removed by somebody else, ended with its last holder, taken over by a later run
    ABANDONED  creation failed and left nothing behind
    BORROWED   declared external, or a file that existed before: used, never removed by us
    """

    INTENDED = "intended"
    LIVE = "live"
    KEPT = "kept"
    REMOVED = "removed"
    GONE = "gone"
    ABANDONED = "abandoned"
    BORROWED = "borrowed"


# States in which an object of ours may still be on the host.
OPEN_STATES = (ObjectState.INTENDED, ObjectState.LIVE, ObjectState.KEPT)

# The words of RunRow.state.
RUN_STATES = ("starting", "up", "stopping", "down", "failed", "crashed")
# A run in one of these whose instance is not locked by anybody has lost its supervisor.
RUNNING_STATES = ("starting", "up", "stopping")


class RunRow(NamedTuple):
    """One run. Times are seconds since the epoch; `*_start` are clock ticks since boot (/proc/PID/stat field 22)."""

    run: str
    instance: str
    topology: str  # `name:` of the file
    file: str
    folder: str  # the file's own folder
    state: str  # one of RUN_STATES
    started_at: float
    boot_id: str
    uid: int
    ended_at: float | None = None
    exit_code: int | None = None
    supervisor_pid: int | None = None
    supervisor_start: int | None = None
    guardian_pid: int | None = None
    guardian_start: int | None = None
    socket: str = ""
    log: str = ""
    detached: bool = False
    leak: bool = False
    finished: bool = False  # on_down was applied: nothing more to do
    box_pid: int | None = None  # the process that holds the private namespace of an isolated run
    box_start: int | None = None


class ProcessRow(NamedTuple):
    """One replica of one process of a run; unique by (run, process, replica)."""

    run: str
    process: str
    replica: int  # counts from 1
    state: str
    pid: int | None = None
    start_time: int | None = None  # clock ticks since boot: pid and start time together name a process
    exit_code: int | None = None
    signal: str | None = None  # "SIGKILL"
    restarts: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    reason: str = ""


class ObjectRow(NamedTuple):
    """One object of one run. `number` is None until the ledger has given it one.

    `name` is the POSIX name or absolute path the object has now; while an explicitly named object still has its
    nonce name, `wanted_name` holds the name it is about to get. `shape` is what was declared, JSON-ready, with the
    declared name and key (see orchestra.objects.shape).
    """

    run: str
    instance: str
    key: str  # the object's key in the file: "jobs"
    family: Family
    kind: Kind
    mode: int
    nonce: str
    creator_pid: int
    creator_start: int | None
    uid: int
    boot_id: str
    ipc_ns: int  # inode of the creator's /proc/self/ns/ipc
    number: int | None = None
    name: str | None = None
    ipc_key: int | None = None  # unsigned; 0 is IPC_PRIVATE
    id: int | None = None  # 0 is a valid id
    identity: Identity | None = None
    state: ObjectState = ObjectState.INTENDED
    on_down: OnDown = OnDown.REMOVE
    shape: Mapping[str, Any] = MappingProxyType({})
    created_at: float = 0.0
    settled_at: float | None = None
    why: str = ""
    wanted_name: str | None = None
    by_hand_leak: bool = False  # kept by `--leak`: on record, but not reused by a later `up`

    @property
    def recorded(self) -> int:
        """The row number of a row that came from the ledger. Raises ValueError for one that never was in it."""
        if self.number is None:
            raise ValueError(f"the row of {self.key} was never written to the ledger")
        return self.number


class RemovalRow(NamedTuple):
    """One removal of an object that no run of ours made: committed before the call, settled after it.

    `outcome` is "removing", then "removed", "gone" or "refused"; one that stays "removing" was cut off in between.
    """

    reference: str  # as the command line writes it: "sysv-segment:7"
    identity: Identity
    verdict: str  # what `audit` called it
    evidence: str  # and why
    command: str  # who removed it: "clean", "remove", "undeclared"
    pid: int  # the process that did
    uid: int
    at: float = 0.0  # seconds since the epoch; 0 = now
    outcome: str = "removing"
    why: str = ""
    run: str | None = None  # the run whose process made it, for "undeclared"
    number: int | None = None
