"""What a YAML syntax error means, in words for the person who made the slip."""

from __future__ import annotations

from typing import Any

import yaml

from orchestra.errors import Problem
from orchestra.topology.nodes import Place, Source

_CANNOT_START = {
    "@": "A value cannot start with `@`: quote it.",
    "`": "A value cannot start with a backquote: quote it.",
    "%": "A value cannot start with `%`: quote it.",
}


def explain(err: yaml.MarkedYAMLError, source: Source) -> Problem:
    """Return the finding for an error of the parser; both of PyYAML's parsers are understood."""
    mark = err.problem_mark or err.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    text = source.line(line)
    char = text[column - 1 : column]
    problem, context = str(err.problem or ""), str(err.context or "")
    place = Place(source, line, column)

    if "\t" in text[:column] and not text[:column].strip():
        return place.problem("tab", "", "a tab in the indentation", "YAML is indented with spaces.")
    if char == "{" and text[column - 2 : column - 1] == "$":
        return _unquoted_placeholder(source, line, column)
    if "cannot start any token" in problem:
        return place.problem("syntax", "", f"a value cannot start with `{char}`", _CANNOT_START.get(char, "Quote it."))
    if "mapping values are not allowed" in problem:
        return _second_colon(source, line, column)
    if "end of stream" in problem and "quoted scalar" in context:
        start = _place_of(err.context_mark, source) or place
        return start.problem("syntax", "", "this quote is never closed", "Close it on the same line.")
    if "flow" in context:
        return _open_bracket(err, source, place)
    if "tag" in context:
        return place.problem(
            "tag", "", "`!` starts a YAML tag, which is not supported", 'For the text itself, quote it: "!"'
        )
    if "block collection" in context or "block mapping" in context:
        hint = "Lines of one level start in the same column: compare with the lines above."
        return place.problem("syntax", "", "this line does not fit its neighbours", hint)
    if "could not find expected ':'" in problem:
        return place.problem(
            "syntax", "", "expected `key: value` here", "A `:` with a space behind it is missing above."
        )
    if "block scalar" in context:
        hint = "After `|` or `>` the text starts on the next line; to begin a value with that sign, quote it."
        return place.problem("syntax", "", "text behind `|` or `>`", hint)
    if "alias" in context or "anchor" in context:
        sign, what = ("*", "alias") if "alias" in context else ("&", "anchor")
        return place.problem(
            "syntax", "", f"`{sign}` starts a YAML {what}", f'For the text itself, quote it: "{sign}…"'
        )
    where = f"{context}: " if context else ""
    return place.problem("syntax", "", f"not YAML: {where}{problem}")


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
    if start is None:
        return place.problem("syntax", "", f"expected `,` or `{closing}`")
    opened = f"The `{kind}` stands in line {start.line}, column {start.column}."
    if not source.line(place.line).strip() or place.line > start.line + 1:
        return start.problem(
            "syntax", "", f"this `{kind}` is never closed", f"A `{closing}` or a `,` is missing behind it."
        )
    return place.problem("syntax", "", f"expected `,` or `{closing}`", opened)
