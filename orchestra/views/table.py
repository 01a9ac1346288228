"""Tables without borders: an upper-case header, columns two spaces apart, numbers to the right.

To a file or a pipe every cell is whole. On a terminal a table that is too wide gives up characters in its `shrink`
columns, widest first, and marks the cut with an ellipsis; rows never wrap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple
from unicodedata import combining, east_asian_width

from orchestra.views.ansi import PLAIN, Paint, clean

GAP = "  "
EMPTY = "-"
_SHRINK_FLOOR = 8  # columns a shrunk cell keeps


class Column(NamedTuple):
    """One column. `styles` maps a cell's text to colours."""

    title: str
    right: bool = False
    shrink: bool = False
    styles: Callable[[str], Sequence[str]] | None = None


def display_width(text: str) -> int:
    """Columns that `text` takes on a terminal: wide East Asian characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def cell(value: object) -> str:
    """Return a value as a cell: None and empty become a dash, control characters are spelt out."""
    text = EMPTY if value is None else clean(str(value)).replace("\t", " ")
    return text or EMPTY


def render_table(
    columns: Sequence[Column], rows: Sequence[Sequence[object]], *, width: int | None = None, paint: Paint = PLAIN
) -> str:
    """Return the table as text, each line ended; only the header when there are no rows."""
    cells = [[cell(value) for value in row] for row in rows]
    titles = [column.title.upper() for column in columns]
    widths = [max(display_width(line[i]) for line in [titles, *cells]) for i in range(len(columns))]
    if width is not None:
        widths = _shrunk(columns, widths, width)
    lines = [_line(columns, titles, widths, Paint(enabled=False))]
    lines[0] = paint(lines[0], "bold")
    lines += [_line(columns, row, widths, paint) for row in cells]
    return "".join(line + "\n" for line in lines)


def _shrunk(columns: Sequence[Column], widths: list[int], limit: int) -> list[int]:
    widths = list(widths)
    for _ in range(sum(widths)):
        excess = sum(widths) + len(GAP) * (len(widths) - 1) - limit
        able = [i for i, column in enumerate(columns) if column.shrink and widths[i] > _SHRINK_FLOOR]
        if excess <= 0 or not able:
            break
        widths[max(able, key=lambda i: widths[i])] -= 1
    return widths


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], paint: Paint) -> str:
    parts = []
    for column, text, width in zip(columns, cells, widths, strict=True):
        shown = _cut(text, width)
        pad = " " * (width - display_width(shown))
        painted = paint(shown, *column.styles(text)) if column.styles else shown
        parts.append(pad + painted if column.right else painted + pad)
    return GAP.join(parts).rstrip()


def _cut(text: str, width: int) -> str:
    if display_width(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += display_width(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"
