"""`orchestra prune`: forget runs that are over, their logs and their rows. Lists first, asks, removes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Annotated

import typer

from orchestra.audit.liveness import live_runs
from orchestra.audit.prune import Left, Pruned, Selection, choose, open_objects, to_json
from orchestra.audit.prune import prune as remove
from orchestra.cli import complete
from orchestra.cli.asking import agreed
from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.options import Format, FormatOption, emit
from orchestra.cli.state import State, open_state
from orchestra.cli.values import parse_duration
from orchestra.errors import NotFound
from orchestra.ledger.rows import RunRow
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import render_json
from orchestra.views.table import Column, render_table
from orchestra.views.times import clock, rfc3339

EXAMPLES = """
orchestra prune                        all but the newest run of each instance
orchestra prune --dry-run              only the list
orchestra prune --older-than 30d --yes for cron
orchestra prune demo --keep 0 --yes    every ended run of one instance
"""

_Row = tuple[str, RunRow, int | None, str]  # outcome, run, bytes, why


def prune(
    instances: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INSTANCE]…",
            help="Only runs of these. Default: of all.",
            show_default=False,
            autocompletion=complete.instances,
        ),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="T", help="Only what ended longer ago: 90, 30s, 5m, 2d.")
    ] = None,
    keep: Annotated[int, typer.Option(metavar="N", min=0, help="How many runs of each instance stay: the newest.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list; remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Forget old runs: their logs and their records.

    Never a live run, never one that was not torn down, never one with objects
    on record that may still be there. On a terminal it shows the list and asks;
    elsewhere it needs --yes.

    Exit status: 0 done, 1 something could not be removed, 2 nobody to ask.
    """
    selection = Selection(
        keep=keep,
        older_than=None if older_than is None else parse_duration(older_than, "--older-than"),
        instances=tuple(instances or ()),
    )
    with open_state() as state:
        _check_names(state, selection.instances)
        folder_of = state.places.run_folder
        chosen = choose(
            state.ledger.runs(),
            selection,
            is_live=live_runs(state.ledger, state.places),
            open_objects=open_objects(state.ledger, folder_of),
            now=time.time(),
        )
        done = remove(state.ledger, chosen, folder_of, dry_run=True)
        if not dry_run and chosen.remove:
            if not yes and not _agreed(done):
                return ExitCode.FAILED
            done = remove(state.ledger, chosen, folder_of)
    _show(done, format_, dry_run=dry_run)
    return done.exit_code


def _check_names(state: State, names: Iterable[str]) -> None:
    for name in names:
        if name not in state.instances:
            raise NotFound(f"there is no instance `{name}`", hint="`orchestra ls` lists them.")


def _agreed(found: Pruned) -> bool:
    what = f"{_count(len(found.removed))} ({in_units(found.size)})"
    table = _table([("to remove", row, size, "") for row, size in found.removed])
    shown = render_table(*table, width=terminal_width(sys.stderr), paint=paint_for(sys.stderr))
    return agreed(f"Remove {what}?", shown, what=what)


def _show(done: Pruned, format_: Format, *, dry_run: bool) -> None:
    if format_ is Format.JSON:
        emit(render_json("prune", _answer(done, dry_run=dry_run)))
        return
    if not done.removed and not done.left:
        tell("nothing to prune")
        return
    word = "would go" if dry_run else "removed"
    rows: list[_Row] = [(word, row, size, "") for row, size in done.removed]
    rows += [("left", each.row, None, each.why) for each in done.left]
    emit(render_table(*_table(rows), width=terminal_width(sys.stdout), paint=paint_for(sys.stdout)))
    if done.removed:
        tell(f"{_count(len(done.removed))} {'would be ' if dry_run else ''}removed, {in_units(done.size)}")


def _answer(done: Pruned, *, dry_run: bool) -> dict[str, object]:
    def of_left(each: Left) -> dict[str, object]:
        return {**_timed(each.row, None), "why": each.why}

    return {
        "dry_run": dry_run,
        "removed": [_timed(row, size) for row, size in done.removed],
        "left": [of_left(each) for each in done.left],
        "bytes": done.size,
    }


def _timed(row: RunRow, size: int | None) -> dict[str, object]:
    item = to_json(row, size)
    return {**item, "started_at": rfc3339(row.started_at), "ended_at": rfc3339(row.ended_at)}


def _table(rows: Iterable[_Row]) -> tuple[list[Column], list[tuple[object, ...]]]:
    columns = [
        Column("outcome", styles=lambda word: ("yellow",) if word == "left" else ("green",)),
        Column("instance"),
        Column("run"),
        Column("state"),
        Column("ended"),
        Column("size", right=True),
        Column("why", shrink=True),
    ]
    now = time.time()
    cells: list[tuple[object, ...]] = [
        (
            outcome,
            row.instance,
            row.run,
            row.state,
            clock(row.ended_at, now),
            None if size is None else in_units(size),
            why,
        )
        for outcome, row, size, why in rows
    ]
    return columns, cells


def in_units(size: int) -> str:
    """Return a number of bytes for a person: `812 B`, `3.2 MiB`."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def _count(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"
