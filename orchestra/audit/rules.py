"""The families of objects that software is known to leave: how they look, what is normal, what may be removed.

The rules are data, in families.json beside this module; the first that fits an object counts. A rule has

    id, software    its name, and whose objects these are; "" for whoever it may be
    kinds           "posix-segment", "sysv-semaphore", "file-folder" …
    name            a pattern for the whole name, without its slash; for what lies in a folder, that of the folder.
                    The group `pid` in it is the process that made the object
    owner, size, mode, members, key, keyed    what else must be so; `keyed` false means IPC_PRIVATE
    unheld          "normal": nothing is wrong when nobody holds it, and `why`; else it should have a holder
    programs        who uses it: `command` is looked for in the short name of a process, `arguments` in its command
                    line, of the object's owner or `any_user`. While one runs that was there before the object,
                    unheld is normal; when none does, the maker is gone
    together        what shares the name's folder or `pid` is removed all or none
    danger          what went wrong where somebody removed it
    remove          whether an orphan of this family may be removed; `instead` says what to do where not
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from orchestra.kernel.api import SHM_FOLDER
from orchestra.kernel.inventory import Seen
from orchestra.kinds import Family, Kind

_IN_SHM = SHM_FOLDER + "/"
_KEYS = {
    "id", "software", "kinds", "name", "owner", "size", "mode", "members", "key", "keyed", "unheld", "why", "programs",
    "together", "danger", "remove", "instead",
}  # fmt: skip


class Programs(NamedTuple):
    """Which programs use the objects of a family."""

    command: re.Pattern[str]
    arguments: re.Pattern[str] | None
    any_user: bool


class Rule(NamedTuple):
    """One family; see the module."""

    id: str
    software: str
    kinds: frozenset[str]
    name: re.Pattern[str] | None
    owner: re.Pattern[str] | None
    size: int | None
    mode: int | None
    members: int | None
    key: int | None
    keyed: bool | None
    normal: bool
    why: str
    programs: Programs | None
    together: bool
    danger: str
    remove: bool
    instead: str


class Match(NamedTuple):
    """A rule that fits an object; the pid that its name carries, and the group it belongs to ("" none)."""

    rule: Rule
    pid: int | None = None
    group: str = ""


class Rules:
    """All rules, sorted by kind. `together`: kinds of which some are removed all or none."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.all = tuple(rules)
        self._of_kind: dict[tuple[Family, Kind], list[Rule]] = {}
        for rule in self.all:
            for word in sorted(rule.kinds):
                family, _, kind = word.partition("-")
                self._of_kind.setdefault((Family(family), Kind(kind)), []).append(rule)
        self._names = {kind: _any_name(rules) for kind, rules in self._of_kind.items()}
        self.together = frozenset(kind for kind, some in self._of_kind.items() if any(one.together for one in some))
        self._keys = frozenset(rule.key for rule in self.all)
        self._numbered: dict[Any, Match | None] = {}

    def match(self, seen: Seen, owner: str) -> Match | None:
        """Return the first rule that fits; `owner` is the name of the object's user."""
        if seen.name is None:
            return self._by_shape(seen, owner)
        kind = seen.family, seen.kind
        name = _key_name(seen.name)
        names = self._names.get(kind)
        if names is not None and not names.fullmatch(name):
            return None
        return self._first(kind, seen, name, owner)

    def _by_shape(self, seen: Seen, owner: str) -> Match | None:
        """System V objects have no names, so many look the same to every rule."""
        shape = (
            seen.kind, owner, seen.size, seen.mode, seen.members, bool(seen.key),
            seen.key if seen.key in self._keys else None,
        )  # fmt: skip
        if shape not in self._numbered:
            self._numbered[shape] = self._first((seen.family, seen.kind), seen, None, owner)
        return self._numbered[shape]

    def _first(self, kind: tuple[Family, Kind], seen: Seen, name: str | None, owner: str) -> Match | None:
        for rule in self._of_kind.get(kind, ()):
            found = _fits(rule, seen, name, owner)
            if found is not None:
                return found
        return None


def _any_name(rules: Iterable[Rule]) -> re.Pattern[str] | None:
    """Return one pattern for all names of a kind, None where a rule goes by something else."""
    names = [rule.name.pattern if rule.name else None for rule in rules]
    if None in names:
        return None
    return re.compile("|".join(f"(?:{re.sub(r'[?]P<pid>', '?:', name or '')})" for name in names), re.DOTALL)


def _key_name(name: str) -> str:
    """The name that rules are about: for what lies in a folder of /dev/shm, that folder's."""
    if name.startswith(_IN_SHM):
        return name[len(_IN_SHM) :].partition("/")[0]
    return name[1:]


def _fits(rule: Rule, seen: Seen, name: str | None, owner: str) -> Match | None:
    pid = None
    if rule.name is not None:
        found = rule.name.fullmatch(name or "")
        if found is None:
            return None
        text = found.groupdict().get("pid")
        pid = int(text) if text else None
    wanted: tuple[tuple[Any, Any], ...] = (
        (rule.size, seen.size), (rule.mode, seen.mode), (rule.members, seen.members), (rule.key, seen.key),
        (rule.keyed, bool(seen.key)),
    )  # fmt: skip
    if any(want is not None and want != have for want, have in wanted):
        return None
    if rule.owner is not None and not rule.owner.fullmatch(owner):
        return None
    return Match(rule, pid, f"{rule.id}:{seen.uid}:{name}" if rule.together else "")


@cache
def load() -> Rules:
    """Read families.json. Raises ValueError for a rule that is not well formed."""
    with open(os.path.join(os.path.dirname(__file__), "families.json"), encoding="utf-8") as file:
        return Rules(rule(item) for item in json.load(file))


def rule(item: Mapping[str, Any]) -> Rule:
    """Return one rule from its JSON object. Raises ValueError, KeyError, re.error."""
    unknown = set(item) - _KEYS
    if unknown:
        raise ValueError(f"a rule has no {', '.join(sorted(unknown))}: {item.get('id')}")
    programs = item.get("programs")
    remove = bool(item.get("remove", False))
    if not remove and not item.get("instead") and item.get("unheld") != "normal":
        raise ValueError(f"{item['id']}: what may not be removed needs an `instead`")
    return Rule(
        id=item["id"],
        software=item["software"],
        kinds=frozenset(item["kinds"]),
        name=_pattern(item.get("name")),
        owner=_pattern(item.get("owner")),
        size=item.get("size"),
        mode=int(item["mode"], 8) if "mode" in item else None,
        members=item.get("members"),
        key=int(item["key"], 16) if "key" in item else None,
        keyed=item.get("keyed"),
        normal=item.get("unheld") == "normal",
        why=item.get("why", ""),
        programs=programs
        and Programs(
            re.compile(programs["command"]), _pattern(programs.get("arguments")), bool(programs.get("any_user"))
        ),
        together=bool(item.get("together", False)),
        danger=item.get("danger", ""),
        remove=remove,
        instead=item.get("instead", ""),
    )


def _pattern(text: str | None) -> re.Pattern[str] | None:
    return None if text is None else re.compile(text, re.DOTALL)
