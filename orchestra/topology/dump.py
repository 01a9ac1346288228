"""From a topology back to the text of a file that loads as the same topology, in canonical form.

Only what was given is written; short forms come out long, sizes as bytes. Numbers that people read in another base
keep it: `0o600`, `0x4f524331`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from orchestra.bindings import Placeholder, Template
from orchestra.topology.fields import Closed
from orchestra.topology.interpolation import SECTIONS
from orchestra.topology.keys import EXTENSIONS
from orchestra.topology.model import Process, Topology
from orchestra.topology.nodes import read_plain
from orchestra.topology.processmodels import Dependency, Limit, Ready, Rotate, StdinFile, Stop
from orchestra.topology.processvalues import UNLIMITED

Path = tuple[str | int, ...]
Comment = Callable[[Path], str]

SIMPLE_KEY_MAX = 100  # YAML allows 1024, and only on one line
_SIMPLE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_SAFE = re.compile("[ !#-\\[\\]-~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")


class Octal(int):
    """A mode: `0o600` in YAML, "0600" in JSON."""


class Hexadecimal(int):
    """A System V key: `0x…` in YAML, "0x…" in JSON."""


def dump(topology: Topology) -> str:
    """Return the YAML text of a topology."""
    return to_yaml(to_data(topology))


def to_data(topology: Topology, *, defaults: bool = False) -> dict[str, Any]:
    """Return a topology as it would be written: keys in the order of the model, placeholders as `${…}`.

    With `defaults`, keys that were not given are there too.
    """
    sections = {key: section for section in SECTIONS for key in getattr(topology, section)}
    return _Writer(sections, defaults=defaults).model(topology)


class _Writer:
    def __init__(self, sections: Mapping[str, str], *, defaults: bool) -> None:
        self._sections = sections  # object key → section, for placeholders
        self._defaults = defaults

    def model(self, item: Closed) -> dict[str, Any]:
        found: dict[str, Any] = {}
        given = item.model_fields_set
        fields = type(item).model_fields
        for name in sorted(fields, key=lambda name: name != "family"):  # the family first, as people write it
            info, value = fields[name], getattr(item, name)
            key = info.alias or name
            if key == EXTENSIONS:
                continue
            if name in given or (self._defaults and not _empty(value) and not _contradicts(item, name)):
                found[key] = self.field(item, name, value)
        top = isinstance(item, Topology)
        for key, value in getattr(item, "extensions", {}).items():
            found[key] = value if top else _escaped(value)  # those at the top are not interpolated
        return found

    def field(self, item: Closed, name: str, value: Any) -> Any:
        if name in ("mode", "umask"):
            return Octal(value)
        if name == "key" and type(value) is int:
            return Hexadecimal(value)
        if isinstance(item, Process | Stop | Ready) and name in ("command", "exec"):
            return [self.template(word) for word in value or ()]
        if isinstance(item, Process | StdinFile | Ready) and name in ("directory", "file", "unix"):
            return None if value is None else self.template(value)
        if isinstance(item, Process) and name == "environment":
            return {key: self.template(text) for key, text in value.items()}
        if isinstance(item, Process) and name == "arguments":
            return _escaped(dict(value))
        if isinstance(item, Process) and name == "depends_on":
            return {key: self.dependency(entry) for key, entry in value.items()}
        if isinstance(item, Limit) and value == UNLIMITED:
            return "unlimited"
        if isinstance(item, Rotate) and name == "keep" and value is None:
            return "all"
        if isinstance(item, Topology) and name in ("variables", "schema_"):
            return dict(value) if isinstance(value, Mapping) else value  # read as they stand
        return self.value(value)

    def value(self, value: Any) -> Any:
        if isinstance(value, Closed):
            return self.model(value)
        if isinstance(value, StrEnum):
            return value.value
        if isinstance(value, str):
            return _escaped(value)
        if isinstance(value, Mapping):
            return {key: self.value(entry) for key, entry in value.items()}
        if isinstance(value, tuple | list):
            return [self.value(entry) for entry in value]
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    def dependency(self, item: Dependency) -> Any:
        return self.model(item) if item.restart else item.condition.value

    def template(self, template: Template) -> str:
        return "".join(self._part(part) for part in template)

    def _part(self, part: str | Placeholder) -> str:
        if isinstance(part, str):
            return _escaped_text(part)
        if not part.object:
            return f"${{{part.field}}}"
        return f"${{{self._sections.get(part.object, 'queues')}.{part.object}.{part.field}}}"


def _contradicts(item: Closed, name: str) -> bool:
    """Whether a default, written out, would contradict what was given: `value` beside `values`, say."""
    return bool(item.contradictions({*item.model_fields_set, name}, external=bool(getattr(item, "external", False))))


def _empty(value: Any) -> bool:
    return value is None or value == () or value == {} or value == ""


def _escaped_text(text: str) -> str:
    return text.replace("${", "$${")


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return _escaped_text(value)
    if isinstance(value, Mapping):
        return {key: _escaped(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(entry) for entry in value]
    return value


def to_json(data: Any) -> Any:
    """Return data that json.dumps writes so that the JSON file loads as the same topology."""
    if isinstance(data, Octal):
        return f"{int(data):04o}"
    if isinstance(data, Hexadecimal):
        return f"{int(data):#010x}"
    if isinstance(data, Mapping):
        return {key: to_json(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [to_json(value) for value in data]
    return data


# --- YAML ------------------------------------------------------------------------------------------------------


def to_yaml(data: Mapping[str, Any], comment: Comment | None = None) -> str:
    """Return YAML text; `comment` gives the remark behind the line of a path, or ""."""
    return "".join(line + "\n" for line in _lines(data, (), comment or (lambda _: "")))


def _lines(data: Mapping[str, Any], path: Path, comment: Comment) -> Iterator[str]:
    indent = "  " * len(path)
    for key, value in data.items():
        where = (*path, key)
        label = f"{indent}{_key(key)}:"
        if not _block_key(key):
            label = f"{indent}? {quoted(key)}\n{indent}:"
        if isinstance(value, Mapping) and value and not key.startswith("x-"):
            yield label
            yield from _lines(value, where, comment)
        else:
            remark = comment(where)
            yield f"{label} {flow(value)}" + (f"  # {remark}" if remark else "")


def _block_key(key: str) -> bool:
    return len(key) <= SIMPLE_KEY_MAX


def _key(key: str) -> str:
    return key if _SIMPLE.fullmatch(key) and isinstance(read_plain(key), str) else quoted(key)


def flow(value: Any) -> str:
    """Return a value in flow style, on one line."""
    if isinstance(value, Octal):
        return f"0o{int(value):o}"
    if isinstance(value, Hexadecimal):
        return f"{int(value):#010x}"
    if isinstance(value, Mapping):
        pairs = (f"{'' if _block_key(key) else '? '}{_key(key)}: {flow(entry)}" for key, entry in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(entry) for entry in value) + "]"
    if isinstance(value, str):
        return value if _SIMPLE.fullmatch(value) and isinstance(read_plain(value), str) else quoted(value)
    if isinstance(value, float):
        return {float("inf"): ".inf", float("-inf"): "-.inf"}.get(value, ".nan" if value != value else repr(value))
    return json.dumps(value)


def quoted(text: str) -> str:
    """Return a text in double quotes, with everything escaped that YAML does not take as it is."""
    if _SAFE.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(_character(char) for char in text) + '"'


def _character(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char in "\n\t\r":
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}[char]
    if _SAFE.fullmatch(char):
        return char
    number = ord(char)
    if 0xD800 <= number <= 0xDFFF:
        return "\\ufffd"  # half of a pair, out of a name that is not UTF-8: no YAML can hold it
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
