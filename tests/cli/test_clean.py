"""clean: lists, asks, removes what it may."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra.kinds import Handle, Spec
from orchestra.ledger.rows import ObjectState
from tests.cli.conftest import Record
from tests.support.cli import child_environment, inside, orchestra
from tests.support.small_runs import (
    QUEUE,
    USER,
    topology,
)

pytestmark = pytest.mark.slow


def test_down_with_leak_leaves_everything_on_record(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, USER, QUEUE)
    orchestra("up", "-d", home=home, cwd=tmp_path)
    down = orchestra("down", "demo", "--leak", home=home)
    assert "Left behind on purpose:\n  jobs  " in down.err
    audit = orchestra("audit", "--format", "json", home=home)
    assert audit.code == 0
    assert audit.json["summary"]["kept"] == 1
    assert [each["intended"] for each in audit.json["findings"] if each["instance"]] == [True]
    refused = orchestra("clean", "--kept", home=home)
    assert (refused.code, "nothing was removed" in refused.err) == (2, True)
    listed = orchestra("clean", "--kept", "--dry-run", "--format", "json", home=home).json
    assert (listed["dry_run"], len(listed["removed"]), listed["left"]) == (True, 1, [])
    done = orchestra("clean", "--kept", "--yes", "--format", "json", home=home).json
    assert (done["schema"], len(done["removed"]), done["left"]) == ("orchestra/clean/1", 1, [])
    findings = orchestra("audit", "--format", "json", home=home).json["findings"]
    assert [each for each in findings if each["instance"]] == []


@pytest.fixture
def leaked(record: Record, queue: tuple[Spec, Handle]) -> Record:
    """A queue that its run should have removed."""
    run = record.run("r1", "pipeline")
    record.object(run, "jobs", queue[0], ObjectState.LIVE, queue[1])
    return record


def on_a_terminal(home: Path, answer: bytes) -> tuple[int, str, str]:
    """Run `clean` with somebody at the keyboard who types `answer`."""
    keyboard, screen = pty.openpty()
    try:
        os.write(keyboard, answer)
        done = subprocess.run(
            [sys.executable, "-m", "orchestra", "clean"],
            stdin=screen, capture_output=True, text=True, env=child_environment(home), check=False, timeout=30,
        )  # fmt: skip
    finally:
        os.close(keyboard)
        os.close(screen)
    return done.returncode, done.stdout, done.stderr


def test_on_a_terminal_it_shows_the_list_and_asks(leaked: Record) -> None:
    home = leaked.places.home
    code, out, err = on_a_terminal(home, b"n\n")
    assert (code, out) == (1, "")
    assert "to remove  leaked   sysv-queue:" in err
    assert "Remove 1 object? [y/N] " in err
    assert err.endswith("nothing was removed\n")
    code, out, err = on_a_terminal(home, b"y\n")
    assert (code, out.splitlines()[1].split()[0]) == (0, "removed")
    assert on_a_terminal(home, b"") == (0, "", "nothing to clean\n")


def test_no_answer_removes_nothing(leaked: Record) -> None:
    code, out, err = on_a_terminal(leaked.places.home, b"\x04")  # end of file
    assert (code, out) == (1, "")
    assert err.endswith("nothing was removed\n")
    assert orchestra("audit", home=leaked.places.home).code == 3


def test_what_is_held_stays_and_the_holder_is_named(
    record: Record, segment: tuple[Spec, Handle], capsys: pytest.CaptureFixture[str]
) -> None:
    run = record.run("r1", "pipeline")
    record.object(run, "board", segment[0], ObjectState.LIVE, segment[1])
    with open(f"/dev/shm{segment[0].name}", "rb"):
        held = inside(capsys, "clean", "--yes", "--format", "json")
        assert held.code == 1
        assert held.json["removed"] == []
        assert f"held by {os.getpid()} (" in held.json["left"][0]["why"]
        table = inside(capsys, "clean", "--yes")
        assert table.out.splitlines()[1].split()[:2] == ["left", "leaked"]
    assert inside(capsys, "clean", "--yes").code == 0


def test_selections(leaked: Record, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--kind", "segment"], ["--kind", "posix-queue"]):
        assert inside(capsys, "clean", "--yes", *words).err == "nothing to clean\n"
    leaked.run("r2", "other")
    assert inside(capsys, "clean", "--yes", "--run", "r2").err == "nothing to clean\n"
    assert inside(capsys, "clean", "--yes", "--older-than", "100000d").err == "nothing to clean\n"
    assert "removed" in inside(capsys, "clean", "--yes", "--run", "r1", "--kind", "sysv-queue").out
