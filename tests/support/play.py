"""A run driven by hand through the state machine: events in, commands out; no process, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestra.runplan import Dependency, ProcessPlan
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.machine import step
from orchestra.supervisor.states import Phase, RunState, Who


def plan(name: str, *after: str, condition: str = "started", **changes: Any) -> ProcessPlan:
    return ProcessPlan(name, (("true",),), depends_on=tuple(Dependency(other, condition) for other in after), **changes)


class Play:
    """A run driven by hand: events go in, the commands of the last event are kept."""

    def __init__(self, *plans: ProcessPlan, makers: Iterable[str] = (), hold: bool = False) -> None:
        self.state = RunState.initial(plans, makers=makers, hold=hold)
        self.commands: list[do.Command] = []
        self.pid = 100
        self.now = 1000.0

    def feed(self, *events: on.Event) -> list[do.Command]:
        self.commands = []
        for event in events:
            self.state, commands = step(self.state, event)
            self.commands += commands
        return self.commands

    def start(self) -> Play:
        """Begin, and let everything that is spawned start."""
        todo = self.feed(on.Begin())
        while spawned := [c.who for c in todo if isinstance(c, do.Spawn)]:
            todo = [c for who in spawned for c in self.feed(on.Started(who, self.next_pid()))]
        return self

    def next_pid(self) -> int:
        self.pid += 1
        return self.pid

    def end(self, name: str, code: int | None = 0, signal: str | None = None, replica: int = 1) -> list[do.Command]:
        who = Who(name, replica)
        return self.feed(on.Exited(who, code, signal), on.Ended(who))

    def phase(self, name: str, replica: int = 1) -> Phase:
        return self.state.replicas[Who(name, replica)].phase

    def reason(self, name: str) -> str:
        return self.state.replicas[Who(name, 1)].reason

    def up(self, name: str, replica: int = 1) -> list[do.Command]:
        """Let a replica that is being launched start."""
        return self.feed(on.Started(Who(name, replica), self.next_pid(), self.now))

    def crash(self, name: str, after: float = 0.1, code: int = 1) -> list[do.Command]:
        """Let a replica end with a failure, `after` seconds of running."""
        self.now += after
        who = Who(name, 1)
        return self.feed(on.Exited(who, code, at=self.now), on.Ended(who))

    def fire(self, kind: str, name: str, replica: int = 1) -> list[do.Command]:
        """Let a timer of a replica run out."""
        return self.feed(on.TimerFired(on.Timer(kind, Who(name, replica))))


def spawned(commands: Iterable[do.Command]) -> list[str]:
    return [c.who.process for c in commands if isinstance(c, do.Spawn)]


def signalled(commands: Iterable[do.Command]) -> list[str]:
    return [c.who.process for c in commands if isinstance(c, do.Signal)]


def killed(commands: Iterable[do.Command]) -> list[str]:
    return [c.who.process for c in commands if isinstance(c, do.Kill)]


def logged(commands: Iterable[do.Command]) -> list[str]:
    return [c.event for c in commands if isinstance(c, do.Log)]


def delays(commands: Iterable[do.Command], kind: str) -> list[float]:
    """Return the seconds of each timer of a kind that is started."""
    return [c.seconds for c in commands if isinstance(c, do.StartTimer) and c.timer.kind == kind]
