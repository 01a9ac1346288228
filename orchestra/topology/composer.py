"""From bytes to nodes: a YAML 1.2 composer over PyYAML's event parser, bounded, with the place of every key and value.

The parser of libyaml is used where PyYAML has it, else the pure one, ten times slower but with the same result.
Duplicate keys, tags and keys that are no scalars are collected, so that one pass shows them all; a syntax error or
a limit ends the pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from orchestra.errors import Problem
from orchestra.topology.jsontext import JsonComposer
from orchestra.topology.nodes import Map, Node, Place, Scalar, Seq, Source
from orchestra.topology.syntax import explain
from orchestra.topology.text import Refused, TooLarge, check_size

BYTES_MAX = 4 * 1024 * 1024
DEPTH_MAX = 64
NODES_MAX = 200_000  # after expansion of aliases

# What YAML cannot hold as it is: most control characters, and halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")

Parser = Callable[[str], Any]


def default_parser() -> Parser:
    """Return libyaml's event parser, or the pure one where PyYAML was built without."""
    found: Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return found


def compose(data: bytes, path: str, folder: str, *, parser: Parser | None = None) -> tuple[Map | None, list[Problem]]:
    """Return the root mapping of a file, or None, and every problem found on the way. Never raises.

    `path` is what problems show, `folder` the absolute folder that relative paths count from. A path that ends in
    `.json` is read by the rules of JSON, everything else as YAML.
    """
    source = Source(path, folder, "")
    try:
        source.text = check_size(data, source, BYTES_MAX)
        if path.endswith(".json"):
            composer: JsonComposer | Composer = JsonComposer(source, DEPTH_MAX, NODES_MAX)
        else:
            composer = Composer(source, parser or default_parser())
        root = composer.compose()
    except Refused as refused:
        return None, [refused.problem]
    problems = composer.problems
    if not isinstance(root, Map):
        place = root.place if root is not None else Place(source, 1, 1)
        what = "a list" if isinstance(root, Seq) else "a single value"
        problems.append(
            place.problem(
                "wrong_type", "", f"the file holds {what}, not `key: value` pairs", "Start with `version: 1`."
            )
        )
        return None, problems
    return root, problems


