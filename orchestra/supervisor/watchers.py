"""What the machine wants to be told of replicas besides their ends, found out by the modules that know how.

Readiness and watchdogs (`readiness`), `wait_for` (`conditions`), stop commands (`errands`), objects that programs make,
and who keeps a stop waiting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from orchestra.bindings import Template
from orchestra.errors import KernelError, OrchestraError
from orchestra.kernel.procfs import command_of
from orchestra.ledger.journal import Ledger
from orchestra.objects import LiveObject, adopt_recorded
from orchestra.statedir import StateDir
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor import spawn
from orchestra.supervisor.conditions import Conditions
from orchestra.supervisor.errands import Errands, Order
from orchestra.supervisor.kin import Death, Kin
from orchestra.supervisor.output import Outputs
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.readiness import Gear, Readiness
from orchestra.supervisor.states import Phase, RunState, Who
from orchestra.supervisor.teardown import describe
from orchestra.supervisor.wiring import Wire

NAME_AFTER, NAME_AGAIN = 2.0, 60.0  # seconds after which a process that does not end is named, and the longest repeat


class Host(Protocol):
    """The supervisor, as far as the watchers need it."""

    state: RunState
    reactor: Reactor
    outputs: Outputs
    kin: Kin
    ledger: Ledger
    things: dict[str, LiveObject]
    wires: dict[str, Wire]
    null: int
    open_files: tuple[int, int] | None
    job: Any  # run and places

    def dispatch(self, *events: on.Event) -> None:
        """Feed events to the machine."""

    def say(self, event: str, **fields: Any) -> None:
        """Write an event to the log."""

    def rewire(self) -> None:
        """Wire the processes anew: objects have come."""


class Watchers:
    """The watchers of one run."""

    def __init__(self, host: Host) -> None:
        self._host = host
        places: StateDir = host.job.places
        self._folder = places.run_folder(host.job.run.run)
        self.errands = Errands(host.reactor, host.kin, host.outputs, self._start)
        self._conditions = Conditions(host.reactor, lambda: host.things, self._leaders, self._met)
        self._readiness = Readiness(
            host.reactor,
            host.outputs,
            self.errands,
            lambda: host.things,
            self._folder,
            tell=host.dispatch,
            say=self._say_of,
            path=self._path,
        )
        self._asked: dict[Who, float] = {}  # when a replica was asked to end that has not ended yet

    def obey(self, command: do.Command) -> None:
        """Carry out a command of the machine that is about finding something out."""
        match command:
            case do.WatchReady(who):
                self._readiness.watch(who)
            case do.ForgetReady(who):
                self._readiness.forget(who)
            case do.WatchFor(process):
                self._conditions.watch(process, self._host.state.graph.processes[process].wait_for)
            case do.ForgetFor(process):
                self._conditions.forget(process)
            case do.Check(process):
                self._host.dispatch(on.Checked(process, self._adopt(process)))
            case do.StopCommand(who):
                self._stop(who)

    # -- the course of a replica -------------------------------------------------------------------------------------

    @contextmanager
    def gear(self, who: Who) -> Iterator[Gear]:
        """Yield what a launch needs for its readiness; call `started` inside. Raises OSError."""
        with self._readiness.gear(who, self._host.state.graph.processes[who.process]) as gear:
            yield gear

    def started(self, who: Who, pid: int) -> None:
        """A replica runs."""
        self._readiness.started(who, pid)

    def children_changed(self) -> None:
        """SIGCHLD came: somebody may have stopped itself."""
        self._readiness.children_stopped()

    def last_words(self, who: Who) -> None:
        """The leader of a replica was reaped; nobody was told yet."""
        self._readiness.last_words(who)

    def reaped(self, death: Death) -> bool:
        """Take the end of a child; False when it is none of ours."""
        return self.errands.exited(death)

    def ended(self, who: Who) -> None:
        """A replica has ended altogether."""
        self._readiness.ended(who)
        self.errands.cancel_all(who)
        self._asked.pop(who, None)
        self._host.reactor.cancel(("blocking", who))

    def recorded(self, who: Who) -> None:
        """The state of a replica has changed: one that is being stopped is named when that takes long."""
        if self._host.state.replicas[who].phase is Phase.STOPPING and who not in self._asked:
            self._asked[who] = time.monotonic()
            self._name_later(who, NAME_AFTER)

    def why_not_ready(self, who: Who) -> str:
        """Return why a replica was not ready in time, for people."""
        return self._readiness.why_not(who)

    def close(self) -> None:
        """Watch nothing any more."""
        self._conditions.close()
        self._readiness.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _met(self, process: str) -> None:
        self._host.dispatch(on.WaitMet(process))

    def _leaders(self, process: str) -> list[int]:
        replicas = self._host.state.replicas.items()
        return [r.pid for who, r in replicas if who.process == process and r.pid is not None and r.end is None]

    def _path(self, who: Who) -> str:
        wire = self._host.wires[who.process]
        ready = wire.plan.ready
        template: Template = () if ready is None else ready.path
        return wire.path(template, who.replica)

    def _say_of(self, event: str, who: Who, fields: Mapping[str, Any]) -> None:
        label = self._host.state.graph.label(who)
        self._host.say(event, process=who.process, replica=who.replica, who=label, **fields)

    def _start(self, order: Order, stdout: int, stderr: int) -> int:
        """Start a command beside a replica. Raises LaunchFailed."""
        host = self._host
        wire = host.wires[order.who.process]
        joins = order.pid if wire.plan.isolation == "private" else None
        with wire.prepared(
            order.who.replica,
            stdin=host.null,
            stdout=stdout,
            stderr=stderr,
            extra_environment={"ORCHESTRA_PID": str(order.pid)},
            command=order.command,
        ) as launch:
            return spawn.launch(replace(launch, joins=joins), open_files=host.open_files)

    def _stop(self, who: Who) -> None:
        replica, plan = self._host.state.replicas[who], self._host.state.graph.processes[who.process]
        order = Order("stop", who, replica.pid or 0, plan.stop_command)
        self.errands.run(order, lambda failed: self._host.dispatch(on.StopCommandEnded(who, failed)))

    def _adopt(self, process: str) -> str:
        """Record and wire the objects that a process makes; return what is wrong with them, or ""."""
        wrong = []
        for key, thing in list(self._host.things.items()):
            if thing.plan.made_by != process:
                continue
            try:
                adopted = adopt_recorded(self._host.ledger, thing, self._host.job.run, folder=self._folder)
            except KernelError as err:
                wrong.append(err.problem)
            except OrchestraError as err:
                wrong.append(f"{key} cannot be put on record: {err.problem}")
            else:
                self._host.things[key] = adopted
                if adopted is not thing:
                    self._host.say("object.made", process=process, **describe(adopted.row))
        self._host.rewire()
        return f"did not make what it was to make: {'; '.join(wrong)}" if wrong else ""

    def _name_later(self, who: Who, seconds: float) -> None:
        self._host.reactor.after(("blocking", who), seconds, lambda: self._name(who, seconds))

    def _name(self, who: Who, pause: float) -> None:
        """Say who keeps everybody waiting."""
        replica = self._host.state.replicas.get(who)
        if replica is None or replica.phase is not Phase.STOPPING or who not in self._asked:
            return
        left = [f"{pid} ({command_of(pid)})" for pid in self._host.kin.members(who)]
        seconds = round(time.monotonic() - self._asked[who], 1)
        self._say_of("process.blocking", who, {"pid": replica.pid, "seconds": seconds, "left": left})
        self._name_later(who, min(2 * pause, NAME_AGAIN))


def processes_left(kin: Kin) -> list[dict[str, Any]]:
    """Return the descendants that could not be ended: pid and command of each."""
    return [{"pid": stat.pid, "command": stat.command} for stat in kin.living() if stat.pid != os.getpid()]
