"""Use what is there already, where that was asked for: external objects, kept ones, files; create the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestra.errors import LedgerError
from orchestra.kinds import Family, Handle, Kind, ObjectRef, Stat
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectRow, ObjectState, RunRow
from orchestra.objects.create import create_recorded, new_row
from orchestra.objects.entitlement import Decision, entitlement
from orchestra.objects.explain import misshapen, missing
from orchestra.objects.live import Checkpoint, LiveObject, go_on
from orchestra.objects.look import sightings
from orchestra.objects.remove import Outcome, remove_recorded
from orchestra.objects.shape import declared_size, differences
from orchestra.objects.world import KERNEL, World
from orchestra.runplan import ObjectPlan


def reuse_or_create(
    ledger: Ledger,
    plan: ObjectPlan,
    run: RunRow,
    *,
    folder: Path,
    checkpoint: Checkpoint = go_on,
    world: World = KERNEL,
    recreate: bool = False,
) -> LiveObject:
    """Return the object of a run, by the first rule that fits.

    1. `external`: used as it is; its shape is checked; BORROWED. Raises ObjectGone when it is not there.
    2. Kept on purpose by an earlier run of this instance and still the same object: used again, not refilled.
    3. A file that exists: opened, not refilled, BORROWED.
    4. Created, see `create_recorded`.

    What `--leak` left is not used again. Raises ShapeMismatch when 1, 2 or 3 finds something else than was declared;
    with `recreate` a kept object of another shape is removed, and made anew.
    """
    if plan.external:
        return _external(ledger, plan, run, folder, world)
    with ledger.transaction():  # nobody else may clean or take a kept object between the look and the record
        again = _again(ledger, plan, run, folder, world, recreate=recreate)
    if again is not None:
        return again
    if plan.family is Family.FILE and plan.name is not None:
        stat = world.adapter(plan.family, plan.kind).stat(ObjectRef(plan.family, plan.kind, name=plan.name))
        if stat is not None:
            hint = "An existing file is used as it is: declare its size, give another path, or move the file away."
            return _borrow(ledger, plan, run, stat, folder, world, hint=hint)
    return create_recorded(ledger, plan, run, folder=folder, checkpoint=checkpoint, world=world)


def find_kept(ledger: Ledger, plan: ObjectPlan, instance: str, *, world: World = KERNEL) -> ObjectRow | None:
    """Return the row of the kept object that the next `up` would use again, if any. Changes nothing."""
    return next((row for row, stat, _ in _kept(ledger, plan, instance, world) if stat is not None), None)


def _again(
    ledger: Ledger, plan: ObjectPlan, run: RunRow, folder: Path, world: World, *, recreate: bool
) -> LiveObject | None:
    for old, stat, why in _kept(ledger, plan, run.instance, world):
        if stat is None:
            ledger.settle(old.recorded, ObjectState.GONE, why)
            continue
        found = differences(plan, stat, exact=True)
        if found and recreate and remove_recorded(ledger, old, world=world).outcome is not Outcome.REFUSED:
            continue
        if found:
            hint = (
                f"It was kept by run {old.run}; `orchestra clean --kept --run {old.run}` removes what that run kept, "
                "`up --recreate` makes this one anew."
            )
            raise misshapen(plan, stat, found, hint=hint)
        row = old._replace(
            number=None, run=run.run, state=ObjectState.LIVE, mode=plan.mode, on_down=plan.on_down, why="",
            settled_at=None, wanted_name=None, by_hand_leak=False,
            shape={**old.shape, **new_row(plan, run, folder=folder, world=world).shape},
        )  # fmt: skip
        number = ledger.adopt(old.recorded, row)
        return None if number is None else _live(ledger, plan, number, stat, reused=True)
    return None


def _kept(
    ledger: Ledger, plan: ObjectPlan, instance: str, world: World
) -> Iterator[tuple[ObjectRow, Stat | None, str]]:
    """Yield rows that an `up` may use again, newest first, with what is there; None: settled as gone, and why."""
    where = world.here()
    for row in reversed(ledger.objects(instance=instance, states=[ObjectState.KEPT])):
        if not _is_candidate(row, plan):
            continue
        for seen in sightings(row, world):
            ruling = entitlement(row, seen, where)
            if ruling.decision is Decision.GONE and seen.name in (None, row.name):
                yield row, None, ruling.why
            elif ruling.decision is Decision.REMOVE and seen.stat is not None and not seen.stat.marked:
                yield row, seen.stat, ""
                break


def _is_candidate(row: ObjectRow, plan: ObjectPlan) -> bool:
    same = (row.key, row.family, row.kind) == (plan.key, plan.family, plan.kind)
    addressed = (row.shape.get("name"), row.shape.get("ipc_key")) == (plan.name, plan.ipc_key)
    return same and addressed and row.wanted_name is None and not row.by_hand_leak


def _external(ledger: Ledger, plan: ObjectPlan, run: RunRow, folder: Path, world: World) -> LiveObject:
    key = plan.ipc_key if plan.family is Family.SYSV else None
    ref = ObjectRef(plan.family, plan.kind, name=plan.name, key=key)
    stat = world.adapter(plan.family, plan.kind).stat(ref)
    if stat is None:
        raise missing(plan, ref)
    hint = "It is declared external and never changed: declare it as it is."
    return _borrow(ledger, plan, run, stat, folder, world, hint=hint)


def _borrow(
    ledger: Ledger, plan: ObjectPlan, run: RunRow, stat: Stat, folder: Path, world: World, *, hint: str
) -> LiveObject:
    found = differences(plan, stat, exact=False)
    if found:
        raise misshapen(plan, stat, found, hint=hint)
    row = new_row(plan, run, folder=folder, world=world)._replace(
        name=stat.ref.name, wanted_name=None,
        ipc_key=stat.identity.key, id=stat.identity.id, mode=stat.mode, identity=stat.identity,
        state=ObjectState.BORROWED,
    )  # fmt: skip
    return _live(ledger, plan, ledger.intend(row), stat, reused=False)


def _live(ledger: Ledger, plan: ObjectPlan, number: int, stat: Stat, *, reused: bool) -> LiveObject:
    row = ledger.object(number)
    if row is None:
        raise LedgerError(f"object row {number} vanished from {ledger.path}")
    size = declared_size(plan)
    if size is None and plan.kind in (Kind.SEGMENT, Kind.QUEUE):
        size = stat.size
    return LiveObject(plan, row, Handle(stat.ref, stat.identity), reused=reused, size=size)
