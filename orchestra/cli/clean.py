"""`orchestra clean`: remove what leaked, and what was kept when asked to. Lists first, asks, looks again, removes."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from orchestra.audit.cleanup import Chosen, Cleaned, Selection, choose
from orchestra.audit.cleanup import clean as remove
from orchestra.audit.liveness import live_runs
from orchestra.audit.report import Finding
from orchestra.audit.scan import scan
from orchestra.cli import complete
from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.options import Format, FormatOption, emit
from orchestra.cli.state import State, open_state
from orchestra.cli.values import parse_duration
from orchestra.errors import NotFound, UsageError
from orchestra.kinds import OBJECT_KINDS
from orchestra.supervisor.teardown import describe
from orchestra.views.ansi import is_terminal, paint_for, terminal_width
from orchestra.views.answer import render_json
from orchestra.views.findings import clean_table

EXAMPLES = """
orchestra clean                              what leaked; asks first
orchestra clean --dry-run                    only the list
orchestra clean --yes                        no question, for scripts
orchestra clean --kept --run k3j9x2ab --yes  and what that run kept
orchestra clean --older-than 2d --kind sysv-segment
"""

KINDS = tuple(dict.fromkeys([*(kind.value for _, kind in OBJECT_KINDS), *(f"{f}-{k}" for f, k in OBJECT_KINDS)]))


def _kinds(incomplete: str) -> list[str]:
    return [word for word in KINDS if word.startswith(incomplete)]


def clean(
    kept: Annotated[bool, typer.Option("--kept", help="Also what was left behind on purpose.")] = False,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Only of this run.", autocompletion=complete.runs)
    ] = None,
    older_than: Annotated[str | None, typer.Option(metavar="T", help="Only what is older: 90, 30s, 5m, 2d.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Only queue, sysv-segment … Repeatable.", autocompletion=_kinds),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list; remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Remove what leaked; on request, what was kept.

    Never what is live, held by a process (it is named), foreign, or not proven
    to be ours. On a terminal it shows the list and asks; elsewhere it needs
    --yes.

    Exit status: 0 done, 1 something eligible stayed, 2 nobody to ask.
    """
    selection = Selection(
        kept=kept,
        run=run,
        older_than=None if older_than is None else parse_duration(older_than, "--older-than"),
        kinds=tuple(_known_kind(word) for word in kind or ()),
    )
    with open_state() as state:
        chosen = _choose(state, selection)
        if dry_run:
            _show(Cleaned(chosen.remove, chosen.left), format_, dry_run=True)
            return ExitCode.OK
        if chosen.remove and not yes and not _agreed(chosen):
            return ExitCode.FAILED
        done = remove(state.ledger, chosen)
        _log(state, done)
    _show(done, format_, dry_run=False)
    return done.exit_code


def _known_kind(word: str) -> str:
    if word not in KINDS:
        raise UsageError(f"--kind: there is no `{word}`", hint=f"One of: {', '.join(KINDS)}.")
    return word


def _choose(state: State, selection: Selection) -> Chosen:
    if selection.run is not None and state.ledger.run(selection.run) is None:
        raise NotFound(f"there is no run `{selection.run}`", hint="`orchestra audit` names the run of every object.")
    report = scan(state.ledger, live_runs(state.ledger, state.places), run=selection.run)
    return choose(report.findings, selection, now=time.time())


def _agreed(chosen: Chosen) -> bool:
    count = len(chosen.remove)
    what = f"{count} object{'' if count == 1 else 's'}"
    if not is_terminal(sys.stdin):
        raise UsageError(
            f"{what} would be removed, and there is nobody to ask; nothing was removed",
            hint="--yes removes without a question, --dry-run only lists.",
        )
    rows = [("to remove", finding.row.key, finding.to_json(), "") for finding in chosen.remove]
    tell(clean_table(rows, width=terminal_width(sys.stderr), paint=paint_for(sys.stderr)))
    sys.stderr.write(f"Remove {what}? [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if answer.strip().lower() in ("y", "yes"):
        return True
    if not answer:  # end of file: the cursor still stands behind the question
        tell("")
    tell("nothing was removed")
    return False


def _log(state: State, done: Cleaned) -> None:
    """Put each removal into the log of the run that had made the object."""
    if not done.removed:
        return
    from orchestra.logs.pipeline import command_logger

    log = command_logger("clean", locate=state.places.log, shown=False)
    for finding in done.removed:
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


def _pair(finding: Finding) -> tuple[str, dict[str, object]]:
    return finding.row.key, finding.to_json()
