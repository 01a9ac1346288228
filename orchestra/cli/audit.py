"""`orchestra audit`: every IPC object on the host, who made it, who holds it, and what should not be there."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from orchestra.audit.classify import Verdict
from orchestra.audit.liveness import live_runs
from orchestra.audit.report import Finding, Report
from orchestra.audit.survey import Findings, survey
from orchestra.cli import auditcmd, complete
from orchestra.cli.app import ORIGINAL
from orchestra.cli.asking import declared_in
from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.options import emit
from orchestra.cli.state import open_state
from orchestra.errors import OrchestraError, UsageError
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import render_json
from orchestra.views.findings import audit_table, counted
from orchestra.views.junit import render_junit

EXAMPLES = """
orchestra audit                         what leaked, was kept or is orphaned
orchestra audit --all                   everything, also what others use
sudo orchestra audit --all-namespaces   in containers too
orchestra audit -f lab.yaml             what it declares, whoever started it
orchestra audit -- make test            run it, then say what it left
orchestra audit --format json | jq .summary
orchestra audit --format junit -o audit.xml    for a CI system: leaks fail
orchestra audit --exit-zero             only look: exit 0 also with leaks
"""


class AuditFormat(StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"


def audit(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[-- CMD…]", help="Run this and report what it left.")
    ] = None,
    format_: Annotated[AuditFormat, typer.Option("--format", help="How to write the answer.")] = AuditFormat.TABLE,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write the answer there, not to stdout.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="List also what is foreign, deleted or unknown.")] = False,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", help="Also in other namespaces: containers.")
    ] = False,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit 0 also when something leaked.")] = False,
    file: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--file",
            metavar="FILE",
            help="Only what this file declares, also when started elsewhere.",
            autocompletion=complete.files,
        ),
    ] = None,
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--host",
            help="CMD: in an IPC namespace of its own, or beside all else. Default: as root private.",
            show_default=False,
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore", metavar="PATTERN", help="CMD: what it may leave, by name or address: '/cache*'. Repeatable."
        ),
    ] = None,
) -> int:
    """Report which IPC objects are on the host, who made and who holds them.

    Verdicts: leaked (ours; its run is over and it should be gone), kept (ours;
    left behind on purpose), live (ours; its run is up, or waits for `down`),
    orphan (not ours; nobody holds it and its maker is provably gone), foreign
    (in use by others, or normal), deleted (the name is gone, somebody still
    holds it), unknown (cannot be told, so it counts as in use). The table
    lists the last three only with --all; JSON always has everything.

    With a command: it is run with its streams, signals and exit status as they
    are; what it left is reported on stderr, or in a file with -o. Nothing is
    removed, and nothing that still runs is ended.

    Exit status: 0 nothing of ours leaked, 3 leaks found. With a command: its own;
    3 when that was 0 and it left something; 126 or 127 when it cannot be run.
    """
    if words or private is not None or ignore or context.meta.get(ORIGINAL, ())[-1:] == ["--"]:
        _demand_command(context, words, file=file, other=all_ or all_namespaces)
        return auditcmd.run(words or (), auditcmd.Asked(private, tuple(ignore or ()), format_.value, output, exit_zero))
    with open_state() as state:
        report = survey(state.ledger, live_runs(state.ledger, state.places), all_namespaces=all_namespaces)
        if file is not None:
            is_declared = declared_in(file, state)
            report = replace(report, findings=[each for each in report.findings if is_declared(each)], counts=None)
    text = _render(report, format_, to_file=output is not None, everything=all_)
    if output is None:
        emit(text)
    else:
        _write(output, text)
    if format_ is AuditFormat.TABLE:
        tell(_last_words(report, everything=all_))
    return ExitCode.LEAKS if report.leaked and not exit_zero else ExitCode.OK


def _demand_command(context: typer.Context, words: list[str] | None, *, file: str | None, other: bool) -> None:
    """Refuse options that go with a command only, or not with one. Raises UsageError."""
    if not words:
        if context.meta.get(ORIGINAL, ())[-1:] == ["--"]:
            raise UsageError("there is no command behind `--`", hint="orchestra audit -- CMD …")
        raise UsageError("--private, --host and --ignore are about a command", hint="orchestra audit -- CMD …")
    if "--" not in context.meta.get(ORIGINAL, ()):
        raise UsageError(
            f"audit takes no `{words[0]}`", hint=f"To run it and report what it left: orchestra audit -- {words[0]}"
        )
    if file is not None or other:
        raise UsageError("-f, --all and --all-namespaces look at the host, not at what a command leaves")


# In the order in which somebody wants to read them; the first four are listed without being asked for.
_ORDER = (
    Verdict.LEAKED, Verdict.ORPHAN, Verdict.KEPT, Verdict.LIVE, Verdict.UNKNOWN, Verdict.DELETED, Verdict.FOREIGN,
)  # fmt: skip
_LISTED = _ORDER[:4]


def _render(report: Report, format_: AuditFormat, *, to_file: bool, everything: bool) -> str:
    if format_ is AuditFormat.JSON:
        return render_json("audit", report.to_json())
    if format_ is AuditFormat.JUNIT:
        return render_junit(report.to_json()["findings"])
    chosen = _chosen(report, everything=everything)
    found = [(None if each.row is None else each.row.key, each.to_json()) for each in chosen]
    if to_file:
        return audit_table(found)
    return audit_table(found, width=terminal_width(sys.stdout), paint=paint_for(sys.stdout))


def _chosen(report: Report, *, everything: bool) -> list[Finding]:
    """Return what the table lists, in its order: what is on record is always there."""
    findings = report.findings
    if everything or not isinstance(findings, Findings):  # of a file: all of it
        chosen = list(findings)
    else:
        chosen = [*findings.recorded, *findings.only(*_LISTED)]
    return sorted(chosen, key=lambda each: _ORDER.index(each.verdict))


def _last_words(report: Report, *, everything: bool) -> str:
    summary = report.summary
    lines = [counted({verdict: summary[verdict] for verdict in _LISTED}) or "nothing leaked, nothing was kept"]
    if not any(summary.values()):
        lines = ["there are no IPC objects here"]
    if report.elsewhere:
        lines[0] += f"; {report.elsewhere} recorded elsewhere (another namespace, or a file system not mounted here)"
    rest = counted({verdict: summary[verdict] for verdict in _ORDER[len(_LISTED) :]})
    if rest:
        lines.append(f"also here: {rest}" + ("" if everything else "; `orchestra audit --all` lists them"))
    lines += [f"not seen: {gap}" for gap in report.gaps]
    lines += [f"note: {note}" for note in report.notes]
    help_ = paint_for(sys.stderr)("help", "bold", "cyan")
    if report.leaked:
        lines.append(f"{help_}: `orchestra clean` removes what leaked")
    if summary[Verdict.ORPHAN]:
        lines.append(f"{help_}: `orchestra clean --orphans --dry-run` says which orphans may be removed")
    return "\n".join(lines)


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as err:
        raise OrchestraError(f"cannot write {path}: {err.strerror}") from err
