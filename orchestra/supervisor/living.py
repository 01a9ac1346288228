"""What requests do to a supervisor beyond events for its machine: another plan, other objects, a wiring handed over."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestra.errors import LaunchFailed, StateError
from orchestra.kinds import Access
from orchestra.runplan import ProcessPlan, RunPlan, Use
from orchestra.supervisor import events as on
from orchestra.supervisor import spawn
from orchestra.supervisor.change import Difference
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.renew import Renewal
from orchestra.supervisor.states import RunState, Who
from orchestra.supervisor.wiring import wires

if TYPE_CHECKING:
    from orchestra.supervisor.loop import Supervisor

_ANYBODY = "exec"  # ORCHESTRA_PROCESS of who is no process of the file
_COMMAND = ((),)  # what a wiring is asked for is run by somebody else
_PATIENCE = 5.0  # seconds that a change waits while somebody else writes the ledger


class LiveRun:
    """A supervisor as `requests.Run` wants it."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._sup = supervisor

    @property
    def state(self) -> RunState:
        """The machine's state."""
        return self._sup.state

    @property
    def plan(self) -> RunPlan:
        """The plan that the run follows now."""
        return self._sup.plan

    @property
    def reactor(self) -> Reactor:
        """Where timers are set."""
        return self._sup.reactor

    def dispatch(self, *events: on.Event) -> None:
        """Feed events to the machine."""
        self._sup.dispatch(*events)

    def answer(self) -> dict[str, Any]:
        """Return the answer to `state`."""
        return self._sup.answer()

    def end(self, leak: bool, timeout: float | None) -> None:
        """Ask for the end of the run."""
        self._sup.end(leak, timeout)

    def say(self, event: str, **fields: Any) -> None:
        """Write an event to the log."""
        self._sup.say(event, **fields)

    def replan(self, plan: RunPlan) -> None:
        """Take another plan of the same objects: replicas, environment."""
        sup = self._sup
        sup.plan = plan
        sup.rewire()
        sup.make_room()
        with suppress(OSError):  # a full disk: `ps` then sorts as before
            _write(self._folder / "plan.json", plan)

    def leave_objects(self) -> None:
        """Leave every object behind at the end, on record."""
        self._sup.leak = True
        self._sup.books.change(leak=True)

    def announce(self, found: Difference) -> None:
        """Put on record that the run is about to change. Raises StateError."""
        path = self._folder / "plan.next.json"
        try:
            _write(path, found.plan)
        except OSError as err:
            raise StateError(f"cannot write {path}: {err.strerror}") from err

    def rebuild(self, found: Difference, *, recreate: bool) -> None:
        """Make objects and wires fit. Raises OrchestraError; then everything is as before."""
        sup = self._sup
        sup.ledger.patience(_PATIENCE)
        renewal = Renewal(sup.ledger, sup.job.run.run, sup.things, partial(sup.make, recreate=recreate), sup.say)
        try:
            renewal.carry_out(sup.plan, found)
            sup.plan = found.plan
            sup.books.change(topology=found.plan.topology)
        finally:
            sup.ledger.patience(sup.patience)
            sup.rewire()
            if sup.pipe_ends is not None:
                sup.pipe_ends = sup.pipe_ends.renewed(sup.plan, sup.things, renewal.made)
            sup.make_room()
            with suppress(OSError):
                _write(self._folder / "plan.json", sup.plan)
                (self._folder / "plan.next.json").unlink(missing_ok=True)

    def wiring(self, target: Who | None, uses: Mapping[str, Access]) -> tuple[dict[str, Any], list[int]]:
        """Return what a replica is started with, and descriptors for the caller to close. Raises LaunchFailed."""
        sup = self._sup
        process = ProcessPlan(_ANYBODY) if target is None else sup.state.graph.processes[target.process]
        merged = {**{use.object: use.access for use in process.uses}, **uses}
        process = process._replace(uses=tuple(Use(key, access) for key, access in merged.items()))
        plan = sup.plan._replace(processes=(process,))
        if target is None:  # the caller's own environment and folder, and what we add to them
            plan = plan._replace(environment={})
        wire = wires(plan, sup.job.run.run, sup.things)[process.name]
        replica = 1 if target is None else target.replica
        with wire.prepared(replica, stdin=sup.null, stdout=sup.null, stderr=sup.null, command=_COMMAND) as launch:
            content = {
                "environment": dict(launch.environment),
                "directory": launch.directory if target is not None else None,
                "descriptors": [thing.plan.key for thing, _ in wire.passed],
                "attributes": [step._asdict() for step in spawn.steps_of(launch, None)],
                "namespaces": sup.namespaces(target),
            }
            fds: list[int] = []
            try:
                fds += [os.dup(fd) for fd in launch.passed]
            except OSError as err:
                for fd in fds:
                    os.close(fd)
                raise LaunchFailed(
                    "there are no descriptors left", stage="descriptors", errno=err.errno or 0, path=process.name
                ) from err
        return content, fds

    @property
    def _folder(self) -> Path:
        return self._sup.job.places.run_folder(self._sup.job.run.run)


def _write(path: Path, plan: RunPlan) -> None:
    """Replace a file, whole or not at all. Raises OSError."""
    new = path.with_suffix(".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(json.loads(plan.to_json()), file, indent=1)
    new.replace(path)
