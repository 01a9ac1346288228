"""From a path in the document, such as ("processes", "worker", "uses", "jobs"), to the place in the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestra.errors import Problem
from orchestra.topology.interpolation import dotted
from orchestra.topology.nodes import Map, Place, Scalar, Seq

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Marks:
    """The places of everything in a merged file."""

    root: Map

    def node(self, path: Path) -> Any:
        """Return the node at a path; the deepest one there is when it leads nowhere."""
        node: Any = self.root
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            node = found
        return node

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Return where a value stands, or its key. Parts of the path that the file does not have are passed over.

        A mapping, a list or nothing is shown at its key: that is where a reader looks for it.
        """
        node: Any = self.root
        at = Place(self.root.source, 1, 1)
        for index, part in enumerate(path):
            child = _child(node, part)
            if child is None:
                continue
            last = index == len(path) - 1
            at = _place_in(node, part, child, key=key and last)
            node = child
        return at

    def key_place(self, path: Path) -> Place:
        """Return the place of the last key of a path."""
        return self.place(path, key=True)

    def problem(self, path: Path, code: str, message: str, help: str = "", *, key: bool = False) -> Problem:  # noqa: A002
        """Return a finding about the value (or the key) at a path."""
        return self.place(path, key=key).problem(code, dotted(path), message, help)

    def folder(self, path: Path) -> str:
        """Return the folder of the file that this part came from: base of its relative paths."""
        return self.key_place(path).source.folder


def _child(node: Any, part: str | int) -> Any:
    if isinstance(node, Map):
        return node.get(part) if isinstance(part, str) else None
    if isinstance(node, Seq):
        if isinstance(part, int):
            return node[part] if 0 <= part < len(node) else None
        return next((item for item in node if isinstance(item, Scalar) and item.text == part), None)
    return None


def _place_in(parent: Any, part: str | int, child: Any, *, key: bool) -> Place:
    if isinstance(parent, Map) and isinstance(part, str):
        if key or not isinstance(child, Scalar) or (child.plain and not child.text):
            return parent.key_place(part)
        return child.place
    place: Place = child.place
    return place
