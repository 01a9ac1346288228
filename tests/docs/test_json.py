"""The page of JSON answers names exactly the keys that the commands give."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import orchestra
from tests.support.markdown import ROOT

PAGE = (ROOT / "docs" / "reference" / "json.md").read_text()
FREE = {"fields", "summary", "topology"}  # maps whose keys are data; `origins` has them one level down
TOPOLOGY = """\
version: 1
name: answers
segments:
  board: { size: 4KiB }
processes:
  keeper: { command: [sleep, "1000"], uses: [board], service: true }
  sleeper: { command: [sleep, "1000"], uses: [board] }
"""


def documented(command: str) -> set[str]:
    """Return the keys that the page gives for the answer of a command; a holder's stand in a sentence."""
    row = re.search(rf"^\| `orchestra/{command}/1` \|(.*)\|$", PAGE, re.MULTILINE)
    assert row, f"no row for {command}"
    names = set(re.findall(r"`(\w+)`", row[1]))
    if "[finding" in row[1]:
        names |= documented("audit") - {"findings", "summary", "gaps", "notes"}
    if "warnings" in names or "holders" not in names:
        return names
    return names | {"pid", "command", "how"} | ({"started_at", "user", "unit"} if "evidence" in names else set())


def keys_of(answer: Any) -> Iterator[str]:
    """Return every key at every depth, but those that are data."""
    if isinstance(answer, list):
        for item in answer:
            yield from keys_of(item)
    elif isinstance(answer, dict):
        for key, value in answer.items():
            yield key
            if key == "origins":
                yield from keys_of(list(value.values()))
            elif key not in FREE or not isinstance(value, dict):
                yield from keys_of(value)


@pytest.mark.slow
def test_the_page_names_the_keys_of_every_answer(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "orchestra.yaml"
    file.write_text(TOPOLOGY)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nnam: x\nqueues: { unused: {} }\nprocesses: { a: { command: [cat] } }\n")
    assert orchestra("up", "-d", str(file), home=home).code == 0
    try:
        answers = {
            command: answer(home, command, *words)
            for command, words in {
                "ps": ["answers"],
                "objects": ["answers"],
                "ls": [],
                "plan": [str(file)],
                "validate": [str(file), str(wrong)],
                "config": [str(file)],
                "inspect": ["answers.board"],
                "audit": [],
            }.items()
        }
    finally:
        assert orchestra("down", "answers", "--leak", home=home).code == 0
        answers["clean"] = answer(home, "clean", "--kept", "--yes")
    wrong_rows = {}
    for command, found in answers.items():
        shown, given = documented(command), set(keys_of(found)) - {"schema"}
        missing, gone = given - shown, shown - given - OPTIONAL.get(command, set())
        if missing or gone:
            wrong_rows[command] = {"not on the page": missing, "only on the page": gone}
    assert not wrong_rows


OPTIONAL = {
    "clean": {"why", "pid", "command", "how", "started_at", "user", "unit"},  # nothing was left
    "objects": {"pid", "command", "how"},  # nobody is seen to hold it
    "audit": {"pid", "command", "how"},
    "inspect": {"pid", "command", "how"},
}


def answer(home: Path, command: str, *words: str) -> Any:
    """Return the JSON answer of a command, which may well report problems."""
    found = json.loads(orchestra(command, *words, "--format", "json", home=home).out)
    assert found["schema"] == f"orchestra/{command}/1"
    assert next(iter(found)) == "schema"
    return found
