"""up for real: small topologies, every way to end one, and what is said about it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.cli import orchestra
from tests.support.small_runs import (
    KEPT,
    QUEUE,
    SLEEPER,
    finish,
    started,
    topology,
    wait_for_line,
)

pytestmark = pytest.mark.slow


def test_the_lines_of_children_go_to_stdout_and_ours_to_stderr(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, "  talker: {command: [sh, -c, 'echo out; echo err >&2'], uses: [jobs]}\n", QUEUE)
    answer = orchestra("up", home=home, cwd=tmp_path)
    assert answer.code == 0
    assert [line.split(maxsplit=2) for line in answer.out.splitlines()] == [
        ["talker", "│", "out"],
        ["talker", "!", "err"],
    ]
    assert "created sysv queue jobs" in answer.err
    assert "removed sysv queue jobs" in answer.err
    assert "demo: run " in answer.err.splitlines()[-1]
    assert "ended well after" in answer.err.splitlines()[-1]


def test_what_failed_how_and_what_was_stopped_for_it(home: Path, tmp_path: Path) -> None:
    topology(
        tmp_path,
        "  worker: {command: [sh, -c, 'exit 3'], replicas: 1, depends_on: {helper: started}}\n"
        "  helper: {command: [sleep, '1000']}\n"
        "  report: {command: ['true'], depends_on: {worker: completed}}\n",
        KEPT,
    )
    answer = orchestra("up", home=home, cwd=tmp_path)
    assert answer.code == 1
    summary = answer.err[answer.err.index("demo: run ") :].splitlines()
    run = summary[0].split()[2]
    assert "failed" in summary[0]
    assert summary[1] == "  worker  exited with code 3"
    assert summary[2].startswith("  report  skipped: ")
    assert summary[3] == "  stopped: helper"
    assert summary[4] == "help: orchestra logs demo.worker"
    assert summary[5] == "Left behind on purpose:"
    assert summary[6].startswith("  board  sysv-segment:")
    assert summary[7] == f"help: orchestra audit, orchestra clean --kept --run {run}"
    cleaned = orchestra("clean", "--kept", "--run", run, "--yes", home=home)
    assert (cleaned.code, cleaned.out.count("removed")) == (0, 1)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_signals_stop_in_order(number: signal.Signals, code: int, home: Path, tmp_path: Path) -> None:
    topology(tmp_path, SLEEPER)
    with started(home, "up", cwd=tmp_path) as child:
        wait_for_line(child, "here")
        child.send_signal(number)
        answer = finish(child)
    assert answer.code == code
    assert "sleeper was ended by SIGTERM" in answer.err
    assert ("Ctrl-C again kills" in answer.err) is (number == signal.SIGINT)


def test_ctrl_c_twice_kills_what_does_not_want_to_end(home: Path, tmp_path: Path) -> None:
    topology(
        tmp_path,
        "  deaf: {command: [sh, -c, 'trap \"echo no\" TERM; echo here; while :; do sleep 0.1; done'],"
        " stop: {grace: 600s}}\n",
    )
    with started(home, "up", cwd=tmp_path) as child:
        wait_for_line(child, "here")
        child.send_signal(signal.SIGINT)
        wait_for_line(child, "no")
        child.send_signal(signal.SIGINT)
        answer = finish(child)
    assert answer.code == 130
    assert "deaf was ended by SIGKILL" in answer.err


def test_a_closed_stdout_ends_the_run_without_a_word(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, SLEEPER)
    with started(home, "up", cwd=tmp_path) as child:
        wait_for_line(child, "here")
        assert child.stdout is not None
        child.stdout.close()
        child.wait(timeout=30)
        assert child.returncode == 141
        assert child.stderr is not None
        assert "sleeper was stopped" not in (err := child.stderr.read())
        assert "error" not in err
    assert orchestra("ps", "demo", home=home, cwd=tmp_path).out.split()[-5] == "exited"


def test_ctrl_c_before_there_is_a_run(home: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "slow.yaml"
    os.mkfifo(fifo)  # reading the topology takes until somebody writes it
    with started(home, "up", "./slow.yaml", cwd=tmp_path) as child:
        writer = os.open(fifo, os.O_WRONLY)  # returns once the command has opened the file
        child.send_signal(signal.SIGINT)
        answer = finish(child)
        os.close(writer)
    assert (answer.code, answer.out, answer.err) == (130, "", "")
    assert not home.exists()


def test_a_file_with_errors_starts_nothing(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "orchestra.yaml"
    file.write_text("version: 1\nprocesses:\n  a: {comand: [x]}\n  b: {command: [sleep, '1'], uses: [nothing]}\n")
    answer = orchestra("up", home=home, cwd=tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert "orchestra.yaml:3:7: error[unknown_key]: processes.a.comand: " in answer.err
    assert "help: " in answer.err
    assert "\n    3 |   a: {comand: [x]}\n" in answer.err
    assert answer.err.count("error[") >= 2
    assert not home.exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["up"], "there is no orchestra.yaml here"),
        (["up", "nothing.yaml"], "there is no nothing.yaml"),
        (["up", "thing.yml"], "reads as the name of a process"),
        (["up", "-f", "a.yaml", "b.yaml"], "name a file"),
        (["up", "--format", "json"], "--format is the format of the plan"),
        (["plan", "/dev/null/x.yaml"], "there is no /dev/null/x.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_no_file(words: list[str], problem: str, home: Path, tmp_path: Path) -> None:
    answer = orchestra(*words, home=home, cwd=tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert problem in answer.err


def test_options_of_up(home: Path, tmp_path: Path) -> None:
    topology(
        tmp_path,
        "  talker: {command: [sh, -c, 'echo ${who} $ORCHESTRA_INSTANCE $ORCHESTRA_REPLICA']}\n"
        "  other: {command: ['false']}\n",
        "variables: {who: null}",
    )
    answer = orchestra(
        "up", ".", "talker", "-n", "second", "--set", "who=me=you", "--scale", "talker=2", home=home, cwd=tmp_path
    )
    assert answer.code == 0
    assert sorted(line.split("│ ")[1] for line in answer.out.splitlines()) == ["me=you second 1", "me=you second 2"]
    for words, problem in (
        (["--scale", "talker=x"], "is no number of replicas"),
        (["--scale", "talkr=2"], "no process is called `talkr`"),
        (["--set", "who"], "has no `=`"),
        (["-n", "Second"], "-n: "),
        (["nobody"], "no process is called `nobody`"),
    ):
        given = [] if "--set" in words else ["--set", "who=me"]
        refused = orchestra("up", *words, *given, home=home, cwd=tmp_path)
        assert (refused.code, problem in refused.err) == (2, True), refused.err


def test_a_dry_run_does_everything_but_start(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, "  talker: {command: [sh, -c, 'echo x'], uses: [jobs]}\n", QUEUE)
    answer = orchestra("up", "--dry-run", "--format", "json", home=home, cwd=tmp_path)
    assert answer.code == 0
    assert [(s["n"], s["action"]) for s in answer.json["steps"]][:2] == [(1, "create"), (2, "start")]
    assert answer.json == orchestra("plan", "--format", "json", home=home, cwd=tmp_path).json
    assert not home.exists()
