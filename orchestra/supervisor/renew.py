"""Make the objects of a run that lives fit an edited file, on record, so that a failure leaves everything as it was.

1. What is new is created, as long as nothing that goes is in its place.
2. What has another shape is removed and created anew, and so is what stood in the place of something new.
3. Only then what the file no longer has is removed or kept, as its `on_down` says.

When 1 or 2 fail, what was made is removed again, and what was removed is made again as it was declared before; its
content is lost. A SIGKILL anywhere leaves rows that say what there is, as it does while a run starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from orchestra.errors import Conflict, OrchestraError
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState
from orchestra.objects import LiveObject, Outcome, remove_recorded
from orchestra.runplan import ObjectPlan, RunPlan
from orchestra.supervisor import teardown
from orchestra.supervisor.change import Difference
from orchestra.supervisor.teardown import Say, describe

Make = Callable[[ObjectPlan], LiveObject]


class Renewal:
    """One change of the objects of a run. `things` is what the run has, and is changed; `make` creates and says so."""

    def __init__(self, ledger: Ledger, run: str, things: dict[str, LiveObject], make: Make, say: Say) -> None:
        self._ledger, self._run, self._things, self._make, self._say = ledger, run, things, make, say
        self._old: dict[str, ObjectPlan] = {}
        self.made: set[str] = set()
        self._undone: list[str] = []  # keys that were removed and must come back after a failure

    def carry_out(self, old: RunPlan, found: Difference) -> None:
        """Do all of it. Raises OrchestraError after everything was put back as far as that is possible."""
        self._old = {item.key: item for item in old.objects}
        new = {item.key: item for item in found.plan.objects}
        self._refuse_what_is_not_ours(found.remade)
        going = {_address(self._old[key]) for key in (*found.remade, *found.dropped)} - {None}
        late = [key for key in found.made if _address(new[key]) in going]
        in_the_way = {_address(new[key]) for key in late}
        try:
            self._create(new[key] for key in found.made if key not in late)
            for key in found.remade:
                self._give_up(key)
            for key in found.dropped:
                if _address(self._old[key]) in in_the_way:
                    self._give_up(key)
            self._create(new[key] for key in (*found.remade, *late))
        except OrchestraError:
            self._put_back()
            raise
        self._note(found, new)
        self._drop(key for key in found.dropped if key not in self._undone)

    def _refuse_what_is_not_ours(self, remade: Iterable[str]) -> None:
        for key in remade:
            if self._things[key].row.state is ObjectState.BORROWED and not self._old[key].external:
                raise Conflict(
                    f"{key} was there before the run and is not ours to make anew",
                    detail=str(self._things[key].handle.ref),
                    hint="Declare it as it is, give it another path, or move it away and start anew.",
                )

    def _create(self, plans: Iterable[ObjectPlan]) -> None:
        for plan in plans:
            self._things[plan.key] = self._make(plan)
            self.made.add(plan.key)

    def _give_up(self, key: str) -> None:
        """Remove an object that is to be made anew. Raises Conflict when it is still there afterwards."""
        thing = self._things[key]
        if thing.row.state is ObjectState.BORROWED:  # used, and not ours: only the record of it ends
            self._ledger.settle(thing.row.recorded, ObjectState.GONE, "no longer used by this run")
            return
        removal = remove_recorded(self._ledger, thing.row)
        if removal.outcome is Outcome.REFUSED:
            raise Conflict(f"{key} cannot be removed to be made anew", detail=removal.why)
        self._undone.append(key)
        self._close(key)
        self._say("object.removed", **describe(thing.row))

    def _put_back(self) -> None:
        for key in self.made:
            thing = self._things.pop(key)
            with suppress(OrchestraError):
                if thing.row.state is ObjectState.BORROWED:
                    self._ledger.settle(thing.row.recorded, ObjectState.GONE, "the change of the file failed")
                else:
                    remove_recorded(self._ledger, thing.row)
                    self._say("object.removed", **describe(thing.row))
            _close(thing)
        self.made = set()
        for key in self._undone:
            with suppress(OrchestraError):  # whoever uses it will fail to start, and say so
                self._things[key] = self._make(self._old[key])
                self.made.add(key)

    def _note(self, found: Difference, new: dict[str, ObjectPlan]) -> None:
        for key in found.recorded:
            thing = self._things[key]
            if new[key].on_down is not thing.row.on_down:
                self._ledger.set_on_down(thing.row.recorded, new[key].on_down)
            row = thing.row._replace(on_down=new[key].on_down)
            self._things[key] = LiveObject(new[key], row, thing.handle, reused=thing.reused, size=thing.size)

    def _drop(self, keys: Iterable[str]) -> None:
        gone = list(keys)
        teardown.apply_on_down(
            self._ledger, self._run, failed=False, leak=False, say=self._say, only=[self._number(key) for key in gone]
        )
        for key in gone:
            self._close(key)
            thing = self._things.pop(key)
            if thing.row.state is ObjectState.BORROWED:
                self._ledger.settle(thing.row.recorded, ObjectState.GONE, "no longer used by this run")
        for key in self._undone:
            if key not in self.made:
                self._things.pop(key, None)

    def _number(self, key: str) -> int:
        return self._things[key].row.recorded

    def _close(self, key: str) -> None:
        _close(self._things[key])


def _close(thing: LiveObject) -> None:
    for fd in thing.handle.fds:
        if _is_still(fd, thing):
            os.close(fd)


def _is_still(fd: int, thing: LiveObject) -> bool:
    """Whether a descriptor still is the object's: an end of a pipe that nobody needs is closed early."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    identity = thing.handle.identity
    return identity.st_ino is None or (status.st_dev, status.st_ino) == (identity.st_dev, identity.st_ino)


def _address(plan: ObjectPlan) -> tuple[object, ...] | None:
    """What two objects cannot have at once; None for what is derived, random or private."""
    if plan.name is not None:
        return (plan.family, plan.kind, plan.name)
    return (plan.family, plan.kind, plan.ipc_key) if plan.ipc_key else None
