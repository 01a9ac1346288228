"""`include`: other files merged into one, each with its own places and its own folder for relative paths.

Entries of an included file come first, as if they stood above. The same name twice is an error that names both
places; a file that is reached twice is merged once; a file that includes itself, over however many others, is refused.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestra.errors import Problem
from orchestra.topology.composer import BYTES_MAX, compose
from orchestra.topology.interpolation import SECTIONS, Scope, Unresolved, dotted, expand, token_place
from orchestra.topology.nodes import Map, Place, Scalar, Seq, Source

FILES_MAX = 64
MERGED = ("variables", *SECTIONS, "processes")
OWN = ("version", "name", "description", "include", "$schema")  # of each file for itself

Reader = Callable[[str], bytes]


def read_file(path: str) -> bytes:
    """Return the content of a file, no more than can be a topology."""
    with open(path, "rb") as file:
        return file.read(BYTES_MAX + 1)


@dataclass
class Reading:
    """One root file and all that it includes, while they are read."""

    read: Reader
    given: dict[str, str]
    environment: dict[str, str]
    cwd: str
    problems: list[Problem] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    _done: set[str] = field(default_factory=set)

    def root(self, path: str) -> Map | None:
        """Return the merged document, or None when the file cannot be read at all."""
        absolute = normal(path, self.cwd)
        return self._file(path, absolute, [absolute], None)

    def _file(self, shown: str, absolute: str, chain: list[str], asked: tuple[Place, str] | None) -> Map | None:
        folder = posixpath.dirname(absolute)
        try:
            data = self.read(absolute)
        except (OSError, ValueError) as err:
            self.problems.append(_unreadable(shown, err, asked))
            return None
        document, problems = compose(data, shown, folder)
        self.problems += problems
        self._done.add(absolute)
        if document is None:
            return None
        self.sources.append(document.source)
        if asked is not None and "version" not in document:
            place = Place(document.source, 1, 1)
            self.problems.append(
                place.problem("missing_key", "", "`version` is missing", "Start the file with `version: 1`.")
            )
        return self._with_includes(document, shown, chain)

    def _with_includes(self, document: Map, shown: str, chain: list[str]) -> Map:
        included = document.get("include")
        if included is None and len(chain) == 1:
            return document
        merged = Map(document.source, document.line, document.column)
        for index, item in enumerate(included if isinstance(included, Seq) else ()):
            if not isinstance(item, Scalar) or not self._filled(item, document, index):
                continue
            target = normal(item.text, document.source.folder)
            if target in chain:
                steps = " → ".join(posixpath.basename(step) for step in [*chain[chain.index(target) :], target])
                self._report(item, index, "cycle", f"the file includes itself: {steps}")
            elif target not in self._done:
                if len(self._done) >= FILES_MAX:
                    self._report(item, index, "too_large", f"more than {FILES_MAX} files")
                    break
                name = item.text if item.text.startswith("/") else posixpath.join(posixpath.dirname(shown), item.text)
                part = self._file(name, target, [*chain, target], (item.place, dotted(("include", index))))
                if part is not None:
                    self._merge(merged, part)
        self._merge(merged, document)
        for key in OWN:
            merged.pop(key, None)
            if key in document:
                merged[key] = document[key]
                merged.keys_at[key] = document.key_place(key)
        return merged

    def _filled(self, item: Scalar, document: Map, index: int) -> bool:
        """Fill in the variables of a path; the file's own ones, because nothing is merged yet."""
        if item.broken or not item.text or "${" not in item.text:
            return not item.broken and bool(item.text)
        declared = document.get("variables")
        variables = (
            {key: node for key, node in declared.items() if isinstance(node, Scalar)}
            if isinstance(declared, Map)
            else {}
        )
        try:
            expanded = expand(item.text, Scope(self.given, variables, self.environment, self.cwd), late=False)
        except Unresolved as err:
            item.broken = True
            if err.code:
                place = token_place(item, err.token)
                self.problems.append(place.problem(err.code, dotted(("include", index)), err.message, err.hint))
            return False
        item.text = "".join(str(part) for part in expanded.parts)
        item.substituted = True
        return bool(item.text)

    def _merge(self, into: Map, part: Map) -> None:
        for key, node in part.items():
            place = part.key_place(key)
            known = into.get(key)
            if key in MERGED and isinstance(known, Map) and isinstance(node, Map):
                self._merge_section(key, known, node)
            elif not (key in MERGED and isinstance(known, Map) and _is_nothing(node)):  # an empty section adds nothing
                into[key] = _copy(node) if key in MERGED and isinstance(node, Map) else node
                into.keys_at[key] = place

    def _merge_section(self, section: str, into: Map, part: Map) -> None:
        for name, node in part.items():
            place = part.key_place(name)
            if name in into:
                first = into.key_place(name)
                self.problems.append(
                    place.problem("duplicate_key", dotted((section, name)), f"`{name}` is declared in {first} already")
                )
                continue
            into[name] = node
            into.keys_at[name] = place

    def _report(self, item: Scalar, index: int, code: str, message: str) -> None:
        item.broken = True
        self.problems.append(item.place.problem(code, dotted(("include", index)), message))


def normal(path: str, folder: str) -> str:
    """Return an absolute path without `.` and `..`; links are left alone, because nothing is looked up here."""
    return posixpath.normpath(posixpath.join(folder, path))


def _copy(node: Map) -> Map:
    """Return a mapping that can be merged into without touching the file's own, keys with their full places."""
    copied = Map(node.source, node.line, node.column)
    for key, value in node.items():
        copied[key] = value
        copied.keys_at[key] = node.key_place(key)
    return copied


def _is_nothing(node: object) -> bool:
    return isinstance(node, Scalar) and node.plain and not node.text


def _unreadable(shown: str, err: OSError | ValueError, asked: tuple[Place, str] | None) -> Problem:
    if isinstance(err, FileNotFoundError):
        message, hint = "there is no such file", ""
    elif isinstance(err, IsADirectoryError):
        message, hint = "this is a folder", f"Name the file in it: {posixpath.join(shown, 'orchestra.yaml')}"
    elif isinstance(err, PermissionError):
        message, hint = "no permission to read it", "Check the permissions of the file and of its folders."
    elif isinstance(err, OSError):
        message, hint = f"cannot be read: {err.strerror or err}", ""
    else:
        message, hint = f"this is no path: {err}", ""
    if asked is not None:
        place, path = asked
        return place.problem("unreadable", path, f"`{shown}`: {message}", hint)
    return Place(Source(shown, "", ""), 0, 0).problem("unreadable", "", message, hint)
