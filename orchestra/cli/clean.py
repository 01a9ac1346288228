"""`orchestra clean`: remove what leaked, on request what was kept or orphaned. Lists, asks, looks again, removes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Annotated

import typer

from orchestra.audit import boxed
from orchestra.audit.classify import Verdict
from orchestra.audit.cleanup import Chosen, Cleaned, Selection, choose, confirm
from orchestra.audit.cleanup import clean as remove
from orchestra.audit.liveness import live_runs
from orchestra.audit.report import Finding
from orchestra.audit.scan import scan
from orchestra.audit.survey import Findings, survey
from orchestra.cli import complete
from orchestra.cli.asking import agreed, counted, declared_in, name_again, on_record
from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.options import Format, FormatOption, emit
from orchestra.cli.state import State, open_state
from orchestra.cli.values import parse_duration
from orchestra.errors import NotFound, UsageError
from orchestra.kinds import OBJECT_KINDS
from orchestra.supervisor.teardown import describe
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import render_json
from orchestra.views.findings import clean_table

EXAMPLES = """
orchestra clean                              what leaked; asks first
orchestra clean --dry-run                    only the list
orchestra clean --yes                        no question, for scripts
orchestra clean --kept --run k3j9x2ab --yes  and what that run kept
orchestra clean --older-than 2d --kind sysv-segment
orchestra clean --orphans --dry-run          what dead programs left: a list
orchestra clean -f lab.yaml                  of a file, whoever started it
"""

_SECOND_LOOK = 0.3  # seconds after the first that an orphan must still be one

KINDS = tuple(dict.fromkeys([*(kind.value for _, kind in OBJECT_KINDS), *(f"{f}-{k}" for f, k in OBJECT_KINDS)]))


def _kinds(incomplete: str) -> list[str]:
    return [word for word in KINDS if word.startswith(incomplete)]


def clean(
    kept: Annotated[bool, typer.Option("--kept", help="Also what was left behind on purpose.")] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Also orphans of others, as far as a rule allows it.")
    ] = False,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Only of this run.", autocompletion=complete.runs)
    ] = None,
    older_than: Annotated[str | None, typer.Option(metavar="T", help="Only what is older: 90, 30s, 5m, 2d.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Only queue, sysv-segment … Repeatable.", autocompletion=_kinds),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--file",
            metavar="FILE",
            help="Only what this file declares, orphans too.",
            autocompletion=complete.files,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list; remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Remove what leaked; on request, what was kept or orphaned.

    Never what is live, held by a process (it is named), foreign, deleted, or
    unknown. Identity and holders are checked once more right before each
    removal; objects that belong together go together or stay. On a terminal it
    shows the list and asks; elsewhere it needs --yes.

    Exit status: 0 done, 1 something eligible stayed, 2 nobody to ask.
    """
    with open_state() as state:
        selection = Selection(
            kept=kept,
            orphans=orphans,
            run=run,
            older_than=None if older_than is None else parse_duration(older_than, "--older-than"),
            kinds=tuple(_known_kind(word) for word in kind or ()),
            declared=None if file is None else declared_in(file, state),
        )
        if not dry_run:
            name_again()
        chosen = choose(_findings(state, selection), selection, now=time.time())
        if dry_run:
            _show(Cleaned(chosen.remove, chosen.left), format_, dry_run=True)
            return ExitCode.OK
        if chosen.remove and not yes and not _agreed(chosen):
            return ExitCode.FAILED
        chosen = _still(state, chosen)
        if not chosen.remove:
            done = Cleaned((), chosen.left)
        else:
            with on_record(state) as ledger:
                done = remove(ledger, chosen)
        if selection.run is None and state.places.ledger.exists():
            boxed.end_idle(state.ledger, state.places)
        _log(state, done)
    _show(done, format_, dry_run=False)
    return done.exit_code


def _known_kind(word: str) -> str:
    if word not in KINDS:
        raise UsageError(f"--kind: there is no `{word}`", hint=f"One of: {', '.join(KINDS)}.")
    return word


def _findings(state: State, selection: Selection) -> Iterable[Finding]:
    """Look at what is on record, and beyond it only when that was asked for."""
    if selection.run is not None and state.ledger.run(selection.run) is None:
        raise NotFound(f"there is no run `{selection.run}`", hint="`orchestra audit` names the run of every object.")
    is_live = live_runs(state.ledger, state.places)
    if not selection.orphans and selection.declared is None:
        here = scan(state.ledger, is_live, run=selection.run).findings
        inside = boxed.look(state.ledger, is_live, run=selection.run)
        for gap in inside.gaps:
            tell(f"not seen: {gap}")
        return [*here, *inside.findings]
    findings = survey(state.ledger, is_live).findings
    if selection.declared is not None or not isinstance(findings, Findings):
        return findings
    return [*findings.recorded, *findings.only(Verdict.ORPHAN)]


def _still(state: State, chosen: Chosen) -> Chosen:
    """Look a second time, a moment later, at orphans: what was only between two uses is not one."""
    if all(finding.row is not None for finding in chosen.remove):
        return chosen
    time.sleep(_SECOND_LOOK)
    return confirm(chosen, survey(state.ledger, live_runs(state.ledger, state.places)).findings)


def _agreed(chosen: Chosen) -> bool:
    what = counted(len(chosen.remove))
    rows = [("to remove", *_pair(finding), "") for finding in chosen.remove]
    shown = clean_table(rows, width=terminal_width(sys.stderr), paint=paint_for(sys.stderr))
    return agreed(f"Remove {what}?", shown, what=what)


def _log(state: State, done: Cleaned) -> None:
    """Put each removal into the log of the run that had made the object."""
    if all(finding.row is None for finding in done.removed):
        return
    from orchestra.logs.pipeline import command_logger

    log = command_logger("clean", locate=state.places.log, shown=False)
    for finding in done.removed:
        if finding.row is not None:
            log.info("object.removed", run=finding.row.run, **describe(finding.row))


def _show(done: Cleaned, format_: Format, *, dry_run: bool) -> None:
    if format_ is Format.JSON:
        emit(render_json("clean", {"dry_run": dry_run, **done.to_json()}))
        return
    if not done.removed and not done.left:
        tell("nothing to clean")
        return
    word = "would go" if dry_run else "removed"
    rows = [(word, *_pair(finding), "") for finding in done.removed]
    rows += [("left", *_pair(each.finding), each.why) for each in done.left]
    emit(clean_table(rows, width=terminal_width(sys.stdout), paint=paint_for(sys.stdout)))


def _pair(finding: Finding) -> tuple[str | None, dict[str, object]]:
    return None if finding.row is None else finding.row.key, finding.to_json()
