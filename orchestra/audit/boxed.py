"""What isolated runs have in their private namespaces: looked at, and removed, from inside.

A process can enter a namespace and not always come back, so each box is visited by a child process of its own.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from orchestra.audit.report import Finding
from orchestra.audit.scan import IsLive, scan
from orchestra.errors import KernelError
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.objects import boxes
from orchestra.statedir import StateDir, take_lock

Remove = Callable[[Ledger, Finding], str | None]


class Looked(NamedTuple):
    """What was found, as `scan` makes it, and in words which boxes could not be looked into."""

    findings: list[Finding]
    gaps: tuple[str, ...]


def look(ledger: Ledger, is_live: IsLive, *, run: str | None = None) -> Looked:
    """Look into every box that lives, or into the one of `run`.

    Not all can be entered from everywhere: who is in a private namespace, and no root, cannot get out of it.
    """
    found: list[Finding] = []
    gaps: list[str] = []
    for runs in _by_box(ledger, run):
        live = frozenset(row.run for row in runs if is_live(row))
        try:
            found += boxes.within(runs[0], partial(_look_inside, ledger.path, tuple(row.run for row in runs), live))
        except KernelError as err:  # PermissionRefused, too; or it has ended at this moment
            if boxes.way_in(runs[0]) is not None:
                gaps.append(f"the private namespace of {runs[0].instance}: {err.problem} ({err.detail})")
    return Looked(found, tuple(gaps))


def _look_inside(path: Path, runs: Sequence[str], live: frozenset[str]) -> list[Finding]:
    with Ledger.open(path) as ledger:
        is_live: IsLive = lambda row: row.run in live  # noqa: E731
        return [finding for run in runs for finding in scan(ledger, is_live, run=run, inside=True).findings]


def remove(ledger: Ledger, finding: Finding, how: Remove) -> str | None:
    """Remove one object where it is; the answer is that of `how`."""
    run = None if finding.row is None else ledger.run(finding.row.run)
    if run is None or finding.row is None or not boxes.is_boxed(finding.row, run):
        return how(ledger, finding)
    try:
        return boxes.within(run, partial(_remove_inside, ledger.path, finding, how))
    except KernelError as err:
        return "" if boxes.way_in(run) is None else err.problem  # its box has ended at this moment, and it as well


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
