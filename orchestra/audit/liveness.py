"""Which runs are live: a flock says so, never a pid."""

from __future__ import annotations

from collections.abc import Callable

from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.statedir import StateDir, is_locked


def live_runs(ledger: Ledger, places: StateDir) -> Callable[[RunRow], bool]:
    """Return a test of runs: live is the newest run of an instance whose lock somebody holds.

    Each lock is looked at once. A run on record as finished is over even while its instance's lock is held.
    """
    locked: dict[str, bool] = {}
    newest = {run.instance: run.run for run in ledger.runs()}  # the last one recorded wins

    def is_live(run: RunRow) -> bool:
        if run.finished or newest.get(run.instance) != run.run:
            return False
        if run.instance not in locked:
            locked[run.instance] = is_locked(places.lock(run.instance))
        return locked[run.instance]

    return is_live
