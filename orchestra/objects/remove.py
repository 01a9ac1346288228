"""Remove a recorded object, after a last look that proves it is still ours; or put on record that it stays.

removing    about to look and remove, under the ledger's write lock
removed     no name or id leads to it any more
settled     the ledger knows
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from orchestra.errors import KernelError, LedgerError
from orchestra.kinds import Family, Holders, Identity, ObjectRef
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectRow, ObjectState
from orchestra.objects.entitlement import Decision, Ruling, Sighting, entitlement
from orchestra.objects.live import Checkpoint, go_on
from orchestra.objects.look import claims, sightings
from orchestra.objects.names import NAMELESS_FAMILIES, names_of
from orchestra.objects.world import KERNEL, World

_ALREADY_MARKED = "somebody else marked it for removal: it ends with its last holder"
Examined = list[tuple[Sighting, Ruling]]


class Outcome(StrEnum):
    """What a removal came to."""

    REMOVED = "removed"
    GONE = "gone"  # nothing of ours was there
    REFUSED = "refused"  # left as it is; `why` says for which reason


@dataclass(frozen=True, slots=True)
class Removal:
    """The result of one removal; `row` is the row as it is on record now.

    `unrecorded` says why the ledger does not know of it: the object went, and then the disk was full.
    """

    outcome: Outcome
    why: str
    row: ObjectRow
    unrecorded: str = ""


def examine(row: ObjectRow, *, ledger: Ledger, world: World = KERNEL) -> Examined:
    """Look at every address of `row` and rule on each. Changes nothing."""
    needs_claims = row.family is Family.SYSV and row.id is None and not row.ipc_key
    claimed = claims(ledger) if needs_claims else ()
    where = world.here()
    return [(seen, entitlement(row, seen, where)) for seen in sightings(row, world, claimed)]


def combined(examined: Examined) -> Ruling:
    """Rule on the whole object: removable by any of its names, else refused, else gone."""
    for wanted in (Decision.REMOVE, Decision.REFUSE):
        for _, ruling in examined:
            if ruling.decision is wanted:
                return ruling
    return examined[0][1]


def remove_recorded(
    ledger: Ledger,
    row: ObjectRow,
    *,
    checkpoint: Checkpoint = go_on,
    held_ok: bool = True,
    world: World = KERNEL,
) -> Removal:
    """Remove every name of the object that `row` records, if it is proven ours, and settle the row.

    Nothing but that object is ever touched; what took its place is left alone, and the row is GONE. Descriptors of
    a memfd or a pipe are their holder's to close: such rows are just settled. `held_ok=False` refuses while any
    process holds it. A refusal changes nothing. A kernel's refusal is an outcome. Raises LedgerError when nothing
    was done; when the object is gone and only the row could not be settled, the outcome says so.
    """
    number = row.recorded
    done: Removal | None = None
    try:
        with ledger.transaction():  # a kept object cannot be taken over by an `up` meanwhile
            current = ledger.object(number)
            if current is None:
                raise LedgerError(f"object row {number} is not on record in {ledger.path}")
            checkpoint("removing")
            examined = examine(current, ledger=ledger, world=world)
            ruling = combined(examined)
            act = _act if held_ok else _act_exactly
            done = Removal(*act(current, examined, ruling, world, lambda: checkpoint("removed")), current)
            _settle(ledger, current, done.outcome, done.why)
    except LedgerError as err:
        if done is None or done.outcome is Outcome.REFUSED:
            raise
        return replace(done, unrecorded=err.problem)
    checkpoint("settled")
    return replace(done, row=ledger.object(number) or done.row)


def keep_recorded(ledger: Ledger, row: ObjectRow, why: str, by_hand: bool, *, world: World = KERNEL) -> None:
    """Put on record that the object stays on purpose; `by_hand` says that a person asked (`--leak`).

    Nameless objects end with their last holder and are settled as gone. An object that a crash caught before it had
    its explicit name was never used: it is removed. Borrowed and settled rows stay as they are.
    """
    if row.state not in (ObjectState.INTENDED, ObjectState.LIVE, ObjectState.KEPT):
        return
    if row.state is ObjectState.INTENDED or row.wanted_name is not None or row.family in NAMELESS_FAMILIES:
        remove_recorded(ledger, row, world=world)
        return
    with ledger.transaction():
        _drop_first_name(row, ledger, world)
        ledger.settle(row.recorded, ObjectState.KEPT, why, by_hand=by_hand)


def _drop_first_name(row: ObjectRow, ledger: Ledger, world: World) -> None:
    """A crash may have come between the explicit name and the removal of the nonce name."""
    if len(names_of(row)) < 2:
        return
    adapter = world.adapter(row.family, row.kind)
    for seen, ruling in examine(row, ledger=ledger, world=world):
        if ruling.decision is Decision.REMOVE and seen.name != row.name:
            with contextlib.suppress(KernelError):  # the row still names it
                adapter.remove(_address(seen))


def _act(
    row: ObjectRow, examined: Examined, ruling: Ruling, world: World, removed: Callable[[], None]
) -> tuple[Outcome, str]:
    if ruling.decision is not Decision.REMOVE:
        outcome = Outcome.GONE if ruling.decision is Decision.GONE else Outcome.REFUSED
        return outcome, ruling.why
    adapter = world.adapter(row.family, row.kind)
    done = False
    try:
        for seen, each in examined:
            if each.decision is Decision.REMOVE and seen.stat is not None:
                done = adapter.remove(_address(seen)) or done
    except KernelError as err:
        return Outcome.REFUSED, f"the kernel refused: {err.problem}"
    removed()
    return (Outcome.REMOVED, ruling.why) if done else (Outcome.GONE, _gone(examined))


def _gone(examined: Examined) -> str:
    marked = any(seen.stat is not None and seen.stat.marked for seen, _ in examined)
    return _ALREADY_MARKED if marked else "somebody else removed it in this moment"


def _act_exactly(
    row: ObjectRow, examined: Examined, ruling: Ruling, world: World, removed: Callable[[], None]
) -> tuple[Outcome, str]:
    """The same for an object that somebody may hold: who does is asked once more, as the last act before the call."""
    if ruling.decision is not Decision.REMOVE:
        return _act(row, examined, ruling, world, removed)
    from orchestra.kernel.exact import remove_exact  # the supervisor of a run has no need of it

    done = False
    try:
        for seen, each in examined:
            if each.decision is Decision.REMOVE and seen.stat is not None:
                attempt = remove_exact(_address(seen), seen.stat.identity, holders=partial(_holders, world))
                if not attempt.removed and not attempt.gone:
                    return Outcome.REFUSED, attempt.why
                done = attempt.removed or done
    except KernelError as err:
        return Outcome.REFUSED, f"the kernel refused: {err.problem}"
    removed()
    return (Outcome.REMOVED, ruling.why) if done else (Outcome.GONE, _gone(examined))


def _holders(world: World, identity: Identity) -> Holders:
    return world.holders([identity]).get(0, Holders(()))


def _address(seen: Sighting) -> ObjectRef:
    """By id where there is one: a key may lead to another object a moment later, an id not."""
    stat = seen.stat
    assert stat is not None
    if stat.identity.id is not None:
        return ObjectRef(stat.ref.family, stat.ref.kind, id=stat.identity.id)
    return ObjectRef(stat.ref.family, stat.ref.kind, name=seen.name)


def _settle(ledger: Ledger, row: ObjectRow, outcome: Outcome, why: str) -> None:
    if row.state in (ObjectState.INTENDED, ObjectState.LIVE, ObjectState.KEPT) and outcome is not Outcome.REFUSED:
        state = ObjectState.REMOVED if outcome is Outcome.REMOVED else ObjectState.GONE
        ledger.settle(row.recorded, state, why)
