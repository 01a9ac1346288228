"""Objects on record compared with what the kernel shows now: state, shape and holders of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from orchestra.errors import KernelError
from orchestra.kernel.holders import holders_of
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Holders, Stat
from orchestra.ledger.rows import ObjectRow, ObjectState, RunRow
from orchestra.objects import boxes, ref_of
from orchestra.objects.entitlement import same_object

# Ledger states of objects that may be there now.
PRESENT = (ObjectState.INTENDED, ObjectState.LIVE, ObjectState.KEPT, ObjectState.BORROWED)
_NAMELESS = (Family.MEMFD, Family.ANONYMOUS)
_NOBODY = Holders(())


@dataclass(frozen=True, slots=True)
class Seen:
    """One object on record and what is there of it. `stat` None: gone, or it cannot be looked at."""

    row: ObjectRow
    state: str
    stat: Stat | None
    holders: Holders


def look_at(rows: Sequence[ObjectRow], run: RunRow) -> list[Seen]:
    """Look at the objects of one run, where they are: an isolated one has a namespace of its own."""
    if run.box_pid is None:
        return _look_here(rows)
    if boxes.way_in(run) is None:
        ended = [row._replace(state=ObjectState.GONE) if boxes.is_boxed(row, run) else row for row in rows]
        return _look_here(ended)
    return boxes.within(run, partial(_look_here, rows))


def _look_here(rows: Sequence[ObjectRow]) -> list[Seen]:
    """Look at each object once, and for all holders in one pass."""
    wanted = [i for i, row in enumerate(rows) if row.state in PRESENT and row.identity is not None]
    found = holders_of([identity for i in wanted if (identity := rows[i].identity) is not None]) if wanted else {}
    holders = {index: found.get(position, _NOBODY) for position, index in enumerate(wanted)}
    return [_seen(row, holders.get(i, _NOBODY)) for i, row in enumerate(rows)]


def _seen(row: ObjectRow, holders: Holders) -> Seen:
    if row.state not in PRESENT:
        return Seen(row, row.state.value, None, _NOBODY)
    if row.family in _NAMELESS:
        gone = not holders.holders and holders.complete
        return Seen(row, ObjectState.GONE.value if gone else row.state.value, None, holders)
    try:
        stat = adapter_for(row.family, row.kind).stat(ref_of(row))
    except KernelError:  # we may not look: the ledger's word stands
        return Seen(row, row.state.value, None, holders)
    if stat is None or (row.identity is not None and not same_object(row.identity, stat)):
        return Seen(row, "unlinked" if holders.holders else ObjectState.GONE.value, None, holders)
    return Seen(row, "removing" if stat.marked else row.state.value, stat, holders)
