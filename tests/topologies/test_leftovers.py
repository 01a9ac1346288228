"""leftovers: what is kept is there, known, found again, and removed when asked."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from orchestra.kinds import OBJECT_KINDS
from tests.support.cli import orchestra
from tests.topologies.conftest import Up, said

pytestmark = pytest.mark.slow
NAMED = {"letters", "parcels", "board", "table", "journal", "slots", "locks", "control"}


def test_one_object_of_each_named_kind_is_left_and_found_again(up: Up, home: Path, tmp_path: Path) -> None:
    first = up("leftovers", "--set", f"folder={tmp_path}")
    second = up("leftovers", "--set", f"folder={tmp_path}")
    assert (first.code, second.code) == (0, 0), second.err
    assert said(first, "taker")[:3] == [
        "letters: 0 messages from before, one left",
        "parcels: 0 messages from before, one left",
        "board: nothing from before, something left",
    ]
    assert said(second, "taker") == [
        "letters: 1 message from before, one left",
        "parcels: 1 message from before, one left",
        "board: something to read from before, something left",
        "table: something to read from before, something left",
        "journal: something to read from before, something left",
        "slots: was 3, is 2",
        "locks: was 7, is 6",
        "feed: carried these lines, and is gone with its last holder",
        "control: said 'look', its path is left",
        "scratch: holds 'gone', and is gone with its last holder",
    ]
    assert len(said(second, "taker")) == len(OBJECT_KINDS)

    audit = orchestra("audit", "--format", "json", home=home)
    assert audit.code == 0
    found = {finding["name"] or finding["id"]: finding for finding in audit.json["findings"] if finding["instance"]}
    assert len(found) == len(NAMED)
    assert {finding["verdict"] for finding in found.values()} == {"kept"}
    assert {finding["intended"] for finding in found.values()} == {True}
    ids = [finding["id"] for finding in found.values() if finding["family"] == "sysv"]
    assert all(exists(kind, number) for kind, number in zip(("q", "m", "s"), ids, strict=True))

    clean = orchestra("clean", "--kept", "--yes", home=home)
    assert clean.code == 0, clean.err
    left = orchestra("audit", "--format", "json", home=home).json["findings"]
    assert [finding for finding in left if finding["instance"]] == []
    assert not any(exists(kind, number) for kind, number in zip(("q", "m", "s"), ids, strict=True))
    assert not list(tmp_path.glob("leftovers.*"))


def exists(kind: str, number: int) -> bool:
    """Whether ipcs knows this id."""
    done = subprocess.run(["ipcs", f"-{kind}"], capture_output=True, text=True, check=True)
    return re.search(rf"^0x[0-9a-f]+ +{number} ", done.stdout, re.MULTILINE) is not None


def test_two_instances_do_not_meet(up: Up, home: Path, tmp_path: Path) -> None:
    for instance in ("one", "two"):
        folder = tmp_path / instance
        folder.mkdir()
        answer = up("leftovers", "-n", instance, "--set", f"folder={folder}")
        assert answer.code == 0, answer.err
        assert said(answer, "taker")[5] == "slots: was 4, is 3"
    assert orchestra("clean", "--kept", "--yes", home=home).code == 0
