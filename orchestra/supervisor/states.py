"""What the supervisor knows about a run: one `RunState`, never changed in place. Pure data.

The words of `Phase` and `RunPhase` are what `ps` and `ls` show. A replica that is `stopping` may already have an
`end`: its leader is reaped, but other members of its session, or output that was not read yet, remain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    """Where a replica is. The last three are final, until somebody asks for another start."""

    PENDING = "pending"
    STARTING = "starting"  # being launched; or it runs, and has not said yet that it is ready
    RUNNING = "running"  # its program runs, and nothing declares when it is ready
    READY = "ready"
    BACKOFF = "backoff"  # ended, and to be started again
    STOPPING = "stopping"
    EXITED = "exited"
    FAILED = "failed"
    SKIPPED = "skipped"


FINAL = frozenset({Phase.EXITED, Phase.FAILED, Phase.SKIPPED})
# There is a process, there may be one at any moment, or something of it is left.
BUSY = frozenset({Phase.STARTING, Phase.RUNNING, Phase.READY, Phase.STOPPING})


class RunPhase(StrEnum):
    """Where the run is.

    SWEEPING: every replica has ended, descendants that left their sessions are being ended. HOLDING: nothing is left
    to do but to remove the objects, and that waits for a person.
    """

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    SWEEPING = "sweeping"
    HOLDING = "holding"
    OVER = "over"


class Urge(IntEnum):
    """How hard a replica was asked to end so far."""

    NONE = 0
    ASKED = 1  # its stop signal was sent or its stop command runs, and so does the grace
    KILLED = 2  # SIGKILL was sent


class Reached(IntEnum):
    """How far an incarnation of a replica came; it keeps that when it ends."""

    NOTHING = 0
    STARTED = 1
    READY = 2


class End(NamedTuple):
    """How a leader ended: an exit code, or the name of a signal."""

    code: int | None
    signal: str | None

    def __str__(self) -> str:
        return f"was ended by {self.signal}" if self.signal is not None else f"exited with code {self.code}"


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica. `verdict` is set with `end`: why that end is a failure, or "" for a success.

    Times are seconds of the monotonic clock.
    """

    phase: Phase = Phase.PENDING
    pid: int | None = None
    end: End | None = None
    verdict: str = ""
    urge: Urge = Urge.NONE
    reached: Reached = Reached.NOTHING
    wanted: bool = True  # pending: to be started as soon as it may be
    doomed: bool = False  # we decided to stop it: however it ends from here on, it was stopped by us
    parked: bool = False  # a person stopped it: it stays down, and the run goes on
    again: bool = False  # it is being stopped in order to be started again
    retired: bool = False  # it is being stopped because the run has no place for it any more
    rejected: str = ""  # it runs, but not as declared: why it is being stopped
    over: bool = False  # ended; the objects it should have made are being looked at
    reason: str = ""  # why it failed or was skipped
    launches: int = 0
    restarts: int = 0  # those that followed from its `restart`
    tries: int = 0  # of them, those since it last ran for long
    restarted_at: tuple[float, ...] = ()  # the latest ones
    started_at: float = 0.0
    ended_at: float = 0.0

    @property
    def is_being_launched(self) -> bool:
        """Whether a Spawn was commanded that has not been answered yet."""
        return self.phase is Phase.STARTING and self.pid is None

    @property
    def is_live(self) -> bool:
        """Whether it has still something to do by itself."""
        return self.phase not in FINAL and (self.phase is not Phase.PENDING or self.wanted)


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


