"""What isolated runs have in their private namespaces: looked at, and removed, from inside.

A process can enter a namespace and not always come back, so each box is visited by a child process of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from orchestra.audit.report import Finding
from orchestra.audit.scan import IsLive, scan
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.objects import boxes

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
    """Remove one object where it is, and the box with the last of them; the answer is that of `how`."""
    run = None if finding.row is None else ledger.run(finding.row.run)
    if run is None or finding.row is None or not boxes.is_boxed(finding.row, run):
        return how(ledger, finding)
    why = boxes.within(run, partial(_remove_inside, ledger.path, finding, how))
    boxes.release(ledger, run)
    return why


def _remove_inside(path: Path, finding: Finding, how: Remove) -> str | None:
    with Ledger.open(path) as ledger:
        return how(ledger, finding)


def _by_box(ledger: Ledger, run: str | None) -> list[list[RunRow]]:
    """Return the runs that share a box which lives, box by box."""
    found: dict[boxes.Box, list[RunRow]] = defaultdict(list)
    for row in ledger.runs():
        if row.box_pid is not None and run in (None, row.run) and (box := boxes.box_of(row)) is not None:
            found[box].append(row)
    return list(found.values())
