"""A tree of values as YAML that can be read back, each line with a comment that says where the value comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestra.views.ansi import PLAIN, Paint, clean
from orchestra.views.table import display_width

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
# Words that some YAML reader takes for something other than text.
_NO_TEXT = frozenset(["true", "false", "null", "yes", "no", "on", "off", "y", "n"])
_COMMENT_COLUMN = 44


class Literal(str):
    """Text that stands as it is: `0o600`, `0x4f524331`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value, or a mapping of further leaves, and where it comes from."""

    value: Any
    origin: str = ""


def render_tree(tree: Mapping[str, Leaf], paint: Paint = PLAIN) -> str:
    """Return the tree as YAML with comments."""
    return "".join(line + "\n" for line in _lines(tree, 0, paint))


def plain(tree: Mapping[str, Leaf]) -> dict[str, Any]:
    """Return the tree as ordinary data, without the origins."""
    return {key: plain(leaf.value) if _is_tree(leaf.value) else _ordinary(leaf.value) for key, leaf in tree.items()}


def origins(tree: Mapping[str, Leaf], prefix: str = "") -> dict[str, str]:
    """Return where each value comes from, by its dotted path."""
    found: dict[str, str] = {}
    for key, leaf in tree.items():
        if _is_tree(leaf.value):
            found |= origins(leaf.value, f"{prefix}{key}.")
        else:
            found[prefix + key] = leaf.origin
    return found


def _lines(tree: Mapping[str, Leaf], depth: int, paint: Paint) -> list[str]:
    lines = []
    for key, leaf in tree.items():
        head = f"{'  ' * depth}{_text(key)}:"
        if _is_tree(leaf.value):
            lines.append(head)
            lines += _lines(leaf.value, depth + 1, paint)
        else:
            lines.append(_commented(f"{head} {_scalar(leaf.value)}", leaf.origin, paint))
    return lines


def _commented(text: str, origin: str, paint: Paint) -> str:
    if not origin:
        return text
    gap = " " * max(2, _COMMENT_COLUMN - display_width(text))
    return f"{text}{gap}{paint('# ' + clean(origin), 'dim')}"


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(str(key))}: {_scalar(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    raise TypeError(type(value).__name__)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXT:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _is_tree(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(item, Leaf) for item in value.values())


def _ordinary(value: Any) -> Any:
    return str(value) if isinstance(value, Literal) else value
