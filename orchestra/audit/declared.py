"""PURE: which findings are the objects that a topology file declares, whoever made them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orchestra.kinds import Family, Kind
from orchestra.runplan import ObjectPlan

if TYPE_CHECKING:
    from orchestra.audit.report import Finding

Address = tuple[Family, Kind, str | int]


def declared(objects: Sequence[ObjectPlan], instances: Sequence[str]) -> Callable[[Finding], bool]:
    """Return a test of findings: has the name or key that one of `objects` spells out, or is one of `instances`'.

    `instances` are those started from the file; what they made is on our record, whatever its name.
    """
    addresses = {address for plan in objects for address in _addresses(plan)}
    ours = set(instances)

    def is_declared(finding: Finding) -> bool:
        if finding.row is not None:
            return finding.row.instance in ours
        seen = finding.seen
        if seen is None:
            return False
        own: tuple[str | int | None, ...] = (seen.name, seen.key)
        return any((seen.family, seen.kind, word) in addresses for word in own if word)

    return is_declared


def unnamed(objects: Sequence[ObjectPlan]) -> list[str]:
    """Return the keys of those that nobody else could have made under an address of the file's."""
    return [plan.key for plan in objects if not _addresses(plan)]


def _addresses(plan: ObjectPlan) -> list[Address]:
    words: tuple[str | int | None, ...] = (plan.name, plan.ipc_key)
    return [(plan.family, plan.kind, word) for word in words if word]
