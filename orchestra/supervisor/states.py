"""What the supervisor knows about a run: one `RunState`, never changed in place. Pure data.

The words of `Phase` and `RunPhase` are what `ps` and `ls` show. A replica that is `stopping` may already have an
`end`: its leader is reaped, but other members of its session, or output that was not read yet, remain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

from orchestra.runplan import ProcessPlan


class Who(NamedTuple):
    """One replica of one process; replicas count from 1."""

    process: str
    replica: int

    def __str__(self) -> str:
        return f"{self.process}.{self.replica}"


class Phase(StrEnum):
    """Where a replica is. The last three are final."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"  # its program runs, and nothing declares when it is ready (until it is: starting)
    READY = "ready"
    BACKOFF = "backoff"  # ended, and to be started again
    STOPPING = "stopping"
    EXITED = "exited"
    FAILED = "failed"
    SKIPPED = "skipped"


FINAL = frozenset({Phase.EXITED, Phase.FAILED, Phase.SKIPPED})


class RunPhase(StrEnum):
    """Where the run is. SWEEPING: every replica has ended, descendants that left their sessions are being ended."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    SWEEPING = "sweeping"
    OVER = "over"


class Urge(IntEnum):
    """How hard a replica was asked to end so far."""

    NONE = 0
    ASKED = 1  # its stop signal was sent, the grace runs
    KILLED = 2  # SIGKILL was sent


class End(NamedTuple):
    """How a leader ended: an exit code, or the name of a signal."""

    code: int | None
    signal: str | None

    def __str__(self) -> str:
        return f"was ended by {self.signal}" if self.signal is not None else f"exited with code {self.code}"


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica. `verdict` is set with `end`: why that end is a failure, or "" for a success."""

    phase: Phase = Phase.PENDING
    pid: int | None = None
    end: End | None = None
    verdict: str = ""
    urge: Urge = Urge.NONE
    doomed: bool = False  # we decided to stop it: however it ends from here on, it was stopped by us
    reason: str = ""  # why it failed or was skipped


class Failure(NamedTuple):
    """A replica that failed, and how."""

    who: Who
    reason: str


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the whole run stops. `signal` is a number when a person or the system asked by signal."""

    words: str
    failed: bool = False
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """The processes of a plan and who depends on whom."""

    processes: Mapping[str, ProcessPlan]
    direct: Mapping[str, tuple[str, ...]]  # name -> processes that name it in depends_on
    dependants: Mapping[str, frozenset[str]]  # the same, transitively
    has_workers: bool  # whether any process is not a service

    @classmethod
    def of(cls, plans: Sequence[ProcessPlan]) -> Graph:
        """Build the graph. Raises ValueError for a cycle or an unknown name; a validated plan has neither."""
        processes = {plan.name: plan for plan in plans}
        direct: dict[str, list[str]] = {name: [] for name in processes}
        for plan in plans:
            for dependency in plan.depends_on:
                if dependency.process not in direct:
                    raise ValueError(f"{plan.name} depends on {dependency.process}, which does not exist")
                direct[dependency.process].append(plan.name)
        return cls(
            processes,
            {name: tuple(users) for name, users in direct.items()},
            _closure(processes, direct),
            any(not plan.service for plan in plans),
        )

    def label(self, who: Who) -> str:
        """Return what people call a replica: the process alone where there is only one."""
        return who.process if self.processes[who.process].replicas == 1 else str(who)

    def replicas(self, name: str) -> list[Who]:
        """Return every replica of a process."""
        return [Who(name, number) for number in range(1, self.processes[name].replicas + 1)]


@dataclass(frozen=True, slots=True)
class RunState:
    """The whole run at one moment."""

    graph: Graph
    phase: RunPhase = RunPhase.STARTING
    replicas: Mapping[Who, Replica] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset()  # processes whose replicas are all pending
    live: Mapping[str, int] = field(default_factory=dict)  # process -> replicas that are not in a final phase
    condemned: frozenset[Who] = frozenset()  # to be stopped, not asked yet: their dependants come first
    cause: Cause | None = None
    failures: tuple[Failure, ...] = ()
    hurry: bool = False  # no more graces: what is left, or still comes up, is killed at once

    @classmethod
    def initial(cls, plans: Sequence[ProcessPlan]) -> RunState:
        """Return a run in which nothing has happened. Raises ValueError as `Graph.of` does."""
        graph = Graph.of(plans)
        replicas = {who: Replica() for name in graph.processes for who in graph.replicas(name)}
        live = {plan.name: plan.replicas for plan in plans}
        waiting = frozenset(name for name, count in live.items() if count)
        return cls(graph, replicas=replicas, waiting=waiting, live=live)

    @property
    def exit_code(self) -> int:
        """What the run exits with, as far as is known now."""
        if self.cause is not None and self.cause.signal is not None:
            return 128 + self.cause.signal
        return 1 if self.has_failed else 0

    @property
    def has_failed(self) -> bool:
        """Whether the run, ended now, would be `failed` rather than `down`."""
        return bool(self.failures) or (self.cause is not None and self.cause.failed)


def _closure(names: Mapping[str, ProcessPlan], direct: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """Return everything reachable from each name. No recursion: a chain may be as long as the file allows."""
    done: dict[str, frozenset[str]] = {}
    for root in names:
        trail = [root]
        on_trail = {root}
        while trail:
            name = trail[-1]
            missing = next((user for user in direct[name] if user not in done), None)
            if missing is None:
                done[name] = frozenset(direct[name]).union(*(done[user] for user in direct[name]))
                on_trail.discard(trail.pop())
            elif missing in on_trail:
                raise ValueError(f"{missing} depends on itself")
            else:
                trail.append(missing)
                on_trail.add(missing)
    return done
