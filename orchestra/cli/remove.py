"""`orchestra remove`: objects by hand, declared or not. Shows who holds them and asks; a person decides."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from orchestra.audit import boxed
from orchestra.audit.cleanup import remove_on_record
from orchestra.audit.liveness import live_runs
from orchestra.cli import complete
from orchestra.cli.asking import agreed, counted, name_again, on_record
from orchestra.cli.exits import ExitCode
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption, emit
from orchestra.cli.state import State, open_state
from orchestra.cli.targets import is_address, parse_address
from orchestra.errors import NotFound
from orchestra.kernel.holders import holders_of
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Holders, ObjectRef, Stat
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import OPEN_STATES, ObjectRow, RunRow
from orchestra.objects import boxes
from orchestra.objects.explain import describe, known_row
from orchestra.objects.remove import Outcome, remove_recorded
from orchestra.objects.words import holders_in_words
from orchestra.views import holders as holders_view
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import render_json
from orchestra.views.table import Column, render_table

EXAMPLES = """
orchestra remove posix-queue:/jobs           shows who holds it, and asks
orchestra remove sysv-segment:0x4f524331     by key
orchestra remove sysv-queue:32769 posix-segment:/board --yes
orchestra remove pipeline.jobs               an object of an instance
orchestra remove posix-segment:/board --yes --force    also when held
"""


@dataclass(frozen=True, slots=True)
class Doomed:
    """One object that somebody wants gone. `row` when our record has it, `why_not` what speaks against it.

    `inside`: the run in whose private namespace it is, None for the host's.
    """

    ref: ObjectRef
    stat: Stat
    holders: Holders
    row: ObjectRow | None
    why_not: str
    inside: RunRow | None = None


def remove(
    objects: Annotated[
        list[str],
        typer.Argument(metavar="OBJECT…", help="[INSTANCE.]OBJECT or FAMILY-KIND:REF", autocompletion=complete.objects),
    ],
    name: NameOption = None,
    file: FileOption = None,
    force: Annotated[bool, typer.Option("--force", help="With --yes: also what is held, or in use by a run.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. What is held stays.")] = False,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Remove objects by hand, whoever made them.

    On a terminal it shows each object with its holders, and asks; elsewhere it
    needs --yes. A POSIX object goes on for those who have it open, a System V
    queue or set breaks for everybody at once. Each removal is on record.

    Exit status: 0 done, 1 something stayed, 2 nobody to ask, 4 no such object.
    """
    with open_state() as state:
        name_again()
        doomed = [_find(state, word, name, file) for word in dict.fromkeys(objects)]
        if not yes and not agreed(_question(doomed), _list(doomed), what=counted(len(doomed))):
            return ExitCode.FAILED
        with on_record(state) as ledger:
            results = [(each, _remove(ledger, each, insist=force or not yes)) for each in doomed]
            boxed.end_idle(ledger, state.places)
    emit(_json(results) if format_ is Format.JSON else _text(results))
    return ExitCode.FAILED if any(why for _, why in results) else ExitCode.OK


def _find(state: State, word: str, name: str | None, file: str | None) -> Doomed:
    """Look at what a word means. Raises UsageError, NotFound."""
    if not is_address(word):
        row = _declared(state, word, name, file)
        run = state.ledger.run(row.run)
        ref = ObjectRef(row.family, row.kind, name=row.name, id=row.id)
        if run is not None and boxes.is_boxed(row, run):
            if boxes.way_in(run) is None:
                raise NotFound(f"{word} ended with the private namespace of {run.instance}; nothing was removed")
            stat, holders = boxes.within(run, partial(_look, ref))
            return Doomed(stat.ref, stat, holders, row, _against(state, row, stat, holders), run)
    else:
        ref = parse_address(word)
    stat, holders = _look(ref)
    found = known_row(state.ledger, stat)
    known = found if found is not None and found.state in OPEN_STATES else None
    return Doomed(stat.ref, stat, holders, known, _against(state, known, stat, holders))


