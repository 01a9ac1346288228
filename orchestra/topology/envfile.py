"""Files of `NAME=value` lines, for `env_file`.

What people know of them from containers and shells holds: `#` begins a comment, quotes may span lines, `export` in
front of a name is passed over. A `$` is just that: nothing is filled in.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pydantic_core import PydanticCustomError

from orchestra.topology.keys import check_environment
from orchestra.topology.values import shortened

BYTES_MAX = 2**20
_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([^=\s#'\"]+)[ \t]*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
_COMMENT = re.compile(r"(?:^|[ \t]+)#.*|[ \t]+$")


class Fault(NamedTuple):
    """What is wrong with a file. `line` and `column` count from 1."""

    line: int
    column: int
    message: str
    help: str = ""


class Entries(NamedTuple):
    """The variables of a file in its order, and everything that is wrong with it."""

    values: dict[str, str]
    faults: list[Fault]


def parse(data: bytes) -> Entries:
    """Return what a file says; a name that stands there twice has its last value."""
    if len(data) > BYTES_MAX:
        return Entries({}, [Fault(1, 1, f"more than {BYTES_MAX} bytes are no file of variables")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        return Entries({}, [Fault(line, 1, "this is not UTF-8")])
    return _Parser(text).run()


class _Parser:
    def __init__(self, text: str) -> None:
        self._lines = text.replace("\r\n", "\n").split("\n")
        self._at = 0  # index of the line
        self._values: dict[str, str] = {}
        self._faults: list[Fault] = []

    def run(self) -> Entries:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.strip() and not line.lstrip().startswith("#"):
                self._entry(line)
            self._at += 1
        return Entries(self._values, self._faults)

    def _fault(self, column: int, message: str, hint: str = "", line: int | None = None) -> None:
        self._faults.append(Fault(self._at + 1 if line is None else line, column, message, hint))

    def _entry(self, line: str) -> None:
        found = _NAME.match(line)
        start = len(line) - len(line.lstrip()) + 1
        if found is None or not line.startswith("=", found.end()):
            name = found.group(1) if found else ""
            rest = line[found.end() :].strip() if found else "?"
            if not rest or rest.startswith("#"):
                hint = f"The caller's {name} is passed on anyway. For an empty value write {name}="
                self._fault(start, f"`{shortened(name)}` has no value", hint)
            else:
                self._fault(start, "expected NAME=value")
            return
        name = found.group(1)
        try:
            check_environment(name)
        except PydanticCustomError as err:
            self._fault(found.start(1) + 1, str((err.context or {}).get("message", "")))
            return
        value = self._value(line, found.end() + 1)
        if value is None:
            return
        if "\0" in value:
            self._fault(found.end() + 2, "a NUL character cannot be passed to a program")
            return
        self._values[name] = value

    def _value(self, line: str, at: int) -> str | None:
        rest = line[at:].lstrip(" \t")
        column = len(line) - len(rest)
        if rest[:1] in ("'", '"') and rest:
            return self._quoted(rest[0], column + 1)
        return _COMMENT.sub("", rest, count=1).rstrip(" \t")

    def _quoted(self, quote: str, at: int) -> str | None:
        """Read up to the closing quote, over as many lines as it takes; `at` is the index behind the opening one."""
        first = self._at
        parts: list[str] = []
        while True:
            line = self._lines[self._at]
            while at < len(line):
                char = line[at]
                if char == quote:
                    return self._closed(line, at, parts)
                if char == "\\" and quote == '"' and line[at + 1 : at + 2] in _ESCAPES and at + 1 < len(line):
                    parts.append(_ESCAPES[line[at + 1]])
                    at += 2
                else:
                    parts.append(char)
                    at += 1
            if self._at + 1 >= len(self._lines):
                self._fault(self._lines[first].index(quote) + 1, "a quote is never closed", line=first + 1)
                return None
            parts.append("\n")
            self._at, at = self._at + 1, 0

    def _closed(self, line: str, at: int, parts: list[str]) -> str | None:
        behind = line[at + 1 :].strip()
        if behind and not behind.startswith("#"):
            self._fault(at + 2, "text follows the closing quote", "Put all of the value into the quotes.")
            return None
        return "".join(parts)
