"""What isolated runs have in their private namespaces: looked at, and removed, from inside.

A process can enter a namespace and not always come back, so each box is visited by a child process of its own.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from orchestra.audit.report import Finding
from orchestra.audit.scan import IsLive, scan
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.objects import boxes
from orchestra.statedir import StateDir, take_lock

Remove = Callable[[Ledger, Finding], str | None]


def look(ledger: Ledger, is_live: IsLive, *, run: str | None = None) -> list[Finding]:
    """Return the findings of every box that lives, or of the one of `run`, as `scan` makes them."""
    found: list[Finding] = []
    for runs in _by_box(ledger, run):
        live = frozenset(row.run for row in runs if is_live(row))
        found += boxes.within(runs[0], partial(_look_inside, ledger.path, tuple(row.run for row in runs), live))
    return found


def _look_inside(path: Path, runs: Sequence[str], live: frozenset[str]) -> list[Finding]:
    with Ledger.open(path) as ledger:
        is_live: IsLive = lambda row: row.run in live  # noqa: E731
        return [finding for run in runs for finding in scan(ledger, is_live, run=run, inside=True).findings]


def remove(ledger: Ledger, finding: Finding, how: Remove) -> str | None:
    """Remove one object where it is; the answer is that of `how`."""
    run = None if finding.row is None else ledger.run(finding.row.run)
    if run is None or finding.row is None or not boxes.is_boxed(finding.row, run):
        return how(ledger, finding)
    return boxes.within(run, partial(_remove_inside, ledger.path, finding, how))


def end_idle(ledger: Ledger, places: StateDir) -> list[RunRow]:
    """End every box in which nothing is left of runs that are finished; return the newest run of each.

    The instance's lock keeps anybody from using the box again meanwhile; who has it ends the box, or uses it.
    """
    ended = []
    for run in boxes.idle(ledger):
        lock = take_lock(places.lock(run.instance)) if run.finished else None
        if lock is None:
            continue
        try:
            if boxes.release(ledger, run):
                ended.append(run)
        finally:
            os.close(lock)
    return ended


def _remove_inside(path: Path, finding: Finding, how: Remove) -> str | None:
    with Ledger.open(path) as ledger:
        return how(ledger, finding)


def notes(ledger: Ledger, is_live: IsLive) -> tuple[str, ...]:
    """Name the boxes that nobody needs any more: in what was found, nothing shows that they are there."""
    return tuple(
        f"process {run.box_pid} (orchestra-box) holds the private namespace of {run.instance}, run {run.run}, "
        f"in which nothing is on record: `orchestra {'clean' if run.finished else f'down {run.instance}'}` ends it"
        for run in boxes.idle(ledger)
        if not is_live(run)
    )


def _by_box(ledger: Ledger, run: str | None) -> list[list[RunRow]]:
    """Return the runs that share a namespace which lives, one list each."""
    found: dict[boxes.Box, list[RunRow]] = defaultdict(list)
    for row in ledger.runs():
        if row.box_pid is not None and run in (None, row.run) and (inside := boxes.way_in(row)) is not None:
            found[inside].append(row)
    return list(found.values())
