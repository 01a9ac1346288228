"""Colour and safe text for terminals. Colour repeats what the words already say and never carries meaning alone."""

from __future__ import annotations

import os
from typing import TextIO

from orchestra.logs.screen import escape, use_colour

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


def is_terminal(stream: TextIO) -> bool:
    """Whether `stream` is an open terminal; a closed stream is none."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def paint_for(stream: TextIO) -> Paint:
    """Return the `Paint` that suits `stream`."""
    return Paint(use_colour(stream))


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
    return escape(text)
