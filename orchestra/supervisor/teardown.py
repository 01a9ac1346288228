"""What becomes of a run's objects at its end, however long ago that was: `on_down`, `--leak`, keep-on-failure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from orchestra.errors import LedgerError
from orchestra.kinds import Family, OnDown
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import OPEN_STATES, ObjectRow, ObjectState
from orchestra.objects import Outcome, keep_recorded, remove_recorded

Say = Callable[..., None]  # say(event, **fields)

_NAMELESS = frozenset({Family.MEMFD, Family.ANONYMOUS})


@dataclass(slots=True)
class Result:
    """What was done. `left` holds the objects that still exist, each with why; `complete`: nothing more to do.

    `recorded` is False when the ledger does not know of all of it.
    """

    removed: int = 0
    left: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = True
    recorded: bool = True

    @property
    def finished(self) -> bool:
        """Whether nobody has to come back to this run."""
        return self.complete and self.recorded


def apply_on_down(
    ledger: Ledger, run: str, *, failed: bool, leak: bool, say: Say, only: Collection[int] | None = None
) -> Result:
    """Do what `on_down` says with each object of a run, last made first. Never raises LedgerError.

    `only` names rows by their numbers; None: all that are open.

    `leak` leaves every object, on record as left by hand. What cannot be removed stays with the reason, and the run
    is not complete.
    """
    result = Result()
    for row in _rows(ledger, run, result, say):
        if only is not None and row.recorded not in only:
            continue
        why = _why_kept(row, failed=failed, leak=leak)
        try:
            if why:
                _keep(ledger, row, why, result, say, by_hand=leak)
            else:
                _remove(ledger, row, result, say)
        except LedgerError as err:
            _leave(row, err.problem, result, say)
    return result


def undo(ledger: Ledger, run: str, *, reused: frozenset[int], say: Say) -> Result:
    """Take back a start that failed: remove what it made, give back what it took over (row numbers `reused`)."""
    result = Result()
    for row in _rows(ledger, run, result, say):
        try:
            if row.number in reused:
                _keep(ledger, row, "kept by an earlier run, and the start of this one failed", result, say)
            else:
                _remove(ledger, row, result, say)
        except LedgerError as err:
            _leave(row, err.problem, result, say)
    return result


def describe(row: ObjectRow) -> dict[str, Any]:
    """Return the fields by which events and answers name an object."""
    return {"object": row.key, "family": row.family.value, "kind": row.kind.value, "name": row.name, "id": row.id}


def _rows(ledger: Ledger, run: str, result: Result, say: Say) -> list[ObjectRow]:
    states = [state for state in OPEN_STATES if state is not ObjectState.KEPT]
    try:
        return list(reversed(ledger.objects(run=run, states=states)))
    except LedgerError as err:
        say("ledger.unwritable", reason=err.problem)
        result.complete = False
        return []


def _why_kept(row: ObjectRow, *, failed: bool, leak: bool) -> str:
    """Return why an object stays, or "" when it goes. What was only intended goes in any case, if it is there."""
    if row.state is ObjectState.INTENDED or row.family in _NAMELESS:
        return ""
    if leak:
        return "asked for with --leak"
    if row.on_down is OnDown.KEEP:
        return "on_down: keep"
    if row.on_down is OnDown.KEEP_ON_FAILURE and failed:
        return "on_down: keep-on-failure, and the run failed"
    return ""


def _keep(ledger: Ledger, row: ObjectRow, why: str, result: Result, say: Say, *, by_hand: bool = False) -> None:
    keep_recorded(ledger, row, why, by_hand)
    result.left.append({**describe(row), "why": why, "kept": True})
    say("object.kept", **describe(row), reason=why)


def _remove(ledger: Ledger, row: ObjectRow, result: Result, say: Say) -> None:
    removal = remove_recorded(ledger, row)
    if removal.unrecorded:
        if result.recorded:
            say("ledger.unwritable", reason=removal.unrecorded)
        result.recorded = False
    if removal.outcome is Outcome.REFUSED:
        _leave(row, removal.why, result, say)
    elif removal.outcome is Outcome.REMOVED or row.family in _NAMELESS:
        result.removed += 1
        say("object.removed", **describe(row))
    elif row.state is not ObjectState.INTENDED:
        say("object.gone", **describe(row))


def _leave(row: ObjectRow, why: str, result: Result, say: Say) -> None:
    result.complete = False
    result.left.append({**describe(row), "why": why, "kept": False})
    say("object.left", **describe(row), reason=why)
