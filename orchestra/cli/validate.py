"""`orchestra validate`: every error and every oddity of topology files, all at once, nothing started."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from orchestra.cli import complete
from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.options import Format, FormatOption, SetOption, emit
from orchestra.cli.targets import topology_path
from orchestra.errors import Problem, TopologyError
from orchestra.views.ansi import paint_for
from orchestra.views.answer import render_json
from orchestra.views.problems import in_reading_order, render_problems, shown_path

EXAMPLES = """
orchestra validate                           ./orchestra.yaml
orchestra validate topologies/*/orchestra.yaml
orchestra validate --set rate=50 pipeline.yaml
orchestra validate --format json | jq '.files[].errors'
"""


def validate(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE]…",
            help="Topology files, or folders with an orchestra.yaml. Default: ./orchestra.yaml",
            show_default=False,
            autocompletion=complete.files,
        ),
    ] = None,
    set_: SetOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Check topology files; report every error at once.

    As `up` would: the file, what it includes, programs and folders, and the
    limits of this kernel. Nothing is created or started.

    Exit status: 0 all files are valid, 2 at least one is not.
    """
    words: list[str | None] = [*files] if files else [None]
    results = [_check(word, set_ or ()) for word in words]
    if format_ is Format.JSON:
        emit(render_json("validate", {"files": [_answer(*result) for result in results]}))
    else:
        parts = [render_problems(errors, warnings, paint_for(sys.stdout)) for _, errors, warnings in results]
        emit("\n".join(part for part in parts if part))
        _count(results)
    return ExitCode.USAGE if any(errors for _, errors, _ in results) else ExitCode.OK


def _check(word: str | None, settings: Sequence[str]) -> tuple[str, list[Problem], list[Problem]]:
    """Return the file as it is shown, its errors and its warnings."""
    from orchestra.cli.prepare import read_file

    try:
        loaded = read_file(word, None, settings)
    except TopologyError as err:
        return shown_path(topology_path(word)), list(err.problems), list(err.warnings)
    return loaded.path, [], loaded.warnings


def _answer(file: str, errors: list[Problem], warnings: list[Problem]) -> dict[str, Any]:
    return {
        "file": file,
        "ok": not errors,
        "errors": [_problem(item) for item in in_reading_order(errors)],
        "warnings": [_problem(item) for item in in_reading_order(warnings)],
    }


def _problem(item: Problem) -> dict[str, Any]:
    return {
        "file": item.file,
        "line": item.line,
        "column": item.column,
        "code": item.code,
        "path": item.path,
        "message": item.message,
        "help": item.help,
    }


def _count(results: Sequence[tuple[str, list[Problem], list[Problem]]]) -> None:
    """Say what came out, on stderr."""
    errors = sum(len(found) for _, found, _ in results)
    invalid = sum(bool(found) for _, found, _ in results)
    files = f"{len(results)} file{'' if len(results) == 1 else 's'}"
    if errors:
        tell(f"{errors} error{'' if errors == 1 else 's'} in {invalid} of {files}")
    else:
        tell(f"{files} valid" if len(results) > 1 else f"{results[0][0]} is valid")
