"""What the shell is offered on Tab."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestra.cli.app import COMMANDS
from orchestra.kinds import Family, Kind, Spec
from orchestra.ledger.rows import ObjectState, ProcessRow
from tests.cli.conftest import Record
from tests.support.cli import child_environment

pytestmark = pytest.mark.slow


def bash(home: Path, *words: str) -> list[str]:
    """Return what bash offers for the last word."""
    return offered(home, {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}, "bash").split()


def offered(home: Path, environment: dict[str, str], shell: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "orchestra"],
        cwd=home.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env=child_environment(home, {**environment, "_ORCHESTRA_COMPLETE": f"complete_{shell}"}),
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def known(record: Record, tmp_path: Path) -> Path:
    """Two instances on record, one file and one folder in the current folder."""
    run = record.run("r1", "pipeline")
    record.processes("r1", ProcessRow("", "reader", 1, "exited"), ProcessRow("", "worker", 1, "exited"))
    record.object(run, "jobs", Spec(Family.POSIX, Kind.QUEUE, name="/orct.none"), ObjectState.REMOVED)
    record.run("r2", "ring", file=str(tmp_path / "orchestra.yaml"), finished=False)
    record.processes("r2", ProcessRow("", "left", 1, "exited"))
    (tmp_path / "orchestra.yaml").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "other.json").touch()
    return tmp_path / "home"


def test_commands(known: Path) -> None:
    assert bash(known, "orchestra", "") == list(COMMANDS)
    assert bash(known, "orchestra", "pl") == ["plan"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ps", "p"), ["pipeline"]),
        (("ps", "-n", ""), ["ring", "pipeline"]),
        (("down", ""), ["ring"]),
        (("logs", "pipeline."), ["pipeline.jobs", "pipeline.reader", "pipeline.worker"]),
        (("logs", "le"), ["left"]),  # ring is the instance of ./orchestra.yaml
        (("logs", "--event", "object.cre"), ["object.created"]),
        (("logs", "--level", "e"), ["error"]),
        (("logs", "--stream", ""), ["stdout", "stderr"]),
        (("inspect", "pipeline.j"), ["pipeline.jobs"]),
        (("inspect", "sysv-q"), ["sysv-queue:"]),
        (("up", ""), ["deep/", "home/", "orchestra.yaml", "left"]),
        (("up", "deep/"), ["deep/other.json"]),
        (("validate", "orch"), ["orchestra.yaml"]),
        (("clean", "--run", "r"), ["r2", "r1"]),
        (("clean", "--kind", "sysv-se"), ["sysv-segment", "sysv-semaphore"]),
        (("ps", "--format", ""), ["table", "json"]),
        (("ps", "--f"), ["--file", "--format"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_words(words: tuple[str, ...], expected: list[str], known: Path) -> None:
    assert bash(known, "orchestra", *words) == expected


def test_zsh_and_fish_show_summaries_without_loading_rich(known: Path) -> None:
    zsh = offered(known, {"_TYPER_COMPLETE_ARGS": "orchestra pl"}, "zsh")
    assert '"plan":"Show the steps a run would take, in order."' in zsh
    fish = offered(known, {"_TYPER_COMPLETE_ARGS": "orchestra pl", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}, "fish")
    assert fish == "plan\tShow the steps a run would take, in order.\n"


def test_a_tab_prints_nothing_when_the_ledger_is_broken(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "ledger.db").write_bytes(b"this is no database, and longer than a header of one hundred bytes" * 3)
    assert bash(home, "orchestra", "ps", "-n", "") == []


def test_where_nothing_was_started_there_is_nothing_to_offer(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert bash(home, "orchestra", "logs", "") == []
    assert "posix-queue:" in bash(home, "orchestra", "inspect", "")
    assert not home.exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_for_the_shells(shell: str, tmp_path: Path) -> None:
    environment = child_environment(tmp_path / "home", {"_ORCHESTRA_COMPLETE": f"source_{shell}"})
    done = subprocess.run(
        [sys.executable, "-m", "orchestra"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "_ORCHESTRA_COMPLETE" in done.stdout
