"""Errors as text: findings in a file with place, excerpt and caret; everything else as problem, detail, help."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from orchestra.errors import OrchestraError, Problem, TopologyError
from orchestra.views.ansi import PLAIN, Paint, clean

SHOWN_AT_MOST = 20
EXCERPT_MAX = 120  # characters of a line of the file


def shown_path(path: str) -> str:
    """Return `path` relative to the current folder when it lies in it: what a user typed, and editors can open."""
    try:
        inside = os.path.relpath(path)
    except (OSError, ValueError):  # the current folder is gone
        return path
    return path if inside.startswith("..") else inside


def in_reading_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return findings sorted by file, line and column."""
    return sorted(problems, key=lambda p: (p.file, p.line, p.column, p.code))


def render_problem(problem: Problem, severity: str, paint: Paint = PLAIN) -> str:
    """Return one finding: `file:line:col: error[code]: path: message`, the line with a caret, `help:`."""
    place = shown_path(problem.file)
    if problem.line:
        place += f":{problem.line}:{problem.column}"
    colour = "red" if severity == "error" else "yellow"
    label = paint(f"{severity}[{problem.code}]", "bold", colour)
    about = f"{problem.path}: " if problem.path else ""
    lines = [f"{paint(clean(place), 'bold')}: {label}: {clean(about + problem.message)}"]
    if problem.excerpt.strip():
        lines += _excerpt(problem, paint, colour)
    if problem.help:
        lines.append(help_line(problem.help, paint))
    return "".join(line + "\n" for line in lines)


def render_problems(
    errors: Sequence[Problem], warnings: Sequence[Problem] = (), paint: Paint = PLAIN, *, limit: int = SHOWN_AT_MOST
) -> str:
    """Return all findings, errors before warnings, at most `limit` of each, and a line that counts the rest."""
    parts = []
    for severity, found in (("error", errors), ("warning", warnings)):
        parts += [render_problem(problem, severity, paint) for problem in in_reading_order(found)[:limit]]
        if len(found) > limit:
            rest = len(found) - limit
            parts.append(f"… and {rest} more {severity}{'' if rest == 1 else 's'}\n")
    return "\n".join(parts)


def render_error(error: OrchestraError, paint: Paint = PLAIN) -> str:
    """Return any error of ours as lines for stderr."""
    if isinstance(error, TopologyError) and error.problems:
        return render_problems(error.problems, error.warnings, paint)
    lines = [f"{paint('error', 'bold', 'red')}: {clean_lines(error.problem)}"]
    if error.detail:
        lines.append(f"{paint('detail', 'dim')}: {clean_lines(error.detail)}")
    if error.hint:
        lines.append(help_line(error.hint, paint))
    return "".join(line + "\n" for line in lines)


def help_line(text: str, paint: Paint = PLAIN) -> str:
    """Return the `help:` line."""
    return f"{paint('help', 'bold', 'cyan')}: {clean_lines(text)}"


def clean_lines(text: str) -> str:
    """Like `clean`, but line breaks of our own messages stay."""
    return "\n".join(clean(line) for line in text.split("\n"))


def _excerpt(problem: Problem, paint: Paint, colour: str) -> list[str]:
    # One column per character, so that the caret stands below the right one: tabs become a space, what cannot be
    # printed a replacement sign.
    source = "".join(char if char.isprintable() else "\ufffd" for char in problem.excerpt.rstrip().replace("\t", " "))
    number = f"{problem.line:>5}" if problem.line else "     "
    bar = paint("|", "dim")
    shown, column = _window(source, problem.column)
    lines = [f"{number} {bar} {shown}"]
    if column:
        caret = "^" * max(1, min(problem.width, len(shown) - column + 1))
        lines.append(f"      {bar} {' ' * (column - 1)}{paint(caret, 'bold', colour)}")
    return lines


def _window(source: str, column: int) -> tuple[str, int]:
    """Return the part of a long line around `column` (from 1; 0: none), and the column in it.

    A terminal would break a longer line, and the caret would stand under nothing.
    """
    if len(source) <= EXCERPT_MAX:
        return source, column
    start = min(max(column - EXCERPT_MAX * 2 // 3, 0), max(len(source) - EXCERPT_MAX, 0))
    part = source[start : start + EXCERPT_MAX]
    if start:
        part = "…" + part[1:]
    if start + EXCERPT_MAX < len(source):
        part = part[:-1] + "…"
    return part, column - start if column else 0
