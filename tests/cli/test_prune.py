"""prune: lists, asks, forgets runs that are over; what others hold on record stays."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra.cli.prune import in_units
from orchestra.kinds import Family, Kind, Spec
from orchestra.ledger.rows import ObjectState
from tests.cli.conftest import STARTED, Record
from tests.support.cli import child_environment, inside

SPEC = Spec(Family.POSIX, Kind.QUEUE, name="/orct.prune", mode=0o600)


@pytest.fixture
def runs(record: Record) -> Record:
    """Three runs of one instance; the oldest has 2,048 bytes of log."""
    for number in (1, 2, 3):
        record.run(f"r{number}", "pipeline", started_at=STARTED + number)
    record.places.log("r1").write_bytes(bytes(2048))
    return record


def test_all_but_the_newest_go(runs: Record, capsys: pytest.CaptureFixture[str]) -> None:
    listed = inside(capsys, "prune", "--dry-run")
    assert [line.split()[:3] for line in listed.out.splitlines()[1:]] == [
        ["would", "go", "pipeline"], ["would", "go", "pipeline"],
    ]  # fmt: skip
    assert listed.err == "2 runs would be removed, 2.0 KiB\n"
    assert len(runs.ledger.runs()) == 3
    done = inside(capsys, "prune", "--yes", "--format", "json")
    answer = json.loads(done.out)
    assert (answer["schema"], answer["dry_run"], answer["bytes"], answer["left"]) == (
        "orchestra/prune/1", False, 2048, [],
    )  # fmt: skip
    assert [(item["run"], item["bytes"]) for item in answer["removed"]] == [("r1", 2048), ("r2", 0)]
    assert os.listdir(runs.places.home / "runs") == ["r3"]
    assert [row.run for row in runs.ledger.runs()] == ["r3"]
    assert inside(capsys, "prune", "--yes").err == "nothing to prune\n"


def test_a_run_with_objects_on_record_stays(runs: Record, capsys: pytest.CaptureFixture[str]) -> None:
    runs.object(runs.ledger.runs()[0], "jobs", SPEC, ObjectState.KEPT)
    done = inside(capsys, "prune", "--yes", "--keep", "0")
    assert done.code == 0
    assert "left     pipeline  r1" in done.out
    assert "1 object is on record" in done.out
    assert [row.run for row in runs.ledger.runs()] == ["r1"]


def test_only_of_the_instances_named(runs: Record, capsys: pytest.CaptureFixture[str]) -> None:
    runs.run("x1", "other")
    assert inside(capsys, "prune", "other", "--keep", "0", "--yes").code == 0
    assert [row.run for row in runs.ledger.runs()] == ["r1", "r2", "r3"]
    wrong = inside(capsys, "prune", "others")
    assert (wrong.code, "there is no instance `others`" in wrong.err) == (4, True)
    assert inside(capsys, "prune", "--keep", "0", "--older-than", "100000d", "--yes").err == "nothing to prune\n"


def test_without_anybody_to_ask_nothing_goes(runs: Record, capsys: pytest.CaptureFixture[str]) -> None:
    refused = inside(capsys, "prune")
    assert refused.code == 2
    assert "2 runs (2.0 KiB) would be removed, and there is nobody to ask; nothing was removed" in refused.err
    assert len(runs.ledger.runs()) == 3


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 3), (b"\x04", 3), (b"y\n", 1)], ids=["no", "end", "yes"])
def test_on_a_terminal_it_asks(runs: Record, answer: bytes, left: int) -> None:
    keyboard, screen = pty.openpty()
    try:
        os.write(keyboard, answer)
        done = subprocess.run(
            [sys.executable, "-m", "orchestra", "prune"],
            stdin=screen, capture_output=True, text=True, env=child_environment(runs.places.home), timeout=30,
        )  # fmt: skip
    finally:
        os.close(keyboard)
        os.close(screen)
    assert "to remove  pipeline  r1" in done.stderr
    assert "Remove 2 runs (2.0 KiB)? [y/N] " in done.stderr
    assert (done.returncode, len(runs.ledger.runs())) == (0 if left == 1 else 1, left)
    assert Path(runs.places.run_folder("r1")).exists() is (left == 3)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")]
)
def test_sizes_in_words(size: int, text: str) -> None:
    assert in_units(size) == text
