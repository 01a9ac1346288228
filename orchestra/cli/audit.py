"""`orchestra audit`: everything on record that is still on the host, who holds it, and what should not be there."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from orchestra.audit.liveness import live_runs
from orchestra.audit.report import Report
from orchestra.audit.scan import scan
from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.options import emit
from orchestra.cli.state import open_state
from orchestra.errors import OrchestraError
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import render_json
from orchestra.views.findings import audit_table, counted
from orchestra.views.junit import render_junit

EXAMPLES = """
orchestra audit                              what is there, and why
orchestra audit --format json | jq .summary
orchestra audit --format junit -o audit.xml  for a CI system: leaks fail
orchestra audit --exit-zero                  only look: exit 0 also with leaks
"""


class AuditFormat(StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"


def audit(
    format_: Annotated[AuditFormat, typer.Option("--format", help="How to write the answer.")] = AuditFormat.TABLE,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write the answer there, not to stdout.")
    ] = None,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit 0 also when something leaked.")] = False,
) -> int:
    """Report what is still there of what orchestra made.

    Verdicts: live (its run is up, or waits for `down`), kept (left behind on
    purpose), leaked (its run is over and it should be gone), deleted (the name
    is gone, somebody still holds it), foreign (used, never ours), unknown
    (maybe ours, not proven; never removed).

    Exit status: 0 nothing leaked, 3 leaks found.
    """
    with open_state() as state:
        report = scan(state.ledger, live_runs(state.ledger, state.places))
    text = _render(report, format_, to_file=output is not None)
    if output is None:
        emit(text)
    else:
        _write(output, text)
    if format_ is AuditFormat.TABLE:
        tell(_last_words(report))
    return ExitCode.LEAKS if report.leaked and not exit_zero else ExitCode.OK


def _render(report: Report, format_: AuditFormat, *, to_file: bool) -> str:
    content = report.to_json()
    if format_ is AuditFormat.JSON:
        return render_json("audit", content)
    if format_ is AuditFormat.JUNIT:
        return render_junit(content["findings"])
    found = [(finding.row.key, finding.to_json()) for finding in report.findings]
    if to_file:
        return audit_table(found)
    return audit_table(found, width=terminal_width(sys.stdout), paint=paint_for(sys.stdout))


def _last_words(report: Report) -> str:
    words = counted(report.to_json()["summary"]) or "nothing that orchestra made is left"
    if report.elsewhere:
        words += f"; {report.elsewhere} recorded elsewhere (another namespace, or a file system not mounted here)"
    if report.leaked:
        words += f"\n{paint_for(sys.stderr)('help', 'bold', 'cyan')}: `orchestra clean` removes what leaked"
    return words


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as err:
        raise OrchestraError(f"cannot write {path}: {err.strerror}") from err
