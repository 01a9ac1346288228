"""The reference pages say what the program says."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import DOCS, PAGES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_a_generated_page_is_up_to_date(path: Path, request: pytest.FixtureRequest) -> None:
    text = PAGES[path]()
    if request.config.getoption("--update-docs"):
        path.write_text(text)
    assert path.exists(), "run `pytest tests/docs --update-docs`"
    assert path.read_text() == text, "stale: run `pytest tests/docs --update-docs` and read the diff"
