"""Moments as people give them (`10m`, `14:30`, `2026-01-02T14:30:05Z`), and as the log's timestamps."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestra.errors import UsageError
from orchestra.logs.encode import text_of

SLACK: Final = 60  # seconds by which the clock may have been set back while a log was written
_LAST: Final = 253_402_300_799 - SLACK  # seconds since the epoch: a minute before the year 10000
_UNITS: Final = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
_RELATIVE: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def moved(stamp: str, seconds: float) -> str:
    """Return the timestamp that is so many seconds later, or earlier when negative."""
    moment = datetime.fromisoformat(stamp) + timedelta(seconds=seconds)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_when(text: str, now: float | None = None) -> str:
    """Return a moment that a person gave as a timestamp of the log.

    Either how long ago (`90`, `30s`, `5m`, `1h30m`, `2d`) or a date, a time of today, or both, local unless it says
    otherwise (`2026-01-02`, `14:30`, `2026-01-02T14:30:05Z`). Raises UsageError.
    """
    present = time.time() if now is None else now
    given, text = text, text.strip()
    try:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return _stamp(present - float(text))
        if _RELATIVE.fullmatch(text):
            return _stamp(present - sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
        if re.fullmatch(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?", text):
            hour, rest = text.split(":", 1)
            text = f"{datetime.fromtimestamp(present).astimezone():%Y-%m-%d}T{hour:0>2}:{rest}"
        return _stamp(datetime.fromisoformat(text.upper()).timestamp())
    except (ValueError, OverflowError, OSError) as err:
        raise UsageError(
            f"{given!r} is not a time",
            hint="Say how long ago (30s, 5m, 1h30m) or when (14:30, 2026-01-02, 2026-01-02T14:30:05Z).",
        ) from err


def _stamp(seconds: float) -> str:
    # No log is from before 1970, and years have four digits: beyond that all moments are alike.
    return text_of(round(min(max(seconds, SLACK), _LAST) * 1_000_000) * 1000)