class Change(NamedTuple):
    """An edited plan on its way in: `stopping` must be down before the objects can be made to fit."""

    processes: tuple[ProcessPlan, ...]
    makers: frozenset[str]
    restart: frozenset[str]
    stopping: frozenset[str]
    revive: frozenset[Who]  # what goes on as before should the change fail
    rebuilding: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """The processes of a plan and who depends on whom."""

    processes: Mapping[str, ProcessPlan]
    direct: Mapping[str, tuple[str, ...]]  # name -> processes that name it in depends_on
    dependants: Mapping[str, frozenset[str]]  # the same, transitively
    followers: Mapping[str, frozenset[str]]  # those that restart with it, transitively
    needers: Mapping[str, frozenset[str]]  # those that cannot do without it, transitively: all but by `ended`
    has_workers: bool  # whether any process is not a service

    @classmethod
    def of(cls, plans: Sequence[ProcessPlan]) -> Graph:
        """Build the graph. Raises ValueError for a cycle or an unknown name; a validated plan has neither."""
        processes = {plan.name: plan for plan in plans}
        direct: dict[str, list[str]] = {name: [] for name in processes}
        follow: dict[str, list[str]] = {name: [] for name in processes}
        need: dict[str, list[str]] = {name: [] for name in processes}
        for plan in plans:
            for dependency in plan.depends_on:
                if dependency.process not in direct:
                    raise ValueError(f"{plan.name} depends on {dependency.process}, which does not exist")
                direct[dependency.process].append(plan.name)
                if dependency.restart:
                    follow[dependency.process].append(plan.name)
                if dependency.condition != "ended":
                    need[dependency.process].append(plan.name)
        return cls(
            processes,
            {name: tuple(users) for name, users in direct.items()},
            _closure(processes, direct),
            _closure(processes, follow) if any(follow.values()) else dict.fromkeys(processes, frozenset()),
            _closure(processes, need),
            any(not plan.service for plan in plans),
        )

    def label(self, who: Who) -> str:
        """Return what people call a replica: the process alone where there is only one."""
        plan = self.processes.get(who.process)
        return who.process if plan is not None and plan.replicas == 1 and who.replica == 1 else str(who)

    def replicas(self, name: str) -> list[Who]:
        """Return every replica of a process."""
        return [Who(name, number) for number in range(1, self.processes[name].replicas + 1)]

    def needed(self) -> frozenset[str]:
        """Return the processes that start by themselves: `autostart`, and what such a process depends on."""
        found: set[str] = set()
        rest = [name for name, plan in self.processes.items() if plan.autostart]
        while rest:
            name = rest.pop()
            if name not in found:
                found.add(name)
                rest.extend(dependency.process for dependency in self.processes[name].depends_on)
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class RunState:
    """The whole run at one moment. The counts are of replicas, by process."""

    graph: Graph
    makers: frozenset[str] = frozenset()  # processes that make objects themselves
    hold: bool = False  # keep the objects when the processes have ended, until a person asks for the end
    phase: RunPhase = RunPhase.STARTING
    replicas: Mapping[Who, Replica] = field(default_factory=dict)
    pending: Mapping[str, int] = field(default_factory=dict)  # to be started
    busy: Mapping[str, int] = field(default_factory=dict)  # in a phase of BUSY
    live: Mapping[str, int] = field(default_factory=dict)  # with something to do by themselves
    parked: Mapping[str, int] = field(default_factory=dict)  # stopped by a person
    condemned: frozenset[Who] = frozenset()  # to be stopped, not asked yet: others come first
    watching: frozenset[str] = frozenset()  # their `wait_for` is being looked for
    waited: frozenset[str] = frozenset()  # their `wait_for` was met: that is asked once
    made: frozenset[str] = frozenset()  # makers whose objects were found to be right
    change: Change | None = None
    cause: Cause | None = None
    failures: tuple[Failure, ...] = ()
    hurry: bool = False  # no more graces: what is left, or still comes up, is killed at once

    @classmethod
    def initial(cls, plans: Sequence[ProcessPlan], *, makers: Iterable[str] = (), hold: bool = False) -> RunState:
        """Return a run in which nothing has happened. Raises ValueError as `Graph.of` does.

        Where no process starts by itself, all are parked: the run waits for somebody to start one.
        """
        graph = Graph.of(plans)
        needed = graph.needed()
        replicas = {
            who: Replica(wanted=name in needed, parked=not needed)
            for name in graph.processes
            for who in graph.replicas(name)
        }
        pending, busy, live, parked = counts(graph, replicas)
        return cls(
            graph, frozenset(makers), hold, replicas=replicas, pending=pending, busy=busy, live=live, parked=parked
        )

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


Counts = tuple[dict[str, int], dict[str, int], dict[str, int], dict[str, int]]


def counts(graph: Graph, replicas: Mapping[Who, Replica]) -> Counts:
    """Return how many replicas of each process are pending and wanted, busy, live and parked."""
    pending, busy, live, parked = found = tuple(dict.fromkeys(graph.processes, 0) for _ in range(4))
    for who, replica in replicas.items():
        name = who.process
        if name not in live:  # a process that was removed from the plan
            for each in found:
                each[name] = 0
        pending[name] += replica.phase is Phase.PENDING and replica.wanted
        busy[name] += replica.phase in BUSY
        live[name] += replica.is_live
        parked[name] += replica.parked
    return pending, busy, live, parked


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
