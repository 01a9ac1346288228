"""up for real: small topologies, every way to end one, and what is said about it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import child_environment, orchestra
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


MIXED = (
    "  bad: {command: [sh, -c, 'exit 7']}\n"
    "  after: {command: ['true'], depends_on: {bad: completed}}\n"
    "  good: {command: [sh, -c, 'echo here; exec sleep ${seconds}'], uses: [jobs]}\n"
)


def test_a_failure_that_stops_only_its_dependants(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, MIXED, f"variables: {{seconds: 0.2}}\n{QUEUE}")
    answer = orchestra("up", "--keep-going", home=home, cwd=tmp_path)
    assert answer.code == 1
    assert "good exited with code 0" in answer.err
    assert "  after  skipped: bad failed: exited with code 7" in answer.err


@pytest.mark.parametrize(("process", "code"), [("bad", 7), ("good", 143), ("after", 1)])
def test_it_ends_as_one_process_does(process: str, code: int, home: Path, tmp_path: Path) -> None:
    """Also when that was ended by us, because another one had failed."""
    topology(tmp_path, MIXED, f"variables: {{seconds: 1000}}\n{QUEUE}")
    assert orchestra("up", "--exit-code-from", process, home=home, cwd=tmp_path).code == code


def test_the_objects_are_held_until_ctrl_c(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, "  talker: {command: [sh, -c, 'echo here; exit 3'], uses: [jobs]}\n", QUEUE)
    with started(home, "up", "--hold", cwd=tmp_path) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "the objects stay until Ctrl-C" in line:
                break
        shown = orchestra("objects", "demo", "--format", "json", home=home).json["objects"]
        assert [item["state"] for item in shown] == ["live"]
        refused = orchestra("restart", "demo.talker", home=home)
        assert (refused.code, "its objects are held" in refused.err) == (5, True)
        child.send_signal(signal.SIGINT)
        answer = finish(child)
    assert answer.code == 1  # as the run, not as Ctrl-C
    assert "removed sysv queue jobs" in answer.err


def test_waiting_for_everything_to_be_ready(home: Path, tmp_path: Path) -> None:
    text = "  slow: {command: [sh, -c, 'read x < gate; echo go; exec sleep 1000'], ready: {log: go}}\n"
    topology(tmp_path, f"{text}  once: {{command: ['true']}}\n")
    os.mkfifo(tmp_path / "gate")
    with started(home, "up", "--wait", cwd=tmp_path) as child:
        writer = os.open(tmp_path / "gate", os.O_WRONLY)  # returns once the process reads
        assert child.poll() is None
        os.write(writer, b"\n")
        os.close(writer)
        answer = finish(child)
        assert (answer.code, answer.out) == (0, "")
        assert answer.err.startswith("demo is ready: run ")
        states = {row["name"]: row["state"] for row in orchestra("ps", "--format", "json", home=home).json["processes"]}
        assert states == {"slow": "ready", "once": "exited"}
    topology(
        tmp_path, "  a: {command: ['false'], escalate: ignore}\n"
        "  b: {command: [sleep, '1000'], depends_on: {a: ended}}\n", name="other",
    )  # fmt: skip
    partly = orchestra("up", "--wait", home=home, cwd=tmp_path)
    orchestra("down", "other", home=home)
    assert partly.code == 1
    assert "error: a: exited with code 1" in partly.err
    assert "not all of it is ready" in partly.err
    topology(
        tmp_path, "  a: {command: ['false']}\n  b: {command: ['true'], depends_on: {a: completed}}\n", name="third"
    )
    ended = orchestra("up", "--wait", home=home, cwd=tmp_path)
    assert (ended.code, "third: run " in ended.err, "  a  exited with code 1" in ended.err) == (1, True, True)
    orchestra("down", "third", home=home)


def test_standard_input_that_a_process_inherits(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, "  reader: {command: [cat], stdin: inherit}\n")
    done = subprocess.run(
        [sys.executable, "-m", "orchestra", "up"],
        cwd=tmp_path, env=child_environment(home), input="one\ntwo\n", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert [line.split("│ ")[1] for line in done.stdout.splitlines()] == ["one", "two"]
    refused = orchestra("up", "-d", home=home, cwd=tmp_path)
    assert (refused.code, "reader inherits the standard input" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["-d", "--hold"], "--hold is for the foreground"),
        (["--wait", "--exit-code-from", "sleeper"], "needs the end of the run"),
        (["--exit-code-from", "nobody"], "no process is called `nobody`"),
        (["--isolation", "deep"], "there is no isolation `deep`"),
    ],
)
def test_options_that_do_not_go_together(words: list[str], problem: str, home: Path, tmp_path: Path) -> None:
    topology(tmp_path, SLEEPER)
    answer = orchestra("up", *words, home=home, cwd=tmp_path)
    assert (answer.code, answer.out, problem in answer.err) == (2, "", True), answer.err
    assert not home.exists()
