"""The catalogue against the code: every event that is logged is in it, with these fields, and nothing else is."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import orchestra
from orchestra.logs.catalogue import EVENTS, LEVELS, EventType

PACKAGE = Path(orchestra.__file__).parent
FAMILIES = {name.split(".")[0] for name in EVENTS}
TYPES = {"string", "integer", "number", "boolean", "array"}
NOT_EVENTS = re.compile(r".*\.(jsonl|json|db|sock|lock|txt|yaml|py|h|key|name|id|fd|path|size)")
# Keywords at a call that are not fields: those of event_record, and what each layer adds by itself.
FRAME = {"run", "process", "replica", "timestamp", "logger", "who"}


@dataclass(frozen=True)
class Site:
    """One call that names an event."""

    where: str
    event: str
    fields: frozenset[str]
    open: bool  # takes ** or a mapping, so more fields may come


def sites() -> Iterator[Site]:
    for where, node in nodes():
        if isinstance(node, ast.Call) and node.args:
            fields = frozenset(word.arg for word in node.keywords if word.arg)
            wide = any(word.arg is None for word in node.keywords) or len(node.args) > 2
            for name in names(node.args[0]):
                yield Site(f"{where}:{node.lineno}", name, fields, wide)


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parts[-2:] != ("logs", "catalogue.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                yield str(path.relative_to(PACKAGE)), node


def names(expression: ast.expr) -> list[str]:
    """Event ids that an argument may be: a literal, or `a if … else b` of them."""
    if isinstance(expression, ast.IfExp):
        return names(expression.body) + names(expression.orelse)
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        return [expression.value] if looks_like_an_event(expression.value) else []
    return []


# Names of functions and methods that take an event first, whoever they belong to.
SAYERS = {"event_record", "Log", "say", "_say", "log", "_log"}
LEVEL_METHODS = {"debug", "info", "warning", "error", "critical"}  # of a structlog logger


def says(call: ast.Call) -> bool:
    """Whether a call logs an event, as far as its looks tell."""
    match call.func:
        case ast.Name(id=name):
            return name in SAYERS
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return name in SAYERS or (name in LEVEL_METHODS and owner in ("log", "logger"))
        case ast.Attribute(attr=name):
            return name in SAYERS
    return False


def looks_like_an_event(text: str) -> bool:
    family, dot, rest = text.partition(".")
    return bool(dot) and family in FAMILIES and rest.replace("_", "").isalpha() and not NOT_EVENTS.fullmatch(text)


SITES = list(sites())


def test_every_event_that_is_logged_is_in_the_catalogue() -> None:
    assert [f"{site.where}: {site.event}" for site in SITES if site.event not in EVENTS] == []


def test_whatever_is_given_to_what_logs_is_in_the_catalogue() -> None:
    """Also an event of a family that the catalogue has not heard of."""
    given = [
        (f"{where}:{node.lineno}", node.args[0])
        for where, node in nodes()
        if isinstance(node, ast.Call) and node.args and says(node) and not where.startswith("client/")
    ]
    literal = [
        (where, word.value)
        for where, first in given
        for word in ast.walk(first)
        if isinstance(word, ast.Constant) and isinstance(word.value, str)
    ]
    assert len(literal) > 30
    assert [f"{where}: {event}" for where, event in literal if event not in EVENTS] == []


def test_every_event_in_the_catalogue_is_logged_somewhere() -> None:
    literals = {node.value for _, node in nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert set(EVENTS) - literals == set()


@pytest.mark.parametrize("site", SITES, ids=lambda site: f"{site.where}-{site.event}")
def test_each_is_logged_with_its_fields(site: Site) -> None:
    kind = EVENTS[site.event]
    assert site.fields <= kind.allowed | FRAME
    assert site.open or kind.required - FRAME <= site.fields


@pytest.mark.parametrize("name", EVENTS)
def test_entries_are_well_formed(name: str) -> None:
    event = EVENTS[name]
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", name)
    assert event.level in LEVELS
    assert set(event.fields.values()) <= TYPES
    assert event.about.endswith(".")
    words = {field for _, field, _, _ in string.Formatter().parse(event.message) if field}
    assert words <= event.required | {"who", "how", "run"}, "a message may use only what is always there"
    assert not words & {"timestamp", "level", "event", "data"}


def test_optional_fields_are_told_from_required_ones() -> None:
    event = EventType("info", "m", "a.", {"a": "string", "b?": "string"})
    assert sorted(event.required) == ["a"]
    assert sorted(event.allowed) == ["a", "b"]
