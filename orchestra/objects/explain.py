"""Words for objects that are in the way, missing, or not what was declared: what they are and who holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestra.errors import KernelError, ObjectExists, ObjectGone, ShapeMismatch
from orchestra.kernel.census import user_name
from orchestra.kinds import Family, Holders, Kind, ObjectRef, Stat
from orchestra.ledger.rows import OPEN_STATES, ObjectRow, ObjectState
from orchestra.objects.entitlement import same_object
from orchestra.objects.words import holders_in_words
from orchestra.runplan import ObjectPlan

if TYPE_CHECKING:  # the words need neither
    from orchestra.ledger.journal import Ledger
    from orchestra.objects.world import World


def occupied(plan: ObjectPlan, ref: ObjectRef, stat: Stat | None, ledger: Ledger, world: World) -> ObjectExists:
    """Return the error for an explicit name or key that something else has."""
    if stat is None:
        return ObjectExists(
            f"{plan.key}: {ref} already exists and may not be looked at",
            hint="Choose another name or key, or declare it `external: true` to use it as it is.",
        )
    known = known_row(ledger, stat)
    facts = [describe(stat), _provenance(known), describe_holders(stat, world)]
    return ObjectExists(
        f"{plan.key}: {ref} already exists: {', '.join(fact for fact in facts if fact)}",
        hint=_way_out(stat, known, ledger),
    )


def missing(plan: ObjectPlan, ref: ObjectRef) -> ObjectGone:
    """Return the error for an external object that is not there."""
    return ObjectGone(
        f"{plan.key}: {ref} is declared external and does not exist",
        hint="Start the program that makes it first, or remove `external: true` to have it made.",
    )


def misshapen(plan: ObjectPlan, stat: Stat, differences: list[str], *, hint: str) -> ShapeMismatch:
    """Return the error for an object that exists but is not what was declared."""
    return ShapeMismatch(f"{plan.key}: {stat.ref} is not what the file declares: {'; '.join(differences)}", hint=hint)


def describe(stat: Stat) -> str:
    """Return one object in a phrase: `a queue of 16384 bytes, id 3, mode 0o600, owner root`."""
    article = "a FIFO" if stat.ref.family is Family.FIFO else f"a {stat.ref.kind}"
    size = "" if stat.size is None or stat.ref.kind in (Kind.PIPE, Kind.SEMAPHORE) else f" of {stat.size} bytes"
    if stat.ref.family is Family.SYSV and stat.members is not None:
        size = f" set of {stat.members}"
    number = "" if stat.identity.id is None else f", id {stat.identity.id}"
    return f"{article}{size}{number}, mode {stat.mode:#o}, owner {user_name(stat.uid)}"


def describe_holders(stat: Stat, world: World) -> str:
    """Return who holds an object, in a phrase; "" when that cannot be found out."""
    try:
        found = world.holders([stat.identity]).get(0, Holders((), complete=False))
    except KernelError:
        return ""
    return holders_in_words(found)


def known_row(ledger: Ledger, stat: Stat) -> ObjectRow | None:
    """Return the newest open row whose identity is this object's, if the ledger has one."""
    rows = reversed(ledger.objects(states=OPEN_STATES))
    return next((row for row in rows if row.identity is not None and same_object(row.identity, stat)), None)


def _provenance(row: ObjectRow | None) -> str:
    if row is None:
        return ""
    if row.state is ObjectState.KEPT:
        return f"kept on purpose by run {row.run} of {row.instance}"
    return f"made by run {row.run} of {row.instance}"


def _way_out(stat: Stat, row: ObjectRow | None, ledger: Ledger) -> str:
    if row is not None and row.state is ObjectState.KEPT:
        return f"`orchestra clean --kept --run {row.run}` removes what that run kept."
    if row is not None:
        return f"`orchestra down {row.instance}` ends that run; `orchestra clean` removes what a crashed one left."
    announced = _announced(ledger, stat)
    if announced is not None:
        return (
            f"It may be ours: run {announced.run} was killed while making it, which cannot be proven. "
            f"If you know that nobody needs it: `{by_hand(stat)}`."
        )
    return "Choose another name or key, or declare it `external: true` to use it as it is."


def _announced(ledger: Ledger, stat: Stat) -> ObjectRow | None:
    for row in ledger.objects(states=[ObjectState.INTENDED]):
        if (row.family, row.kind) != (stat.ref.family, stat.ref.kind):
            continue
        if row.name == stat.ref.name if row.name is not None else row.ipc_key == stat.identity.key != 0:
            return row
    return None


def by_hand(stat: Stat) -> str:
    """Return the command of the system that removes this object."""
    ref = stat.ref
    if ref.family is Family.SYSV:
        letter = {Kind.QUEUE: "q", Kind.SEGMENT: "m", Kind.SEMAPHORE: "s"}[ref.kind]
        return f"ipcrm -{letter} {stat.identity.id}"
    if ref.family is not Family.POSIX:
        return f"rm {ref.name}"
    folder = {Kind.QUEUE: "/dev/mqueue/", Kind.SEGMENT: "/dev/shm/", Kind.SEMAPHORE: "/dev/shm/sem."}[ref.kind]  # noqa: S108 words for a person
    return f"rm {folder}{str(ref.name)[1:]}"
