"""Values on the command line: durations, `V=X`, `P=N`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestra.errors import UsageError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def parse_duration(text: str, option: str) -> float:
    """Return seconds: `90`, `500ms`, `30s`, `5m`, `1h30m`, `2d`; a plain number is seconds. Raises UsageError."""
    compact = text.strip()
    if _NUMBER.fullmatch(compact):
        return float(compact)
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise UsageError(f"{option}: `{text}` is no duration", hint="Write 90 (seconds), 500ms, 30s, 5m, 1h30m or 2d.")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def parse_optional_duration(text: str | None, option: str) -> float | None:
    """Return seconds, None when the option was not given. Raises UsageError."""
    return None if text is None else parse_duration(text, option)


def parse_settings(words: Sequence[str], option: str = "--set") -> dict[str, str]:
    """Return `V=X` words as a mapping; the value may be empty or hold further `=`. Raises UsageError."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            lacks = "no `=`" if not equals else "no name before its `=`"
            raise UsageError(f"{option}: `{word}` has {lacks}", hint=f"Write {option} NAME=VALUE.")
        if name in found:
            raise UsageError(f"{option}: {name} is given twice")
        found[name] = value
    return found


def parse_scale(words: Sequence[str], option: str = "--scale") -> dict[str, int]:
    """Return `P=N` words as numbers of replicas. Raises UsageError."""
    found: dict[str, int] = {}
    for name, value in parse_settings(words, option).items():
        if not (value.isascii() and value.isdigit()):
            raise UsageError(f"{option}: `{value}` is no number of replicas", hint=f"Write {option} {name}=3.")
        found[name] = int(value)
    return found
