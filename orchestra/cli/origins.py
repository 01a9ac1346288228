"""A loaded topology as a tree of values, each with where it comes from: file and line, variable, or default."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel

from orchestra.bindings import Placeholder
from orchestra.topology.compile import absolute
from orchestra.topology.include import normal
from orchestra.topology.interpolation import SECTIONS
from orchestra.topology.loader import Loaded
from orchestra.topology.nodes import Map, Scalar, Seq
from orchestra.views.answer import hex_key, octal
from orchestra.views.problems import shown_path
from orchestra.views.tree import Leaf, Literal

DEFAULT = "default"
# A family decides what the other keys of an object mean, so it comes first.
_FIRST = defaultdict(lambda: 1, family=0)
_OMITTED = ("include", "schema_", "extensions")
Path = tuple[str | int, ...]


class Tree:
    """Turns a loaded topology into leaves."""

    def __init__(self, loaded: Loaded, given: Mapping[str, str]) -> None:
        self._given = given
        self._root = loaded.marks.root
        self._marks = loaded.marks
        self._topology = loaded.topology
        self._sections = {key: section for section, key, _ in loaded.topology.objects()}

    def build(self) -> dict[str, Leaf]:
        """Return the whole tree."""
        return self._model(self._topology, ())

    def _model(self, model: BaseModel, path: Path) -> dict[str, Leaf]:
        found: dict[str, Leaf] = {}
        for name in sorted(type(model).model_fields, key=_FIRST.__getitem__):
            value = getattr(model, name)
            if name in _OMITTED or value is None or (isinstance(value, Mapping | str) and not value):
                continue
            if name not in model.model_fields_set and _contradicts(model, name):
                continue
            found[name] = (
                self._variables(value) if (*path, name) == ("variables",) else self._leaf(name, value, (*path, name))
            )
        for name, value in getattr(model, "extensions", {}).items():
            found[name] = Leaf(_escaped(value), self._origin((*path, name)))
        return found

    def _variables(self, declared: Mapping[str, str | None]) -> Leaf:
        """Variables with the values they have in this call."""
        given = {
            name: Leaf(_escaped(value), f"--set {name}") for name, value in self._given.items() if name in declared
        }
        return Leaf(
            {name: given.get(name) or self._leaf(name, value, ("variables", name)) for name, value in declared.items()}
        )

    def _leaf(self, name: str, value: Any, path: Path) -> Leaf:
        if isinstance(value, BaseModel):
            return Leaf(self._model(value, path))
        if isinstance(value, Mapping):
            return Leaf({key: self._leaf(key, item, (*path, key)) for key, item in value.items()})
        return Leaf(self._value(name, value, path), self._origin(path))

    def _value(self, name: str, value: Any, path: Path) -> Any:
        if name == "command":
            return [self._template(word) for word in value]
        if name == "directory":
            return self._template(absolute(value, self._marks.folder(path)))
        if len(path) > 1 and path[-2] == "environment":
            return self._template(value)
        if (name in ("path", "file") and path[0] in SECTIONS) and isinstance(value, str):
            return _escaped(normal(value, self._marks.folder(path)))
        if name == "mode":
            return Literal(octal(value))
        if isinstance(value, Enum):
            return value.value
        if name == "key" and isinstance(value, int):
            return Literal(hex_key(value))
        if name == "grace":
            return Literal(f"{value:g}s")
        return _escaped(list(value) if isinstance(value, tuple) else value)

    def _template(self, template: Sequence[str | Placeholder]) -> str:
        return "".join(_escaped(part) if isinstance(part, str) else self._placeholder(part) for part in template)

    def _placeholder(self, part: Placeholder) -> str:
        if not part.object:
            return "${replica}"
        return f"${{{self._sections[part.object]}.{part.object}.{part.field}}}"

    def _origin(self, path: Path) -> str:
        node = self._exact(path)
        if node is None:
            return DEFAULT
        place = self._marks.place(path)
        parts = [f"{shown_path(place.source.path)}:{place.line}", *_substitutions(node)]
        return ", ".join(dict.fromkeys(parts))

    def _exact(self, path: Path) -> Any:
        """The node at just this path; None when the file does not have it."""
        node: Any = self._root
        for part in path:
            if isinstance(node, Map) and part in node:
                node = node[str(part)]
            elif isinstance(node, Seq):
                node = next((item for item in node if isinstance(item, Scalar) and item.text == part), None)
            elif isinstance(node, Scalar):
                return node  # a short form: the scalar stands for all that is below
            else:
                return None
        return node


def _contradicts(model: BaseModel, name: str) -> bool:
    """Whether a default, spelt out, would contradict what the file says."""
    if getattr(model, "external", False):
        return True
    return name == "value" and getattr(model, "values", None) is not None


def _substitutions(node: Any) -> Iterator[str]:
    if isinstance(node, Scalar):
        yield from node.origin
    elif isinstance(node, Map):
        for item in node.values():
            yield from _substitutions(item)
    elif isinstance(node, Seq):
        for item in node:
            yield from _substitutions(item)


def _escaped(value: Any) -> Any:
    """Text as a file must say it, so that no `${` in it is taken for a variable."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return value
