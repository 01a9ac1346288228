"""From JSON text to nodes, by the rules of RFC 8259: tabs, long keys and surrogate pairs, which YAML parsers refuse.

Duplicate keys are collected; NaN, comments and trailing commas are not JSON and end the pass.
"""

from __future__ import annotations

import re
from typing import NoReturn

from orchestra.errors import Problem
from orchestra.topology.nodes import Map, Node, Place, Scalar, Seq, Source
from orchestra.topology.text import Refused, TooLarge

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*)"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![0-9a-zA-Z.])")
_WORD = re.compile(r"(?:true|false|null)\b")
_ESCAPE = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))")
_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HALF = re.compile("[\ud800-\udfff]")


class JsonComposer:
    """Builds nodes out of one JSON document."""

    def __init__(self, source: Source, depth_max: int, nodes_max: int) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._text = source.text
        self._depth_max = depth_max
        self._nodes_max = nodes_max
        self._count = 0
        self._path: list[str] = []  # keys on the way to the value being read
        self._line = 1
        self._line_start = 0  # index of the first character of the line
        self._seen = 0  # index up to which line breaks are counted

    def compose(self) -> Node:
        """Return the root node. Raises Refused."""
        start = self._skip(0)
        if start == len(self._text):
            raise Refused(Place(self.source, 0, 0).problem("empty", "", "the file is empty"))
        root, end = self._value(start, 1)
        end = self._skip(end)
        if end != len(self._text):
            self._fail(end, "the document ends before this")
        return root

    def _value(self, at: int, depth: int) -> tuple[Node, int]:
        self._count += 1
        if self._count > self._nodes_max:
            raise TooLarge(
                self._place(at).problem("too_large", "", f"the file has more than {self._nodes_max:,} values")
            )
        first = self._text[at : at + 1]
        if first in ("{", "["):
            if depth > self._depth_max:
                raise TooLarge(self._place(at).problem("too_deep", "", f"nested deeper than {self._depth_max} levels"))
            return self._object(at, depth) if first == "{" else self._array(at, depth)
        if first == '"':
            text, end = self._string(at)
            return self._scalar(at, end, text, plain=False), end
        found = _NUMBER.match(self._text, at) or _WORD.match(self._text, at)
        if found is None:
            self._fail(at, "expected a value" if first else "the file ends in the middle of a value")
        text = found.group()
        # In YAML 1.2 `1e5` needs no dot to be a number, and `-0` is one too: both readings agree.
        return self._scalar(at, found.end(), text, plain=True), found.end()

    def _object(self, at: int, depth: int) -> tuple[Map, int]:
        place = self._place(at)
        node = Map(self.source, place.line, place.column)
        at = self._skip(at + 1)
        if self._text[at : at + 1] == "}":
            return node, at + 1
        while True:
            if self._text[at : at + 1] != '"':
                self._fail(at, "expected a key in double quotes")
            key_at = self._place(at)
            key, end = self._string(at)
            where = Place(self.source, key_at.line, key_at.column, end - at)
            at = self._skip(end)
            if self._text[at : at + 1] != ":":
                self._fail(at, "expected `:` after the key")
            self._path.append(key)
            value, at = self._value(self._skip(at + 1), depth + 1)
            self._path.pop()
            if key in node:
                path = ".".join([*self._path, key])
                hint = f"It stands in line {node.key_place(key).line} already."
                self.problems.append(where.problem("duplicate_key", path, f"`{key}` is given twice", hint))
            else:
                node[key] = value
                node.keys_at[key] = where
            at = self._skip(at)
            mark = self._text[at : at + 1]
            if mark == "}":
                return node, at + 1
            if mark != ",":
                self._fail(at, "expected `,` or `}`")
            at = self._skip(at + 1)

    def _array(self, at: int, depth: int) -> tuple[Seq, int]:
        place = self._place(at)
        node = Seq(self.source, place.line, place.column)
        at = self._skip(at + 1)
        if self._text[at : at + 1] == "]":
            return node, at + 1
        while True:
            value, at = self._value(at, depth + 1)
            node.append(value)
            at = self._skip(at)
            mark = self._text[at : at + 1]
            if mark == "]":
                return node, at + 1
            if mark != ",":
                self._fail(at, "expected `,` or `]`")
            at = self._skip(at + 1)

    def _string(self, at: int) -> tuple[str, int]:
        found = _STRING.match(self._text, at)
        if found is None:
            self._fail(at, "this text is never closed, or holds a bad escape or a control character")
        text = found.group(1)
        if "\\" in text:
            text = _ESCAPE.sub(_unescape, text)
        if _HALF.search(text):
            self._fail(at, "half of a surrogate pair is no character")
        return text, found.end()

    def _scalar(self, at: int, end: int, text: str, *, plain: bool) -> Scalar:
        place = self._place(at)
        return Scalar(self.source, place.line, place.column, end - at, text, plain)

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def _place(self, at: int) -> Place:
        # Places are asked for from left to right, so that each line break is counted once.
        if at >= self._seen:
            breaks = self._text.count("\n", self._seen, at)
            if breaks:
                self._line += breaks
                self._line_start = self._text.rfind("\n", self._seen, at) + 1
            self._seen = at
        return Place(self.source, self._line, at - self._line_start + 1)

    def _fail(self, at: int, message: str) -> NoReturn:
        rest = self._text[at : at + 2]
        hint = ""
        if rest in ("//", "/*") or rest[:1] == "#":
            hint = "JSON has no comments; name the file .yaml to use them."
        elif rest[:1] == "'":
            hint = "JSON has double quotes only."
        elif rest[:1] in ("}", "]"):
            hint = "A comma before a closing bracket is not JSON."
        raise Refused(self._place(at).problem("syntax", "", message, hint))


def _unescape(found: re.Match[str]) -> str:
    high, low, single, short = found.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00))
    if single:
        return chr(int(single, 16))
    return _SHORT[short]
