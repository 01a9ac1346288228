"""Objects that a program of the run makes: announced while they are absent, adopted once their maker has made them.

That nothing had the name or key when the run began is on record before the maker starts. What is there when the maker
is ready, or has completed, is therefore the run's: its identity is recorded, and from then on it is treated as if we
had made it. Until then it is only announced, which entitles nobody to remove it: a run that is killed in between leaves
a row that says whose it may be.
"""

from __future__ import annotations

from pathlib import Path

from orchestra.errors import KernelError, LedgerError, ObjectExists, ObjectGone, ShapeMismatch
from orchestra.kinds import Family, Handle, Identity, Kind, ObjectRef, Stat
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectRow, ObjectState, RunRow
from orchestra.objects.create import new_row
from orchestra.objects.explain import misshapen, occupied
from orchestra.objects.live import LiveObject
from orchestra.objects.shape import declared_size, differences
from orchestra.objects.world import KERNEL, World
from orchestra.runplan import ObjectPlan


def announce_recorded(
    ledger: Ledger, plan: ObjectPlan, run: RunRow, *, folder: Path, world: World = KERNEL
) -> LiveObject:
    """Put on record that a program is going to make this object; return it as far as it is known: its name or key.

    Raises ObjectExists when something has the name or key already, other KernelErrors, LedgerError.
    """
    ref = _ref(plan)
    _refuse_existing(ledger, plan, ref, world)
    row = _row(plan, run, folder, world)
    number = ledger.intend(row)
    return LiveObject(plan, _recorded(ledger, number), Handle(ref, Identity(plan.family, plan.kind)), size=plan.size)


def adopt_recorded(
    ledger: Ledger, thing: LiveObject, run: RunRow, *, folder: Path, world: World = KERNEL
) -> LiveObject:
    """Record the identity of an announced object that its maker has made by now; return it, complete.

    One that was adopted before and is still the same comes back as it is; where its maker has made another one in its
    place, that one is adopted. Raises ObjectGone when there is none, other KernelErrors and LedgerError, and then
    nothing was recorded; ShapeMismatch for one that is not as declared: it is ours to remove all the same.
    """
    plan, row = thing.plan, thing.row
    stat = world.adapter(plan.family, plan.kind).stat(_ref(plan))
    if stat is None:
        raise ObjectGone(f"{plan.key}: {plan.made_by} was to make {_ref(plan)}, and it does not exist")
    is_known = row.identity is not None and row.identity.is_same(stat.identity)
    if not is_known:
        with ledger.transaction():
            if row.state is not ObjectState.INTENDED:
                ledger.settle(row.recorded, ObjectState.GONE, f"{plan.made_by} made another one in its place")
                row = _recorded(ledger, ledger.intend(_row(plan, run, folder, world)))
            ledger.confirm(row.recorded, Handle(stat.ref, stat.identity))
    found = differences(plan, stat, exact=False)
    if found:
        raise misshapen(plan, stat, found, hint=f"{plan.made_by} makes it: change the program or the file.")
    return (
        thing
        if is_known
        else LiveObject(plan, _recorded(ledger, row.recorded), Handle(stat.ref, stat.identity), size=_size(plan, stat))
    )


def _ref(plan: ObjectPlan) -> ObjectRef:
    if plan.family is Family.SYSV:
        return ObjectRef(plan.family, plan.kind, key=plan.ipc_key)
    return ObjectRef(plan.family, plan.kind, name=plan.name)


def _row(plan: ObjectPlan, run: RunRow, folder: Path, world: World) -> ObjectRow:
    """Return the row of an intent: the program uses the explicit name from the first moment."""
    return new_row(plan, run, folder=folder, world=world)._replace(name=plan.name, wanted_name=None)


def _refuse_existing(ledger: Ledger, plan: ObjectPlan, ref: ObjectRef, world: World) -> None:
    try:
        stat = world.adapter(plan.family, plan.kind).stat(ref)
    except ShapeMismatch as err:  # a folder, a symbolic link …
        raise ObjectExists(f"{plan.key}: {err.problem}", hint="Choose another name, or move it away.") from err
    except KernelError:
        return  # its maker will be told more
    if stat is not None:
        raise occupied(plan, ref, stat, ledger, world)


def _recorded(ledger: Ledger, number: int) -> ObjectRow:
    row = ledger.object(number)
    if row is None:
        raise LedgerError(f"object row {number} vanished from {ledger.path}")
    return row


def _size(plan: ObjectPlan, stat: Stat) -> int | None:
    size = declared_size(plan)
    return stat.size if size is None and plan.kind in (Kind.SEGMENT, Kind.QUEUE) else size
