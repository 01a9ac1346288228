"""Points in time as text: RFC 3339 for programs, local time for people."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(epoch: float | None) -> str | None:
    """Return seconds since the epoch as `2026-11-23T12:33:01.000000Z`; None stays None."""
    if epoch is None:
        return None
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def clock(epoch: float | None, now: float) -> str | None:
    """Return local time for a table: the time of day within the last day, else the date as well."""
    if epoch is None:
        return None
    shape = "%H:%M:%S" if 0 <= now - epoch < 20 * 3600 else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(epoch).astimezone().strftime(shape)
