"""Code blocks of the documentation, with the comment before a block that says what tests do with it.

`<!-- file: NAME -->`  the block is written to NAME before the blocks after it are run
`<!-- run -->`         a console block: its commands are run, the output must be what stands there
`<!-- fragment -->`    a YAML block that is only a part of a topology file
`<!-- wrong -->`       a YAML block that must be refused; so must a `file` block whose NAME begins with wrong
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_DIRECTIVE = re.compile(r"<!-- (file|run|fragment|wrong)(?::? ([^>]*?))? -->")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. `first` and `end` are indices into the page's lines: its content is lines[first:end]."""

    path: Path
    language: str
    directive: str
    argument: str
    text: str
    first: int
    end: int

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.first}"


def blocks_of(path: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order. Indented fences are not looked at."""
    lines = path.read_text().splitlines()
    found = []
    start = 0
    while start < len(lines):
        if not (opening := re.fullmatch(r"(```+)([^`]*)", lines[start])):
            start += 1
            continue
        end = lines.index(opening[1], start + 1)
        mark = _DIRECTIVE.fullmatch(lines[start - 1]) if start else None
        found.append(
            Block(
                path,
                opening[2],
                mark[1] if mark else "",
                (mark[2] or "") if mark else "",
                "\n".join(lines[start + 1 : end]) + "\n",
                start + 1,
                end,
            )
        )
        start = end + 1
    return found


def pages() -> list[Path]:
    """Return every Markdown page of the project, README first; not what a build made."""
    return [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts)]


def replace_blocks(path: Path, texts: dict[Block, str]) -> None:
    """Write new contents into some blocks of one page."""
    lines = path.read_text().splitlines()
    for block in sorted(texts, key=lambda item: item.first, reverse=True):
        lines[block.first : block.end] = texts[block].splitlines()
    path.write_text("\n".join(lines) + "\n")
