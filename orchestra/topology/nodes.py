"""What a parsed file is made of: dicts, lists and scalars that remember where they stand.

`Map` is a dict and `Seq` a list, so that pydantic validates them as they are; a `Scalar` keeps its source text,
because only the field it lands in knows how to read it: `1.10` is a number in one place and text in another.
Lines and columns count from 1, as Problem has them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestra.errors import Problem

if TYPE_CHECKING:
    from orchestra.bindings import Template

EXCERPT_MAX = 2000  # characters kept of a line; what lies beyond is not shown
# What each parser counts as the end of a line; PyYAML follows YAML 1.1 here.
_YAML_BREAKS = re.compile("\r\n|\r|\n|\x85|\u2028|\u2029")
_JSON_BREAKS = re.compile("\r?\n")


class Source:
    """One file: its path as problems show it, its folder, its text."""

    __slots__ = ("_breaks", "_lines", "folder", "path", "text")

    def __init__(self, path: str, folder: str, text: str) -> None:
        self.path = path
        self.folder = folder  # absolute
        self.text = text
        self._lines: list[str] | None = None
        self._breaks = _JSON_BREAKS if path.endswith(".json") else _YAML_BREAKS

    def position(self, index: int) -> tuple[int, int]:
        """Return the line and the column of a character of the text."""
        last, line = 0, 1
        for found in self._breaks.finditer(self.text, 0, index):
            last, line = found.end(), line + 1
        return line, index - last + 1

    def line(self, number: int) -> str:
        """Return a line without its break; "" when there is none of that number."""
        if self._lines is None:
            self._lines = self._breaks.split(self.text)
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def excerpt(self, line: int, column: int) -> str:
        """Return the line as far as it can be shown; "" when the column lies too far right."""
        return self.line(line)[:EXCERPT_MAX] if column <= EXCERPT_MAX else ""


class Place(NamedTuple):
    """Where something stands; `width` is what a caret underlines, 0 = to the end of the line."""

    source: Source
    line: int
    column: int
    width: int = 1

    def problem(self, code: str, path: str, message: str, help: str = "") -> Problem:  # noqa: A002 the field's name
        """Return a finding at this place."""
        width = self.width
        if width <= 0:
            width = max(1, len(self.source.line(self.line).rstrip()) - self.column + 1)
        excerpt = self.source.excerpt(self.line, self.column)
        return Problem(self.source.path, self.line, self.column, code, path, message, help, excerpt, width)

    def __str__(self) -> str:
        return f"{self.source.path}:{self.line}"


class Scalar:
    """A value as written. `plain` means without quotes: only then may it be a number, a boolean or nothing."""

    __slots__ = ("broken", "column", "line", "origin", "plain", "source", "substituted", "template", "text", "width")

    def __init__(self, source: Source, line: int, column: int, width: int, text: str, plain: bool) -> None:
        self.source = source
        self.line = line
        self.column = column
        self.width = width
        self.text = text
        self.plain = plain
        self.substituted = False  # the text came out of `${…}`: it is read as whatever the field wants
        self.broken = False  # a problem was reported already; readers keep quiet
        self.template: Template | None = None  # set where placeholders stay until launch
        self.origin: tuple[str, ...] = ()  # where substituted values came from

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.source, self.line, self.column, self.width)

    def __repr__(self) -> str:
        return f"Scalar({self.text!r}, line {self.line})"


class Map(dict[str, Any]):
    """A mapping. `keys_at` holds the place of each key."""

    __slots__ = ("column", "height", "keys_at", "line", "nodes", "source")

    def __init__(self, source: Source, line: int, column: int) -> None:
        super().__init__()
        self.source = source
        self.line = line
        self.column = column
        self.keys_at: dict[str, Place | tuple[int, int, int]] = {}  # a bare tuple is in our own source
        self.nodes = 1  # nodes below and here, aliases expanded
        self.height = 1

    @property
    def place(self) -> Place:
        """Where it starts."""
        return Place(self.source, self.line, self.column)

    def key_place(self, key: str) -> Place:
        """Return the place of a key of this mapping."""
        at = self.keys_at.get(key)
        if at is None:
            return self.place
        return at if isinstance(at, Place) else Place(self.source, *at)


class Seq(list[Any]):
    """A list."""

    __slots__ = ("column", "height", "line", "nodes", "source")

    def __init__(self, source: Source, line: int, column: int) -> None:
        super().__init__()
        self.source = source
        self.line = line
        self.column = column
        self.nodes = 1
        self.height = 1

    @property
    def place(self) -> Place:
        """Where it starts."""
        return Place(self.source, self.line, self.column)


Node = Scalar | Map | Seq

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAYBE_NUMBER = frozenset("0123456789+-.")
DIGITS_MAX = 400  # more is no number of ours, and int() takes quadratic time

Core = str | int | float | bool | None


class LeadingZero(ValueError):
    """A plain `0600`: octal to some readers, decimal to others, text to the rest."""


def read_plain(text: str) -> Core:
    """Return the value of a plain scalar by the core rules of YAML 1.2. Raises LeadingZero."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] not in _MAYBE_NUMBER or len(text) > DIGITS_MAX:
        return text
    if _INT.fullmatch(text):
        digits = text.lstrip("+-")
        if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
            raise LeadingZero(text)
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        lower = text.lower()
        return float(lower.replace(".inf", "inf").replace(".nan", "nan"))
    return text


def is_nothing(node: Any) -> bool:
    """Whether a value is a key with nothing behind it, or one of the words for that."""
    return type(node) is Scalar and node.plain and node.text in _NULLS


def core_value(scalar: Scalar) -> Core:
    """Return what a scalar is without a field to read it: quoted text stays text. Raises LeadingZero."""
    return read_plain(scalar.text) if scalar.plain else scalar.text


def plain_data(node: Any) -> Any:
    """Return a node as ordinary data, for `x-*`. Raises LeadingZero."""
    if isinstance(node, Scalar):
        return core_value(node)
    if isinstance(node, dict):
        return {key: plain_data(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [plain_data(item) for item in node]
    return node
