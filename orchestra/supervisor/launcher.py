"""Launching replicas: programs at once, functions by way of the parents that imported them.

A program runs, or has failed to, when the call returns. A function's start is sent off, and answered later; until then
its replica is starting. Either way the machine hears of it as an event.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from orchestra.errors import LaunchFailed
from orchestra.runplan import ProcessPlan, RunPlan
from orchestra.supervisor import buffering, diagnose, spawn
from orchestra.supervisor import events as on
from orchestra.supervisor.kin import Death, Kin
from orchestra.supervisor.output import Outputs
from orchestra.supervisor.preload import Preloads, Surroundings
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.readiness import Gear
from orchestra.supervisor.spawn import Launch
from orchestra.supervisor.states import RunState, Who
from orchestra.supervisor.watchers import Watchers
from orchestra.supervisor.wiring import Wire, preloading

SLICE = 32  # launches between two looks at everything else


class Host(Protocol):
    """The supervisor, as far as launching needs it."""

    state: RunState
    reactor: Reactor
    outputs: Outputs
    kin: Kin
    watchers: Watchers
    wires: dict[str, Wire]
    plan: RunPlan
    null: int
    open_files: tuple[int, int] | None
    finished: bool
    job: Any  # its run

    def dispatch(self, *events: on.Event) -> None:
        """Feed events to the machine."""

    def say(self, event: str, **fields: Any) -> None:
        """Write an event to the log."""


class Launcher:
    """Everything that starts replicas of one run; also what `Preloads` needs from the supervisor."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._queue: deque[Who] = deque()
        self._gears: dict[Who, Gear] = {}  # of launches that are under way
        self._sent_at: dict[Who, float] = {}  # and when they began
        self._said: set[str] = set()
        self._preloads = Preloads(
            host.reactor, self, host.plan.folder, self._preloading, python=sys.executable, null=host.null
        )

    # -- for the loop ------------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether replicas wait for their turn."""
        return bool(self._queue)

    def add(self, who: Who) -> None:
        """Launch a replica when its turn comes."""
        self._queue.append(who)

    def import_modules(self, meanwhile: Callable[[], None]) -> None:
        """Import the modules of all functions; `meanwhile` lets others see what happens.

        Raises OrchestraError when one cannot be imported; stops when the run does.
        """
        self._preloads.open_files = self._host.open_files
        self._preloads.prepare(self._host.plan.processes)
        while self._preloads.is_importing and not self._host.finished:
            self._host.reactor.turn()
            meanwhile()
        problem = self._preloads.problem
        if problem is not None and not self._host.finished:
            raise problem

    def launch_some(self) -> None:
        """Launch the next few replicas; take back what was stopped meanwhile."""
        for who in self._preloads.withdraw(self._is_doomed):
            self._host.dispatch(on.Withheld(who))
        for _ in range(min(SLICE, len(self._queue))):
            who = self._queue.popleft()
            if self._is_doomed(who):
                self._host.dispatch(on.Withheld(who))
            elif self._host.wires[who.process].plan.function:
                self._preloads.start(who, self._host.wires[who.process].plan)
            else:
                self._launch(who)

    def reaped(self, death: Death) -> bool:
        """Take the death of a parent; False when it was somebody else's."""
        if not isinstance(death.who, Surroundings):
            return False
        self._preloads.reaped(death.pid, death.code, death.signal)
        return True

    def close(self) -> None:
        """End the parents: no function is called any more."""
        self._preloads.close()

    def _is_doomed(self, who: Who) -> bool:
        replica = self._host.state.replicas.get(who)
        return replica is None or replica.doomed

    # -- programs ----------------------------------------------------------------------------------------------------

    def _launch(self, who: Who) -> None:
        try:
            with self.opened(who) as launch:
                pid = spawn.launch(launch, open_files=self._host.open_files)
                self.forked(who, pid)
        except LaunchFailed as err:
            self.refused(who, err)
        except OSError as err:
            self.refused(who, diagnose.stage_failed("descriptors", "", err.errno or 0))
        else:
            self.begun(who, pid)

    # -- what preloads need ------------------------------------------------------------------------------------------

    @contextmanager
    def opened(self, who: Who) -> Iterator[Launch]:
        """Yield a replica's launch, with all its descriptors. Raises LaunchFailed, OSError."""
        host = self._host
        wire = host.wires[who.process]
        self._sent_at[who] = time.monotonic()
        with host.watchers.gear(who) as gear, host.outputs.pipes(who, terminals=wire.has_terminal) as (stdout, stderr):
            self._gears[who] = gear
            self._warn(wire.plan)
            try:
                with wire.prepared(
                    who.replica,
                    stdin=host.null,
                    stdout=stdout,
                    stderr=stderr,
                    extra_fds=gear.descriptors,
                    extra_environment=gear.environment,
                ) as launch:
                    yield launch
            finally:
                self._gears.pop(who, None)

    def forked(self, who: Who, pid: int) -> None:
        """A replica runs: whoever listens to it begins to."""
        self._host.outputs.started(who, pid, self._gears[who].tap)
        self._host.watchers.started(who, pid)
        self._host.kin.add(who, pid)

    def begun(self, who: Who, pid: int) -> None:
        """Tell the machine."""
        self._host.dispatch(on.Started(who, pid, self._sent_at.pop(who)))

    def refused(self, who: Who, error: LaunchFailed) -> None:
        """A replica could not be started."""
        reason = ". ".join(filter(None, (error.problem, error.hint)))
        name = diagnose.errno_name(error.errno) if error.errno else ""
        at = self._sent_at.pop(who, None) or time.monotonic()
        self._host.dispatch(on.LaunchFailed(who, reason, error.stage, name, error.path, at))

    @contextmanager
    def streams(self, process: str, key: Hashable) -> Iterator[tuple[int, int]]:
        """Yield where a parent writes: lines of the process, of no replica."""
        with self._host.outputs.pipes(Who(process, 0), key) as ends:
            yield ends

    def read(self, key: Hashable, pid: int) -> None:
        """Read what a parent writes; it is a child of ours that is no replica."""
        self._host.outputs.started(key, pid)
        self._host.kin.add(key, pid)

    def released(self, key: Hashable, pid: int) -> None:
        """A parent is dead and reaped."""
        self._host.kin.release(key, pid)

    def say(self, event: str, **fields: Any) -> None:
        """Write an event to the log."""
        self._host.say(event, **fields)

    def _preloading(self, process: ProcessPlan) -> tuple[dict[str, str], list[int]]:
        return preloading(self._host.plan, self._host.job.run.run, process)

    def _warn(self, plan: ProcessPlan) -> None:
        """Say once that lines cannot be had from C programs on this host."""
        if plan.output == "line" and plan.name not in self._said and buffering.find_library() is None:
            self._said.add(plan.name)
            self._host.say("process.block_buffered", process=plan.name, library=buffering.LIBRARY)
