"""What a YAML syntax error means, in words for the person who made the slip."""

from __future__ import annotations

from typing import Any

import yaml

from orchestra.errors import Problem
from orchestra.topology.nodes import Place, Source


def explain(err: yaml.MarkedYAMLError, source: Source) -> Problem:
    """Return the finding for an error of the parser; both of PyYAML's parsers are understood."""
    place = _place_of(err.problem_mark or err.context_mark, source) or Place(source, 1, 1)
    text, column = source.line(place.line), place.column
    char = text[column - 1 : column]
    problem, context = str(err.problem or ""), str(err.context or "")

    if "\t" in text[:column] and not text[:column].strip():
        return place.problem("tab", "", "a tab in the indentation", "YAML is indented with spaces.")
    if char == "{" and text[column - 2 : column - 1] == "$":
        return _unquoted_placeholder(source, place.line, column)
    if "cannot start any token" in problem:
        return place.problem("syntax", "", f"a value cannot start with `{char}`", "Quote the value.")
    if "mapping values are not allowed" in problem:
        return _second_colon(source, place.line, column)
    if "flow" in context:
        return _open_bracket(err, source, place)
    start = _place_of(err.context_mark, source) or place
    for words, code, message, hint, at in _IN_CONTEXT:
        if words in context:
            return (start if at == "start" else place).problem(code, "", message, hint)
    where = f"{context}: " if context else ""
    return place.problem("syntax", "", f"not YAML: {where}{problem}")


# What the parser was doing when it failed → code, message, help, and which of its two marks a reader looks at.
_IN_CONTEXT = (
    ("quoted scalar", "syntax", "this quote is never closed", "Add the closing quote.", "start"),
    ("tag", "tag", "`!` starts a YAML tag, which is not supported", 'For the text itself, quote it: "!"', "start"),
    ("alias", "syntax", "`*` starts a YAML alias", 'For the text itself, quote it: "*…"', "start"),
    ("anchor", "syntax", "`&` starts a YAML anchor", 'For the text itself, quote it: "&…"', "start"),
    (
        "block scalar",
        "syntax",
        "text behind `|` or `>`",
        "The text starts on the next line; to begin a value with that sign, quote it.",
        "start",
    ),
    ("simple key", "syntax", "this line has no `:`", "Write `key: value`, or `key:` before indented lines.", "start"),
    (
        "block ",
        "syntax",
        "this line does not fit its neighbours",
        "Lines of one level start in the same column: compare with the lines above.",
        "here",
    ),
)


def _place_of(mark: Any, source: Source) -> Place | None:
    return None if mark is None else Place(source, mark.line + 1, mark.column + 1)


def _unquoted_placeholder(source: Source, line: int, column: int) -> Problem:
    text = source.line(line)
    end = text.find("}", column)
    word = text[column - 2 : end + 1] if end >= 0 else "${…}"
    place = Place(source, line, column - 1, len(word))
    return place.problem(
        "unquoted_placeholder",
        "",
        f"`{word}` needs quotes between brackets",
        f'Write "{word}": a bare `{{` opens a mapping there.',
    )


def _second_colon(source: Source, line: int, column: int) -> Problem:
    text = source.line(line)
    place = Place(source, line, column)
    first = text.find(": ")
    if 0 <= first < column - 1:
        value = text[first + 2 :].strip()
        return place.problem(
            "second_colon", "", "a second `: ` in one line", f'If the value holds a colon, quote it: "{value}"'
        )
    hint = "The line above is a value already; check its indentation, or whether a `:` is missing there."
    return place.problem("syntax", "", "a key is not expected here", hint)


def _open_bracket(err: yaml.MarkedYAMLError, source: Source, place: Place) -> Problem:
    start = _place_of(err.context_mark, source)
    kind = "{" if "mapping" in str(err.context) else "["
    closing = "}" if kind == "{" else "]"
    if start is None or "node" in str(err.context):
        if not any(source.line(number).strip() for number in range(place.line, place.line + 3)):
            return place.problem("syntax", "", "the file ends between brackets", "A `}` or `]` is missing above.")
        return place.problem("syntax", "", "expected a value")
    opened = f"The `{kind}` stands in line {start.line}, column {start.column}."
    if not source.line(place.line).strip() or place.line > start.line + 1:
        hint = f"A `{closing}` or a `,` is missing behind it."
        return start.problem("syntax", "", f"this `{kind}` is never closed", hint)
    return place.problem("syntax", "", f"expected `,` or `{closing}`", opened)
