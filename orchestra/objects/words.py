"""PURE: phrases that errors and evidence share."""

from __future__ import annotations

from orchestra.kinds import Holders

_NAMED_HOLDERS = 5  # more are counted, not listed


def holders_in_words(found: Holders) -> str:
    """Return `held by 12 (python3), 14 (sh)`, or that nobody is seen to, and whether everybody could be looked at."""
    named = [f"{holder.pid} ({holder.command})" for holder in found.holders[:_NAMED_HOLDERS]]
    if len(found.holders) > _NAMED_HOLDERS:
        named.append(f"{len(found.holders) - _NAMED_HOLDERS} more")
    if named:
        return f"held by {', '.join(named)}"
    return "held by nobody" if found.complete else "no holder seen, though not every process could be looked into"
