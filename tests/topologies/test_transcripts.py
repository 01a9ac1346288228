"""What the pages of the shipped topologies show is what happens."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.console import Session, agrees, alone
from tests.support.markdown import ROOT, Block, blocks_of, replace_blocks

TOPOLOGIES = ROOT / "topologies"
NAMES = sorted(path.parent.name for path in TOPOLOGIES.glob("*/orchestra.yaml"))
NEEDS = {"ring": "cc", "relay": "cc"}
STEADY = (
    (re.compile(r"\b[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}"), "Sat Jan 31 12:00:00 2026"),
    (re.compile(r"\b(c?[ug]id)=\d+"), r"\1=1000"),
    (re.compile(r"\b(l[rs]pid)=[1-9]\d*"), r"\1=4711"),
    (re.compile(r"\b(sysv-(?:queue|segment|semaphore)):\d+"), r"\1:0"),
    (re.compile(r"no holder seen, though not every process could be looked into"), "held by nobody"),
)
HEADER = re.compile(r"[A-Z]+(  +[A-Z]+( [A-Z]+)*)+")


class Shown(Session):
    def steady(self, text: str) -> str:
        for pattern, steady in STEADY:
            text = pattern.sub(steady, text)
        return aligned(super().steady(text))


def aligned(text: str) -> str:
    """Make the columns of tables as wide as what stands in them now; paths have become shorter."""
    lines = text.splitlines()
    for start, line in enumerate(lines):
        if not HEADER.fullmatch(line):
            continue
        rows = [re.split(r"  +", line)]
        while start + len(rows) < len(lines):
            cells = re.split(r"  +", lines[start + len(rows)])
            if len(cells) != len(rows[0]):
                break
            rows.append(cells)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for number, row in enumerate(rows):
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines[start + number] = "  ".join(padded).rstrip()
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_transcript_is_what_happens(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    needed = NEEDS.get(name)
    if needed and shutil.which(needed) is None:
        pytest.skip(f"no {needed} on this machine")
    page = TOPOLOGIES / name / "transcript.md"
    differing: dict[Block, str] = {}
    with alone() as prefix:
        session = Shown(tmp_path / "s", prefix)
        for block in blocks_of(page):
            actual = session.run(block)
            if not agrees(block.text, actual, ordered="unordered" not in block.argument):
                differing[block] = actual
    if differing and request.config.getoption("--update-docs"):
        replace_blocks(page, differing)
        return
    for block, actual in differing.items():
        assert block.text == actual, f"{block}: run `pytest tests/topologies --update-docs` and read the diff"


@pytest.mark.parametrize("name", NAMES)
def test_each_topology_has_a_page_that_shows_all_of_it(name: str) -> None:
    page = (ROOT / "docs" / "topologies" / f"{name}.md").read_text()
    assert f"topologies/{name}/transcript.md" in page
    assert f"topologies/{name}/orchestra.yaml" in page
    assert name in (ROOT / "docs" / "topologies" / "index.md").read_text()
