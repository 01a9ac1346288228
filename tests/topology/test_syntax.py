"""Slips of YAML in words: both of PyYAML's parsers fail in their own way, and the reader sees the same."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from orchestra.errors import Problem
from orchestra.topology.composer import compose
from orchestra.topology.nodes import Source
from orchestra.topology.syntax import explain

PARSERS = [getattr(yaml, name) for name in ("SafeLoader", "CSafeLoader") if hasattr(yaml, name)]


def slip(text: str, parser: Any) -> Problem:
    root, problems = compose(text.encode(), "x.yaml", "/w", parser=parser)
    assert root is None
    assert len(problems) == 1
    return problems[0]


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a:\n\tb: 1\n", 2, 1, "a tab in the indentation"),
        ("a: [x, ${y}]\n", 1, 8, "`${y}` needs quotes between brackets"),
        ("a: {x: ${y\n", 1, 8, "`${…}` needs quotes between brackets"),
        ("a: @x\n", 1, 4, "a value cannot start with `@`"),
        ("a: `x\n", 1, 4, "a value cannot start with ```"),
        ("a: b: c\n", 1, 5, "a second `: ` in one line"),
        ("a: 'x\nb: 1\n", 1, 4, "this quote is never closed"),
        ("a: 1\nb\nc: 2\n", 2, 1, "this line has no `:`"),
        ("a: | x\n  y\n", 1, 4, "text behind `|` or `>`"),
        ("a:\n  b: 1\n c: 2\n", 3, 2, "this line does not fit its neighbours"),
        ("- a\nb: 1\n", 2, 1, "this line does not fit its neighbours"),
        ("a: *\n", 1, 4, "`*` starts a YAML alias"),
        ("a: & x\n", 1, 4, "`&` starts a YAML anchor"),
        ("a: [1, 2\nb: 3\n", 2, 2, "expected `,` or `]`"),
        ("a: [1, 2\n\nb: 3\n", 1, 4, "this `[` is never closed"),
        ("a: {b: 1\n\n\nc: 3\n", 1, 4, "this `{` is never closed"),
    ],
)
def test_both_parsers_say_the_same(text: str, line: int, column: int, message: str, parser: Any) -> None:
    found = slip(text, parser)
    assert (found.line, found.column, found.message) == (line, column, message)


@pytest.mark.parametrize("parser", PARSERS)
def test_the_help_quotes_what_stands_there(parser: Any) -> None:
    assert slip("a: time 12: 30\n", parser).help == 'If the value holds a colon, quote it: "time 12: 30"'
    assert slip("a: [x, ${y}]\n", parser).help == 'Write "${y}": a bare `{` opens a mapping there.'
    assert slip("a: [x, ${y}]\n", parser).width == len("${y}")


def test_an_error_without_a_place_points_at_the_start() -> None:
    problem = explain(yaml.MarkedYAMLError(problem="odd"), Source("x.yaml", "/w", "a"))
    assert (problem.line, problem.column, problem.code, problem.message) == (1, 1, "syntax", "not YAML: odd")


def test_an_error_of_a_parser_to_come_is_passed_on() -> None:
    mark = yaml.Mark("x", 0, 0, 1, None, 0)
    err = yaml.MarkedYAMLError("while dreaming", None, "it woke up", mark)
    assert explain(err, Source("x.yaml", "/w", "")).message == "not YAML: while dreaming: it woke up"