class Composer:
    """Builds nodes out of the events of one document."""

    def __init__(self, source: Source, parser: Parser) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._make_parser = parser
        self._anchors: dict[str, Node] = {}
        self._open: set[str] = set()  # anchors whose node is not finished
        self._count = 0
        self._path: list[str] = []  # keys on the way to the node being read

    def compose(self) -> Node | None:
        """Return the root node. Raises Refused for a syntax error or a limit."""
        bad = _UNPRINTABLE.search(self.source.text)
        if bad is not None:
            self._unprintable(bad.start())
        try:
            loader = self._make_parser(self.source.text)
            self._next: Callable[[], Any] = loader.get_event
            return self._document()
        except yaml.MarkedYAMLError as err:
            raise Refused(explain(err, self.source)) from err
        except yaml.YAMLError as err:
            raise Refused(Place(self.source, 1, 1).problem("syntax", "", f"not YAML: {err}")) from err

    def _document(self) -> Node | None:
        self._next()  # the start of the stream
        event: Any = self._next()
        if type(event) is StreamEndEvent:
            raise Refused(
                Place(self.source, 0, 0).problem("empty", "", "the file is empty", "Start with `version: 1`.")
            )
        root = self._node(self._next(), 1)
        self._next()  # the end of the document
        second: Any = self._next()
        if type(second) is not StreamEndEvent:
            mark = second.start_mark
            place = Place(self.source, mark.line + 1, mark.column + 1, 3)
            hint = "A topology is one document: remove the `---`."
            self.problems.append(place.problem("syntax", "", "a second document starts here", hint))
        return root

    def _node(self, event: Any, depth: int) -> Node:
        kind = type(event)
        self._count += 1
        if self._count > NODES_MAX:
            self._too_large(event)
        if kind is ScalarEvent:
            start, end = event.start_mark, event.end_mark
            line = start.line
            width = end.column - start.column if end.line == line else 0
            style = event.style
            scalar = Scalar(self.source, line + 1, start.column + 1, width, event.value, not style)
            if event.tag is not None:
                self._tag(event, scalar)
            if event.anchor is not None:
                self._anchors[event.anchor] = scalar
            return scalar
        if kind is AliasEvent:
            return self._alias(event, depth)
        if depth > DEPTH_MAX:
            self._too_deep(event)
        node: Map | Seq
        mark = event.start_mark
        node = (Map if kind is MappingStartEvent else Seq)(self.source, mark.line + 1, mark.column + 1)
        if event.tag is not None:
            self._tag(event, node)
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = node
            self._open.add(anchor)
        before = self._count - 1
        if isinstance(node, Map):
            self._pairs(node, depth)
        else:
            self._items(node, depth)
        node.nodes = self._count - before
        if anchor is not None:
            self._open.discard(anchor)
        return node

    def _items(self, node: Seq, depth: int) -> None:
        following = self._next
        tallest = 0
        while type(event := following()) is not SequenceEndEvent:
            item = self._node(event, depth + 1)
            node.append(item)
            if not isinstance(item, Scalar) and item.height > tallest:
                tallest = item.height
        node.height = tallest + 1

    def _pairs(self, node: Map, depth: int) -> None:
        following = self._next
        keys_at = node.keys_at
        path = self._path
        merges: list[tuple[Node, Place]] = []
        tallest = 0
        while type(event := following()) is not MappingEndEvent:
            key = self._node(event, depth + 1)
            path.append(key.text if isinstance(key, Scalar) else "")
            value = self._node(following(), depth + 1)
            path.pop()
            if not isinstance(value, Scalar) and value.height > tallest:
                tallest = value.height
            if type(key) is not Scalar:
                self._bad_key(key)
            elif key.plain and key.text == "<<":
                merges.append((value, key.place))
            elif key.text in keys_at:
                self._duplicate(node, key)
            else:
                keys_at[key.text] = (key.line, key.column, key.width)
                node[key.text] = value
        node.height = tallest + 1
        for value, place in merges:
            self._merge(node, value, place)

    def _merge(self, node: Map, value: Node, place: Place) -> None:
        """Add what `<<` names; the mapping's own keys win, then the earlier of several."""
        parts = value if isinstance(value, Seq) else [value]
        for part in parts:
            if not isinstance(part, Map):
                self.problems.append(
                    place.problem(
                        "bad_merge", "", "`<<` takes a mapping, or a list of mappings", "Write `<<: *anchor`."
                    )
                )
                return
            for key, item in part.items():
                if key not in node:
                    node[key] = item
                    node.keys_at[key] = part.key_place(key)
            node.height = max(node.height, part.height)

    def _alias(self, event: Any, depth: int) -> Node:
        name = event.anchor
        found = self._anchors.get(name)
        mark = event.start_mark
        place = Place(self.source, mark.line + 1, mark.column + 1, len(name) + 1)
        if found is None:
            raise Refused(
                place.problem(
                    "unknown_anchor",
                    "",
                    f"no anchor `&{name}` stands above this",
                    f'For the text itself, quote it: "*{name}"',
                )
            )
        if name in self._open:
            raise Refused(place.problem("unknown_anchor", "", f"`&{name}` contains itself"))
        if not isinstance(found, Scalar):
            self._count += found.nodes - 1
            if self._count > NODES_MAX:
                self._too_large(event)
            if depth - 1 + found.height > DEPTH_MAX:
                self._too_deep(event)
        return found

    def _tag(self, event: Any, node: Node) -> None:
        tag = event.tag
        mark = event.start_mark
        written = self._tag_text(mark)
        place = Place(self.source, mark.line + 1, mark.column + 1, len(written))
        if tag.startswith("!,") or tag == "!":
            message, hint = "`!` alone is read as a YAML tag", 'Quote it: "!"'
        else:
            message, hint = (
                f"tags such as `{written}` are not supported",
                "Remove the tag; for the text itself, quote it.",
            )
        self.problems.append(place.problem("tag", "", message, hint))
        if isinstance(node, Scalar):
            node.broken = True

    def _tag_text(self, mark: Any) -> str:
        rest = self.source.line(mark.line + 1)[mark.column :]
        found = re.match(r"(?:&\S+\s+)?(!<[^>]*>|![^\s,\[\]{}]*)", rest)
        return found.group(1) if found else "!"

    def _bad_key(self, key: Node) -> None:
        self.problems.append(
            key.place.problem("bad_key", "", "a key must be a word, not a list or a mapping", _flow_hint(key))
        )

    def _duplicate(self, node: Map, key: Scalar) -> None:
        first = node.key_place(key.text)
        path = ".".join([*self._path, key.text])
        hint = f"It stands in line {first.line} already."
        self.problems.append(key.place.problem("duplicate_key", path, f"`{key.text}` is given twice", hint))

    def _unprintable(self, index: int) -> NoReturn:
        name = f"U+{ord(self.source.text[index]):04X}"
        raise Refused(
            Place(self.source, *self.source.position(index)).problem(
                "syntax", "", f"the character {name} cannot stand in YAML as it is"
            )
        )

    def _too_large(self, event: Any) -> NoReturn:
        mark = event.start_mark
        raise TooLarge(
            Place(self.source, mark.line + 1, mark.column + 1).problem(
                "too_large", "", f"the file has more than {NODES_MAX:,} values, with aliases expanded"
            )
        )

    def _too_deep(self, event: Any) -> NoReturn:
        mark = event.start_mark
        raise TooLarge(
            Place(self.source, mark.line + 1, mark.column + 1).problem(
                "too_deep", "", f"nested deeper than {DEPTH_MAX} levels"
            )
        )


def _flow_hint(key: Node) -> str:
    line = key.source.line(key.line)
    if line[key.column - 2 : key.column] == "${":
        return 'In flow style `${…}` needs quotes: "${…}"'
    return ""
