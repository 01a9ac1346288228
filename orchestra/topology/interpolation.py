"""`${…}` in parsed values: variables are filled in now, placeholders of objects and replicas stay until launch.

Only `${…}` is special: `$${` is a literal `${`, and `$HOME` passes as it is. Substitution works on values, after
parsing, so no value can change the structure of the file; the field then reads the result as its own type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestra.bindings import PLACEHOLDER_FIELDS, Placeholder, Template
from orchestra.errors import Problem
from orchestra.topology.hints import nearest, nearest_help
from orchestra.topology.nodes import Map, Place, Scalar, Seq
from orchestra.topology.words import SplitError, closing_brace, split

SECTIONS = ("queues", "segments", "semaphores", "pipes")
RESERVED = ("cwd", "replica")  # names of ours, so no variable may have them
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Where placeholders may stand in a process; a key alone stands for all below it.
_LATE_KEYS: tuple[tuple[str, ...], ...] = (
    ("command",), ("environment",), ("directory",), ("ready", "exec"), ("ready", "unix"), ("stop", "command"),
    ("stdin", "file"),
)  # fmt: skip
_COMMANDS: tuple[tuple[str, ...], ...] = (("command",), ("ready", "exec"), ("stop", "command"))
_LATE_HINT = (
    "It may stand in `command`, `environment`, `directory`, `ready: {exec, unix}`, `stop: {command}` and "
    "`stdin: {file}` of a process."
)


class Unresolved(ValueError):
    """One `${…}` that has no value; `token` is its text in the file."""

    def __init__(self, code: str, message: str, hint: str, token: str) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.token = code, message, hint, token


class PlaceholderUse(NamedTuple):
    """A placeholder in the text of a process: `${queues.jobs.name}` is ("queues", "jobs", "name")."""

    path: tuple[str | int, ...]
    section: str
    object: str
    field: str
    place: Place


@dataclass
class Scope:
    """Where names are looked up: --set, then `variables`, then the environment."""

    given: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Scalar] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    mentioned: set[str] = field(default_factory=set)  # every name some `${…}` asked for
    _resolving: list[str] = field(default_factory=list)

    def lookup(self, name: str, token: str) -> tuple[str, str] | None:
        """Return the value of a name and where it came from, or None. Raises Unresolved for one that needs itself."""
        self.mentioned.add(name)
        if name == "cwd":
            return self.cwd, "the caller's folder"
        if name in self.given:
            return self.given[name], f"--set {name}"
        declared = self.variables.get(name)
        if declared is not None:
            return self._declared(name, declared, token)
        if name in self.environment:
            return self.environment[name], f"environment {name}"
        return None

    def _declared(self, name: str, scalar: Scalar, token: str) -> tuple[str, str] | None:
        if scalar.plain and scalar.text in ("", "~", "null", "Null", "NULL"):
            return None  # must be given: reported once, where it is declared
        if "${" not in scalar.text:
            return scalar.text, f"variable {name}, {scalar.place}"
        if name in self._resolving:
            chain = " → ".join([*self._resolving[self._resolving.index(name) :], name])
            raise Unresolved("undefined_variable", f"the variable `{name}` needs its own value: {chain}", "", token)
        self._resolving.append(name)
        try:
            expanded = expand(scalar.text, self, late=False)
        finally:
            self._resolving.pop()
        return "".join(str(part) for part in expanded.parts), f"variable {name}, {scalar.place}"

    def is_required(self, name: str) -> bool:
        """Whether `variables` declares the name without a value, and none was given."""
        scalar = self.variables.get(name)
        return name not in self.given and scalar is not None and self._declared_null(scalar)

    @staticmethod
    def _declared_null(scalar: Scalar) -> bool:
        return scalar.plain and scalar.text in ("", "~", "null", "Null", "NULL")

    def names(self) -> Iterator[str]:
        """Yield the names to suggest from; the environment is too large and too private for that."""
        yield from self.variables
        yield from self.given
        yield from RESERVED


class Expanded(NamedTuple):
    """A text with its variables filled in."""

    parts: Template
    origin: tuple[str, ...] = ()
    placeholders: tuple[tuple[str, str, str], ...] = ()  # (section, object, field) of each


def expand(text: str, scope: Scope, *, late: bool) -> Expanded:
    """Fill in the variables of one text. With `late`, placeholders of objects may stay. Raises Unresolved."""
    parts: list[str | Placeholder] = []
    origin: list[str] = []
    found: list[tuple[str, str, str]] = []
    at = 0
    while (dollar := text.find("${", at)) >= 0:
        if dollar > at and text[dollar - 1] == "$":
            parts.append(text[at : dollar - 1] + "${")
            at = dollar + 2
            continue
        parts.append(text[at:dollar])
        end = closing_brace(text, dollar + 1)
        token = text[dollar:end]
        if not token.endswith("}"):
            raise Unresolved("bad_substitution", "`${` is never closed", "For the text itself, write $${.", token)
        parts.extend(_value(token, scope, late=late, origin=origin, found=found))
        at = end
    parts.append(text[at:])
    return Expanded(_joined(parts), tuple(origin), tuple(found))


def _value(token: str, scope: Scope, *, late: bool, origin: list[str], found: list[tuple[str, str, str]]) -> Template:
    inner = token[2:-1]
    match = _NAME.match(inner)
    name = match.group() if match else ""
    rest = inner[len(name) :]
    if name == "replica" and not rest:
        return (_late(Placeholder("", "replica"), token, late),)
    if name and rest.startswith("."):
        section, key, wanted = _placeholder(inner, token)
        placeholder = _late(Placeholder(key, wanted), token, late)
        found.append((section, key, wanted))
        return (placeholder,)
    if not name or (rest and not rest.startswith((":-", ":?"))):
        raise _malformed(inner, token)
    value = scope.lookup(name, token)
    if rest.startswith(":-") and (value is None or not value[0]):
        default = expand(rest[2:], scope, late=late)
        origin.extend((f"default of {name}", *default.origin))
        found.extend(default.placeholders)
        return default.parts
    if rest.startswith(":?") and (value is None or not value[0]):
        raise Unresolved(
            "undefined_variable", rest[2:] or f"`{name}` must have a value", f"Give it with --set {name}=…", token
        )
    if value is None:
        raise _undefined(name, scope, token)
    origin.append(value[1])
    return (value[0],)


def _undefined(name: str, scope: Scope, token: str) -> Unresolved:
    if scope.is_required(name):  # reported at its declaration; this place stays quiet
        return Unresolved("", "", "", token)
    close = nearest(name, scope.names())
    ways = f"Give it with --set {name}=…, under `variables:`, or write ${{{name}:-default}}."
    hint = f"Did you mean ${{{close}}}?" if close else f"{ways} For the text itself: $${{{name}}}."
    return Unresolved("undefined_variable", f"`{name}` is not defined", hint, token)


def _malformed(inner: str, token: str) -> Unresolved:
    hint = "Known forms: ${NAME}, ${NAME:-default}, ${NAME:?message}, ${queues.jobs.name}. For the text itself: $${."
    match = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)([-=+?])(.*)", inner, re.DOTALL)
    if match and match.group(2) in "-?":
        hint = f"Write ${{{match.group(1)}:{match.group(2)}{match.group(3)}}}."
    return Unresolved("bad_substitution", f"`{token}` is not understood", hint, token)


def _placeholder(inner: str, token: str) -> tuple[str, str, str]:
    words = inner.split(".")
    if words[0] not in SECTIONS:
        hint = nearest_help(words[0], SECTIONS, "Sections are {}.")
        raise Unresolved("bad_placeholder", f"`{words[0]}` is no section of objects", hint, token)
    if len(words) != 3 or not words[1]:
        hint = f"Write ${{{words[0]}.{words[1] or 'jobs'}.FIELD}}, where FIELD is {', '.join(PLACEHOLDER_FIELDS)}."
        raise Unresolved("bad_placeholder", f"`{token}` does not name an object and a field", hint, token)
    if words[2] not in PLACEHOLDER_FIELDS:
        hint = nearest_help(words[2], PLACEHOLDER_FIELDS, "Fields are {}.")
        raise Unresolved("bad_placeholder", f"`{words[2]}` is no field of an object", hint, token)
    return words[0], words[1], words[2]


def _late(placeholder: Placeholder, token: str, late: bool) -> Placeholder:
    if not late:
        message = f"`{token}` is known only when a process starts"
        raise Unresolved("bad_placeholder", message, _LATE_HINT, token)
    return placeholder


def _joined(parts: list[str | Placeholder]) -> Template:
    joined: list[str | Placeholder] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return tuple(joined)


@dataclass
class Interpolator:
    """Fills in a whole tree in place; collects problems and the placeholders that stay."""

    scope: Scope
    problems: list[Problem] = field(default_factory=list)
    placeholders: list[PlaceholderUse] = field(default_factory=list)
    _kept: dict[int, tuple[tuple[str, str, str], ...]] = field(default_factory=dict)  # of scalars seen, by id

    def tree(self, root: Map) -> None:
        """Fill in everything but `variables`, `include` and `x-*` at the top, which only hold anchors."""
        for key, node in root.items():
            if key in ("variables", "include", "$schema") or key.startswith("x-"):
                continue
            if key == "processes" and isinstance(node, Map):
                for name, process in node.items():
                    self._process(process, ("processes", name))
            else:
                self._plain(node, (key,))

    def _process(self, process: object, path: tuple[str | int, ...]) -> None:
        if not isinstance(process, Map):
            return self._plain(process, path)
        self._parts(process, path, ())
        return None

    def _parts(self, node: Map, path: tuple[str | int, ...], below: tuple[str, ...]) -> None:
        """Fill in the keys of a process, or of a mapping in it that has keys of both sorts."""
        for key, item in list(node.items()):
            at = (*below, key)
            if at in _COMMANDS and isinstance(item, Scalar) and not item.template:
                node[key] = self._split(item, (*path, key))
            if at in _LATE_KEYS:
                for where, scalar in _scalars(node[key], (*path, key)):
                    self.scalar(scalar, where, late=True)
            elif not below and isinstance(item, Map) and any(late[0] == key for late in _LATE_KEYS):
                self._parts(item, (*path, key), at)
            else:
                self._plain(item, (*path, key))

    def _plain(self, node: object, path: tuple[str | int, ...]) -> None:
        for where, scalar in _scalars(node, path):
            if "${" in scalar.text or scalar.template is not None:
                self.scalar(scalar, where, late=False)

    def _split(self, scalar: Scalar, path: tuple[str | int, ...]) -> Seq | Scalar:
        if scalar.plain and not isinstance(_as_text(scalar), str):
            return scalar  # a number or nothing: the field has the words for it
        words = Seq(scalar.source, scalar.line, scalar.column)
        try:
            texts = split(scalar.text)
        except SplitError as err:
            self._report(scalar, path, "shell_syntax", err.message, err.hint, err.token)
            return scalar
        for text in texts:
            words.append(Scalar(scalar.source, scalar.line, scalar.column, scalar.width, text, plain=False))
        return words

    def scalar(self, scalar: Scalar, path: tuple[str | int, ...], *, late: bool) -> None:
        """Fill in one value in place; one that an alias shares is filled in once."""
        if id(scalar) in self._kept:
            self._again(scalar, path, late=late)
            return
        if "${" not in scalar.text or scalar.broken or scalar.substituted:
            return
        try:
            expanded = expand(scalar.text, self.scope, late=late)
        except Unresolved as err:
            self._report(scalar, path, err.code, err.message, err.hint, err.token)
            return
        self._kept[id(scalar)] = expanded.placeholders
        if any(isinstance(part, Placeholder) for part in expanded.parts):
            scalar.template = expanded.parts
            self._note(scalar, path)
        else:
            scalar.text = "".join(str(part) for part in expanded.parts)
        scalar.substituted = True
        scalar.origin = expanded.origin

    def _again(self, scalar: Scalar, path: tuple[str | int, ...], *, late: bool) -> None:
        if scalar.template is None:
            return
        if late:
            self._note(scalar, path)
        else:
            message = "a placeholder is known only when a process starts"
            self.problems.append(scalar.place.problem("bad_placeholder", dotted(path), message, _LATE_HINT))

    def _note(self, scalar: Scalar, path: tuple[str | int, ...]) -> None:
        for section, key, wanted in self._kept[id(scalar)]:
            place = token_place(scalar, f"${{{section}.{key}.{wanted}}}")
            self.placeholders.append(PlaceholderUse(path, section, key, wanted, place))

    def _report(
        self, scalar: Scalar, path: tuple[str | int, ...], code: str, message: str, hint: str, token: str
    ) -> None:
        scalar.broken = True
        if code:
            self.problems.append(token_place(scalar, token).problem(code, dotted(path), message, hint))


def token_place(scalar: Scalar, token: str) -> Place:
    """Return the place of a piece of a scalar's text, or of the whole scalar when it cannot be told."""
    line = scalar.source.line(scalar.line)
    start = scalar.column - 1
    end = start + scalar.width if scalar.width > 0 else len(line)
    at = line.find(token, start, end) if token else -1
    return scalar.place if at < 0 else Place(scalar.source, scalar.line, at + 1, len(token))


def dotted(path: tuple[str | int, ...]) -> str:
    """Return a path as problems show it: `processes.worker.command.2`."""
    return ".".join(str(part) for part in path)


def _as_text(scalar: Scalar) -> object:
    from orchestra.topology.nodes import LeadingZero, read_plain

    try:
        return read_plain(scalar.text)
    except LeadingZero:
        return scalar.text


def _scalars(node: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Scalar]]:
    """Yield every scalar below a node, in the order of the file."""
    stack: list[tuple[tuple[str | int, ...], object]] = [(path, node)]
    while stack:
        where, node = stack.pop()
        if isinstance(node, Scalar):
            yield where, node
        elif isinstance(node, dict):
            stack.extend([((*where, key), value) for key, value in node.items()][::-1])
        elif isinstance(node, list):
            stack.extend([((*where, index), value) for index, value in enumerate(node)][::-1])
