"""A state of a run that is being worked on: mutable copies, the commands so far, and what has news for others. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestra.runplan import ProcessPlan
from orchestra.supervisor import commands as do
from orchestra.supervisor.events import Timer
from orchestra.supervisor.states import BUSY, Phase, Reached, Replica, RunState, Urge, Who, counts


class IllegalTransition(Exception):
    """An event that makes no sense in this state: a defect of the loop, never of the run."""


class Draft:
    """One step of a run. The names are those of `RunState`; `put` and `drop` keep the counts right."""

    def __init__(self, state: RunState) -> None:
        self.graph, self.makers, self.hold, self.phase = state.graph, state.makers, state.hold, state.phase
        self.replicas = dict(state.replicas)
        self.pending, self.busy = dict(state.pending), dict(state.busy)
        self.live, self.parked = dict(state.live), dict(state.parked)
        self.condemned = set(state.condemned)
        self.watching, self.waited, self.made = state.watching, state.waited, state.made
        self.change, self.cause, self.failures, self.hurry = state.change, state.cause, state.failures, state.hurry
        self.commands: list[do.Command] = []
        self.changed: list[str] = []  # processes with news for themselves and their dependants

    def frozen(self) -> RunState:
        """Return the state as it is now."""
        return RunState(
            self.graph, self.makers, self.hold, self.phase, self.replicas, self.pending, self.busy, self.live,
            self.parked, frozenset(self.condemned), self.watching, self.waited, self.made, self.change, self.cause,
            self.failures, self.hurry,
        )  # fmt: skip

    def is_to_show(self, who: Who) -> bool:
        """Whether a replica makes objects that were not looked at since it was launched. The first one makes them."""
        return who.process in self.makers and who.replica == 1 and who.process not in self.made

    # -- replicas ----------------------------------------------------------------------------------------------------

    def put(self, who: Who, replica: Replica) -> None:
        """Store a replica; has its row written when `ps` would differ, and its dependants looked at."""
        old = self.replicas[who]
        if replica.phase in (Phase.PENDING, Phase.BACKOFF) and replica.reached:
            replica = replace(replica, reached=Reached.NOTHING)  # the next incarnation has to get there again
        self.replicas[who] = replica
        name = who.process
        if replica.parked is not old.parked:
            self.parked[name] += 1 if replica.parked else -1
            self.changed.append(name)
        if replica.reached is not old.reached:
            self.changed.append(name)
        if replica.phase is old.phase and replica.wanted is old.wanted:
            if replica.pid != old.pid:
                self.commands.append(do.Record(who))
            return
        self._count(name, old, -1)
        self._count(name, replica, 1)
        self.changed.append(name)
        if replica.phase is not old.phase:
            self.commands.append(do.Record(who))
        if replica.phase not in BUSY:
            self.condemned.discard(who)

    def change_of(self, who: Who, **changes: Any) -> Replica:
        """Store a replica with these fields changed, and return it."""
        replica = replace(self.replicas[who], **changes)
        self.put(who, replica)
        return replica

    def add(self, who: Who, *, wanted: bool) -> None:
        """Take a new replica into the run."""
        self.replicas[who] = replica = Replica(wanted=wanted)
        self._count(who.process, replica, 1)
        self.changed.append(who.process)
        self.commands.append(do.Record(who))

    def drop(self, who: Who) -> None:
        """Take a replica out of the run."""
        replica = self.replicas.pop(who)
        self._count(who.process, replica, -1)
        self.parked[who.process] -= replica.parked
        self.condemned.discard(who)
        self.changed.append(who.process)
        self.commands.append(do.Drop(who, replica))

    def recount(self) -> None:
        """Count anew, after the graph was replaced."""
        self.pending, self.busy, self.live, self.parked = counts(self.graph, self.replicas)

    def _count(self, name: str, replica: Replica, by: int) -> None:
        self.pending[name] += by * (replica.phase is Phase.PENDING and replica.wanted)
        self.busy[name] += by * (replica.phase in BUSY)
        self.live[name] += by * replica.is_live

    def at(self, who: Who, is_right: Callable[[Replica], bool], event: object) -> Replica:
        """Return a replica for which `is_right` holds. Raises IllegalTransition."""
        replica = self.replicas.get(who)
        if replica is None or not is_right(replica):
            where = "unknown" if replica is None else replica.phase
            raise IllegalTransition(f"{who}: {event!r} makes no sense while {where}")
        return replica

    def plan(self, who: Who) -> ProcessPlan:
        """Return the plan of a replica's process."""
        return self.graph.processes[who.process]

    def is_abandoned(self, who: Who) -> bool:
        """Whether we gave a replica up after SIGKILL: something of it may still be there, and end after all."""
        replica = self.replicas.get(who)
        return replica is not None and replica.phase is Phase.FAILED and replica.urge is Urge.KILLED

    # -- commands ----------------------------------------------------------------------------------------------------

    def log(self, event: str, who: Who | None = None, /, **data: object) -> None:
        """Have an event of the catalogue written."""
        self.commands.append(do.Log(event, who, data))

    def start_timer(self, kind: str, who: Who | None, seconds: float, jitter: float = 0.0) -> None:
        """Have a timer started."""
        self.commands.append(do.StartTimer(Timer(kind, who), seconds, jitter))

    def cancel_timer(self, kind: str, who: Who | None = None) -> None:
        """Have a timer forgotten."""
        self.commands.append(do.CancelTimer(Timer(kind, who)))