def _look(ref: ObjectRef) -> tuple[Stat, Holders]:
    """Return what is at an address here, and who holds it. Raises NotFound."""
    stat = adapter_for(ref.family, ref.kind).stat(ref)
    if stat is None:
        raise NotFound(f"there is no {ref}; nothing was removed", hint="`orchestra audit --all` lists what is there.")
    return stat, holders_of([stat.identity])[0]


def _declared(state: State, word: str, name: str | None, file: str | None) -> ObjectRow:
    of_a_file = "What a file declares: orchestra clean -f FILE"
    row = state.declared_object(word, name=name, file=file, of_a_file=of_a_file)
    if row.name is None and row.id is None:
        raise NotFound(f"{word} has no name and no id: it ends with its last holder")
    return row


def _against(state: State, row: ObjectRow | None, stat: Stat, holders: Holders) -> str:
    """Return what speaks against removing it, "" for nothing."""
    if holders.holders:
        return holders_in_words(holders)
    if stat.attached:
        return f"attached {stat.attached} times by processes that cannot be seen"
    run = None if row is None else state.ledger.run(row.run)
    if run is not None and live_runs(state.ledger, state.places)(run):
        return f"in use by run {run.run} of {run.instance}, which is live"
    return ""


def _remove(ledger: Ledger, doomed: Doomed, *, insist: bool) -> str:
    """Remove one; return why it stays, "" when it is gone."""
    if doomed.why_not and not insist:
        return f"{doomed.why_not}; --force removes it all the same"
    if doomed.row is not None:
        if doomed.inside is not None:
            return boxes.within(doomed.inside, partial(_remove_inside, ledger.path, doomed.row, insist=insist))
        return _remove_row(ledger, doomed.row, insist=insist)
    words = doomed.why_not or holders_in_words(doomed.holders)
    attempt = remove_on_record(
        ledger, doomed.ref, doomed.stat.identity,
        verdict="by hand", evidence=f"{describe(doomed.stat)}; {words}", command="remove", by_force=insist,
    )  # fmt: skip
    return "" if attempt.removed or (attempt.gone and not attempt.window) else attempt.why


def _remove_row(ledger: Ledger, row: ObjectRow, *, insist: bool) -> str:
    removal = remove_recorded(ledger, row, held_ok=insist)
    return removal.why if removal.outcome is Outcome.REFUSED else ""


def _remove_inside(path: Path, row: ObjectRow, *, insist: bool) -> str:
    with Ledger.open(path) as ledger:
        return _remove_row(ledger, row, insist=insist)


def _question(doomed: Sequence[Doomed]) -> str:
    held = sum(bool(each.why_not) for each in doomed)
    what = "this object" if len(doomed) == 1 else f"these {len(doomed)} objects"
    return f"Remove {what}{', in use as shown' if held else ''}?"


def _list(doomed: Sequence[Doomed]) -> str:
    columns = [
        Column("object", shrink=True),
        Column("is", shrink=True),
        Column("declared"),
        Column("held by", shrink=True),
    ]
    rows = [
        (
            str(each.ref),
            describe(each.stat),
            None if each.row is None else f"{each.row.instance}.{each.row.key}",
            each.why_not or holders_in_words(each.holders),
        )
        for each in doomed
    ]
    return render_table(columns, rows, width=terminal_width(sys.stderr), paint=paint_for(sys.stderr))


def _text(results: Sequence[tuple[Doomed, str]]) -> str:
    columns = [Column("outcome"), Column("object", shrink=True), Column("why", shrink=True)]
    rows = [("left" if why else "removed", str(each.ref), why) for each, why in results]
    return render_table(columns, rows, width=terminal_width(sys.stdout), paint=paint_for(sys.stdout))


def _json(results: Sequence[tuple[Doomed, str]]) -> str:
    return render_json(
        "remove",
        {
            "removed": [_entry(each) for each, why in results if not why],
            "left": [{**_entry(each), "why": why} for each, why in results if why],
        },
    )


def _entry(doomed: Doomed) -> dict[str, object]:
    row = doomed.row
    return {
        "object": str(doomed.ref),
        "instance": None if row is None else row.instance,
        "run": None if row is None else row.run,
        "key": None if row is None else row.key,
        "holders": holders_view.answer(doomed.holders),
    }
