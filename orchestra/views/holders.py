"""Who holds an object, as text and as JSON."""

from __future__ import annotations

from typing import Any

from orchestra.kinds import Holders

NOT_SEEN = "?"
_NAMED_IN_A_CELL = 2


def answer(holders: Holders) -> list[dict[str, Any]]:
    """Return the holders that were seen: pid, command, how."""
    return [{"pid": holder.pid, "command": holder.command, "how": holder.how} for holder in holders.holders]


def words(holders: Holders) -> str:
    """Return a cell: the first few holders by pid and command, a count of the rest, `?` where we may not look."""
    seen = list({holder.pid: holder for holder in holders.holders}.values())
    parts = [f"{holder.pid} {holder.command}" for holder in seen[:_NAMED_IN_A_CELL]]
    if len(seen) > _NAMED_IN_A_CELL:
        parts.append(f"+{len(seen) - _NAMED_IN_A_CELL}")
    if not holders.complete:
        parts.append(NOT_SEEN)
    return ", ".join(parts)
