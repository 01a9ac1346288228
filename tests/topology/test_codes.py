"""The catalogue of codes is complete, and nothing in it is made up."""

from __future__ import annotations

import re
from pathlib import Path

from orchestra.topology.codes import CODES

CORPUS = Path(__file__).parent / "corpus"
SHOWN = {code for path in CORPUS.rglob("*.txt") for code in re.findall(r"error\[(\w+)\]", path.read_text())}
# No text file can show these: bytes, size and depth (test_composer), the host (test_rules), warnings (test_order and
# test_references).
ELSEWHERE = {"not_utf8", "too_large", "too_deep", "no_dev_shm", "unknown_variable", "unused", "one_sided", "endless"}


def test_every_code_of_the_corpus_is_explained() -> None:
    assert set(CODES) >= SHOWN


def test_every_explained_code_is_shown_by_a_test() -> None:
    assert set(CODES) - SHOWN == ELSEWHERE
