"""Forget runs that are over: their logs and their rows in the ledger. Choose (pure), then remove, say what stayed.

A run goes only when nothing is left to do for it: nobody supervises it, `on_down` was applied, and no object of it is
on record as perhaps still there. Its folder goes first, its rows after that: whatever interrupts this, the next time
finishes it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import OPEN_STATES, ObjectState, RunRow


@dataclass(frozen=True, slots=True)
class Selection:
    """Which runs a person wants to forget. `keep` is how many of each instance stay, the newest; 0 spares none.

    `older_than` is seconds since a run ended; `instances` limits it to those.
    """

    keep: int = 1
    older_than: float | None = None
    instances: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """A run that was asked for and stays, and why. `failed`: it should have gone and could not."""

    row: RunRow
    why: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """What will go, and what of the same selection will not."""

    remove: tuple[RunRow, ...] = ()
    left: tuple[Left, ...] = ()


def choose(
    runs: Iterable[RunRow],
    selection: Selection,
    *,
    is_live: Callable[[RunRow], bool],
    open_objects: Callable[[RunRow], int],
    now: float,
) -> Chosen:
    """Pick the runs that may go; `runs` in the order in which they were recorded. Live ones are not spoken of."""
    seen: Counter[str] = Counter()
    remove: list[RunRow] = []
    left: list[Left] = []
    for row in reversed(list(runs)):
        seen[row.instance] += 1
        if seen[row.instance] <= selection.keep or not _matches(row, selection, now) or is_live(row):
            continue
        if why := _in_the_way(row, open_objects(row)):
            left.append(Left(row, why))
        else:
            remove.append(row)
    return Chosen(tuple(reversed(remove)), tuple(reversed(left)))


def _matches(row: RunRow, selection: Selection, now: float) -> bool:
    if selection.instances and row.instance not in selection.instances:
        return False
    ended = row.ended_at if row.ended_at is not None else row.started_at
    return selection.older_than is None or now - ended > selection.older_than


def _in_the_way(row: RunRow, objects: int) -> str:
    if not row.finished:
        return f"it was not torn down: orchestra down {row.instance}"
    if objects:
        return f"{objects} object{'s are' if objects > 1 else ' is'} on record: orchestra audit, orchestra clean"
    return ""


def open_objects(ledger: Ledger, folder_of: Callable[[str], Path]) -> Callable[[RunRow], int]:
    """Return a function that counts the objects that forbid to forget a run.

    Those of its own that may still be on the host, and those of later runs that lie in its folder: a FIFO that was kept
    and taken over.
    """
    counts: Counter[str] = Counter()
    root = folder_of("run").parent
    for row in ledger.objects(states=(*OPEN_STATES, ObjectState.BORROWED)):
        if row.state is not ObjectState.BORROWED:
            counts[row.run] += 1
        path = Path(row.name or "")
        if path.is_relative_to(root) and (where := path.relative_to(root).parts[:1]) not in ((), (row.run,)):
            counts[where[0]] += 1
    return lambda row: counts[row.run]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, with the bytes that each run's folder held, and what stayed."""

    removed: tuple[tuple[RunRow, int], ...] = ()
    left: tuple[Left, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all folders together."""
        return sum(size for _, size in self.removed)

    @property
    def exit_code(self) -> int:
        """1 when something that should have gone could not be removed."""
        return 1 if any(each.failed for each in self.left) else 0


def prune(ledger: Ledger, chosen: Chosen, folder_of: Callable[[str], Path], *, dry_run: bool = False) -> Pruned:
    """Remove the chosen runs, or with `dry_run` only measure them. Raises LedgerError."""
    removed: list[tuple[RunRow, int]] = []
    left = list(chosen.left)
    for row in chosen.remove:
        folder = folder_of(row.run)
        size = size_of(folder)
        if not dry_run:
            try:
                _remove(folder)
            except OSError as err:
                name = errno.errorcode.get(err.errno or 0, "?")
                left.append(Left(row, f"{err.filename or folder}: {err.strerror} ({name})", failed=True))
                continue
            ledger.forget_run(row.run)
        removed.append((row, size))
    return Pruned(tuple(removed), tuple(left))


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder, links not followed; 0 where there is none."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except OSError:  # gone meanwhile
                continue
    return total


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:  # by hand, or by somebody who prunes at the same time
        if folder.exists():
            raise


def to_json(row: RunRow, size: int | None) -> dict[str, Any]:
    """Return a run as `prune --format json` prints it, times as seconds since the epoch.

    `size` None: it was not measured, because the run stays."""
    return {
        "run": row.run,
        "instance": row.instance,
        "topology": row.topology,
        "state": row.state,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "bytes": size,
    }
