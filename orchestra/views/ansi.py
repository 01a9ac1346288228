"""Colour and safe text for terminals. Colour repeats what the words already say and never carries meaning alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TextIO

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}

# C0 but tab, DEL, C1: what could move the cursor, clear the screen or retitle a window. Direction marks and line
# separators make text look like other text. Lone surrogates stand for bytes that were no UTF-8.
_ESCAPES = {code: f"\\x{code:02x}" for code in [*range(0x20), 0x7F, *range(0x80, 0xA0)] if code != 0x09}
_ESCAPES |= {code: f"\\u{code:04x}" for code in [0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]}
_ESCAPES |= {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)}
_ESCAPES |= {code: f"\\x{code - 0xDC00:02x}" for code in range(0xDC80, 0xDD00)}


class Paint:
    """Wraps words in colour, or leaves them alone when `enabled` is False."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    def __call__(self, text: str, *styles: str) -> str:
        """Return `text` in the named styles: bold dim red green yellow blue magenta cyan."""
        if not self.enabled or not styles or not text:
            return text
        codes = ";".join(_CODES[style] for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"


PLAIN = Paint(enabled=False)


def wants_colour(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Whether to colour what goes to `stream`: only a terminal, unless FORCE_COLOR says so; NO_COLOR beats both."""
    env = os.environ if environment is None else environment
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR") or env.get("CLICOLOR_FORCE"):
        return True
    return is_terminal(stream) and env.get("TERM") != "dumb"


def is_terminal(stream: TextIO) -> bool:
    """Whether `stream` is an open terminal; a closed stream is none."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def paint_for(stream: TextIO) -> Paint:
    """Return the `Paint` that suits `stream`."""
    return Paint(wants_colour(stream))


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal behind `stream`, or None when it is a file or a pipe: those get every character."""
    if not is_terminal(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def clean(text: str) -> str:
    """Return `text` with control characters and undecodable bytes spelt out (`\\x1b`), safe for any terminal."""
    return text if text.isprintable() else text.translate(_ESCAPES)
