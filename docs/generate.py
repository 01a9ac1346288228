"""Writes the reference pages that are made from the program itself; with --check, says which ones are stale.

`python -m docs.generate` writes, `python -m docs.generate --check` compares, and so does tests/docs. Each page has
one function here that returns its whole text; the source of truth is always the code that acts.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"
NOTE = "<!-- Made by docs/generate.py; change the code it is made from instead. -->\n\n"

Page = Callable[[], str]

CLI_INTRO = """\
The answer goes to standard output, everything else to standard error. `--format json` gives one JSON object
([JSON answers](json.md)). What a word on the command line can name: [Targets](targets.md). How commands end:
[Exit statuses](exit-codes.md)."""

EVENTS_INTRO = """\
What orchestra itself writes into a run's log. An id keeps its meaning once published; the message is for people and
may change. How records look, and how captured lines stand between them: [Logs](../concepts/logs.md)."""

ERRORS_INTRO = """\
An error has one line that says what is wrong and, where they are known, a `detail:` (the exact call that failed) and a
`help:` (what to do). Programs that import orchestra get the same three as attributes `problem`, `detail` and `hint`.
An error with two parents is listed under both."""


def cli_page() -> str:
    """Every command's --help, as it is printed."""
    from orchestra.cli.app import COMMANDS

    parts = ["# Command line", CLI_INTRO, _help_block([])]
    for name in COMMANDS:
        parts += [f"## orchestra {name}", _help_block([name])]
    return NOTE + "\n\n".join(parts) + "\n"


def help_text(arguments: list[str]) -> str:
    """Return what `orchestra ARGUMENTS --help` prints."""
    import contextlib
    import io

    from orchestra.cli.app import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*arguments, "--help"])
    if code != 0:
        raise RuntimeError(f"orchestra {' '.join(arguments)} --help ended with {code}")
    return out.getvalue()


def _help_block(arguments: list[str]) -> str:
    command = " ".join(["orchestra", *arguments, "--help"])
    text = "\n".join(line.rstrip() for line in help_text(arguments).strip("\n").splitlines())
    return f"```text\n$ {command}\n{text}\n```"


def events_page() -> str:
    """Every event with its level, words and fields."""
    from orchestra.logs.catalogue import markdown

    return f"{NOTE}# Events\n\n{EVENTS_INTRO}\n\n{markdown()}"


def errors_page() -> str:
    """The tree of errors with the exit status of each."""
    from orchestra import errors

    rows = ["| error | exit status | when |", "|---|---|---|"]
    for depth, cls in _tree(errors.OrchestraError, 0):
        summary = (inspect.getdoc(cls) or "").splitlines()[0]
        rows.append(f"| {'&nbsp;&nbsp;&nbsp;' * depth}`{cls.__name__}` | {cls.exit_code} | {summary} |")
    return f"{NOTE}# Errors\n\n{ERRORS_INTRO}\n\n" + "\n".join(rows) + "\n"


def _tree(cls: type[Any], depth: int) -> Iterator[tuple[int, type[Any]]]:
    yield depth, cls
    for child in cls.__subclasses__():
        yield from _tree(child, depth + 1)


def exit_codes_page() -> str:
    """The table at the head of cli/exits.py."""
    from orchestra.cli import exits

    rows = []
    for line in (inspect.getdoc(exits) or "").splitlines():
        code, _, meaning = line.partition(" ")
        if code.isdigit():
            rows.append(f"| {code} | {meaning.strip()} |")
    return (
        f"{NOTE}# Exit statuses\n\n| status | meaning |\n|---|---|\n" + "\n".join(rows) + "\n\n"
        "A run that was stopped by a signal to the foreground command ends with 128 + that signal, after everything "
        "was stopped in order and the objects were dealt with.\n"
    )


def schema_file() -> str:
    """The JSON Schema of topology files, as `orchestra schema` prints it."""
    from orchestra.topology.schema import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def changelog_page() -> str:
    """The fragments of docs/changelog.d under "Not yet released", then what was released before."""
    page = DOCS / "changelog.md"
    before = page.read_text() if page.exists() else ""
    _, mark, released = before.partition("\n## Version ")
    parts = ["# Changes", "## Not yet released"]
    for kind in ("added", "changed", "fixed", "removed"):
        fragments = sorted((DOCS / "changelog.d").glob(f"*.{kind}.md"))
        if fragments:
            parts += [f"### {kind.capitalize()}", "\n".join("- " + _indent(path.read_text()) for path in fragments)]
    return NOTE + "\n\n".join(parts) + "\n" + mark + released


def _indent(text: str) -> str:
    return text.strip().replace("\n", "\n  ")


PAGES: dict[Path, Page] = {
    REFERENCE / "cli.md": cli_page,
    REFERENCE / "events.md": events_page,
    REFERENCE / "errors.md": errors_page,
    REFERENCE / "exit-codes.md": exit_codes_page,
    REFERENCE / "orchestra.schema.json": schema_file,
    DOCS / "changelog.md": changelog_page,
}


def main() -> int:
    """Write all pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    stale = []
    for path, make in PAGES.items():
        text = make()
        if not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(DOCS.parent)))
            if not check:
                path.write_text(text)
    if stale:
        sys.stdout.write(f"{'stale' if check else 'written'}: {', '.join(stale)}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
