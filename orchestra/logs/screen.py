"""What a terminal may be sent: colour or none, and no character that could drive it.

Control characters that a child wrote are shown as escapes: C0, DEL, C1, and those that turn the direction of text
round. The rules for when to use colour are here and nowhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from typing import Final, TextIO

# Tabs pass; newlines are dealt with before. U+061C, U+200E/F, U+202A to E, U+2066 to 9: bidirectional controls;
# U+2028/9: line and paragraph separator; surrogates cannot be printed at all.
_UNSAFE: Final = "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"


def use_colour(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Whether to send colour to a stream: NO_COLOR, then FORCE_COLOR, then TERM=dumb, then whether it is a terminal."""
    env = os.environ if environment is None else environment
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    if env.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def escape(text: str) -> str:
    r"""Return text that is safe to print on one line: `\x1b`, `\n`, `\u202e` for what is not."""
    return text if text.isprintable() else _unsafe().sub(_escaped, text)  # nothing unsafe is printable


@cache
def _unsafe() -> re.Pattern[str]:
    return re.compile(_UNSAFE)  # takes two milliseconds, and most commands never meet such text


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
