"""The transcripts of README and documentation are what the program prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.console import Session, agrees, alone
from tests.support.markdown import Block, blocks_of, pages, replace_blocks

RUNNABLE = [page for page in pages() if any(block.directive == "run" for block in blocks_of(page))]


def page_id(path: Path) -> str:
    return path.stem


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=page_id)
def test_a_transcript_is_what_happens(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    differing: dict[Block, str] = {}
    with alone() as prefix:
        session = Session(tmp_path / "s", prefix)
        for block in blocks_of(page):
            if block.directive == "file":
                session.write(block)
            elif block.directive == "run":
                actual = session.run(block)
                if not agrees(block.text, actual, ordered="unordered" not in block.argument):
                    differing[block] = actual
    if differing and request.config.getoption("--update-docs"):
        replace_blocks(page, differing)
        return
    for block, actual in differing.items():
        assert block.text == actual, f"{block}: run `pytest tests/docs --update-docs` and read the diff"


def test_the_readme_and_the_tutorial_are_among_them() -> None:
    assert {"README", "tutorial"} <= {page.stem for page in RUNNABLE}


def test_a_wildcard_line_stands_for_any_number_of_lines() -> None:
    assert agrees("a\n…\nd\n", "a\nb\nc\nd\n")
    assert agrees("a\n…\nd\n", "a\nd\n")
    assert not agrees("a\n…\nd\n", "a\nb\n")


def test_a_wildcard_inside_a_line_stands_for_anything_in_it() -> None:
    assert agrees("pid … ended\n", "pid 12 ended\n")
    assert not agrees("pid … ended\n", "pid 12 failed\n")
    assert agrees("a: pid 1\nb: pid 2\n", "b: pid 1\na: pid 2\n", ordered=False)


def test_columns_may_differ_in_width_but_not_in_words() -> None:
    assert agrees("NAME   STATE\nworker up\n", "NAME STATE\nworker   up\n")
    assert not agrees("a b\n", "ab\n")
