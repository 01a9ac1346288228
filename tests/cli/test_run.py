"""up and down for real: small topologies, every way to end one, and what is said about it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cli import Answer, child_environment, orchestra

pytestmark = pytest.mark.slow


def topology(folder: Path, processes: str, objects: str = "", name: str = "demo") -> Path:
    """Write an orchestra.yaml; `processes` and `objects` are blocks of YAML."""
    file = folder / "orchestra.yaml"
    file.write_text(f"version: 1\nname: {name}\n{objects}\nprocesses:\n{processes}")
    return file


@contextmanager
def started(home: Path, *arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `orchestra ARGUMENTS` beside the test; ended with its instance when the test is over."""
    child = subprocess.Popen(
        [sys.executable, "-m", "orchestra", *arguments],
        cwd=cwd, env=child_environment(home), text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield child
    finally:
        orchestra("down", "demo", home=home)
        if child.poll() is None:
            child.kill()
        child.communicate()


def wait_for_line(child: subprocess.Popen[str], wanted: str) -> None:
    """Read the child's stdout until a line holds `wanted`."""
    assert child.stdout is not None
    for line in child.stdout:
        if wanted in line:
            return
    raise AssertionError(f"{wanted!r} never came; stderr: {child.stderr.read() if child.stderr else ''}")


def finish(child: subprocess.Popen[str]) -> Answer:
    out, err = child.communicate(timeout=30)
    return Answer(child.returncode, out, err)


SLEEPER = "  sleeper: {command: [sh, -c, 'echo here; exec sleep 1000']}\n"
USER = "  sleeper: {command: [sh, -c, 'echo here; exec sleep 1000'], uses: [jobs]}\n"
QUEUE = "queues:\n  jobs: {family: sysv}\n"
KEPT = "segments:\n  board: {family: sysv, size: 4096, on_down: keep}\n"


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


def test_detached_it_returns_and_down_ends_it(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, USER, QUEUE)
    up = orchestra("up", "-d", home=home, cwd=tmp_path)
    try:
        assert (up.code, up.out) == (0, "")
        assert up.err.startswith("demo is up: run ")
        assert "orchestra down demo" in up.err
        listed = orchestra("ls", "--format", "json", home=home).json["instances"][0]
        assert (listed["state"], listed["processes"], listed["objects"]) == ("up", 1, 1)
        shown = orchestra("ps", "--format", "json", home=home).json
        assert shown["state"] == "up"
        assert [(p["name"], p["state"]) for p in shown["processes"]] == [("sleeper", "running")]
        again = orchestra("up", home=home, cwd=tmp_path)
        assert (again.code, again.out) == (5, "")
        assert "demo is already up" in again.err
    finally:
        down = orchestra("down", home=home, cwd=tmp_path)
    assert (down.code, down.out) == (0, "")
    assert "demo is down: 1 object removed" in down.err
    again = orchestra("down", "demo", home=home)
    assert (again.code, again.err) == (0, "demo was down already\n")


def test_down_with_leak_leaves_everything_on_record(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, USER, QUEUE)
    orchestra("up", "-d", home=home, cwd=tmp_path)
    down = orchestra("down", "demo", "--leak", home=home)
    assert "Left behind on purpose:\n  jobs  " in down.err
    audit = orchestra("audit", "--format", "json", home=home)
    assert audit.code == 0
    assert audit.json["summary"]["kept"] == 1
    assert audit.json["findings"][0]["intended"] is True
    refused = orchestra("clean", "--kept", home=home)
    assert (refused.code, "nothing was removed" in refused.err) == (2, True)
    listed = orchestra("clean", "--kept", "--dry-run", "--format", "json", home=home).json
    assert (listed["dry_run"], len(listed["removed"]), listed["left"]) == (True, 1, [])
    done = orchestra("clean", "--kept", "--yes", "--format", "json", home=home).json
    assert (done["schema"], len(done["removed"]), done["left"]) == ("orchestra/clean/1", 1, [])
    assert orchestra("audit", "--format", "json", home=home).json["findings"] == []


def test_after_a_crash_down_finishes_and_audit_tells(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, USER, QUEUE)
    orchestra("up", "-d", home=home, cwd=tmp_path)
    run = orchestra("ps", "--format", "json", home=home).json["run"]
    pid = orchestra("ls", "--format", "json", home=home).json["instances"][0]["pid"]
    gone = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([gone], [], [], 10)
    os.close(gone)
    crashed = wait_until_not_live(home)
    assert crashed["state"] == "crashed"
    audit = orchestra("audit", "--format", "junit", "-o", str(tmp_path / "audit.xml"), home=home)
    assert (audit.code, audit.out) == (3, "")
    assert run in (tmp_path / "audit.xml").read_text()
    assert orchestra("audit", "--exit-zero", home=home).code == 0
    down = orchestra("down", "demo", home=home)
    assert (down.code, "1 object removed" in down.err) == (0, True)
    assert orchestra("audit", home=home).code == 0


def wait_until_not_live(home: Path) -> dict[str, object]:
    """Ask `ls` until the guardian has let go; each question takes its own time, so none is asked in vain."""
    for _ in range(100):
        found: dict[str, object] = orchestra("ls", "--format", "json", home=home).json["instances"][0]
        if found["pid"] is None:
            return found
    raise AssertionError("the instance stays live")


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


def test_logs_of_a_run(home: Path, tmp_path: Path) -> None:
    topology(
        tmp_path,
        "  talker: {command: [sh, -c, 'echo one; echo two >&2; echo three'], replicas: 2}\n"
        "  quiet: {command: ['true']}\n",
    )
    orchestra("up", home=home, cwd=tmp_path)

    def shown(*words: str) -> list[str]:
        answer = orchestra("logs", *words, home=home, cwd=tmp_path)
        assert answer.code == 0
        return answer.out.splitlines()

    assert len(shown("talker.2")) > len(shown("talker.2", "--stream", "stdout")) == 2
    assert [line.split()[-1] for line in shown("demo.talker.1", "--stream", "stdout")] == ["one", "three"]
    assert all("talker" in line for line in shown("demo.talker", "--grep", "two|three"))
    assert len(shown("--event", "process.started")) == 3
    assert len(shown("--tail", "1")) == 1
    assert shown("--level", "error") == []
    assert shown("--until", "1h") == []
    stored = [json.loads(line) for line in shown("demo", "--format", "json")]
    assert stored[0]["event"] == "run.started"
    assert stored[-1]["event"] == "run.ended"
    assert shown("./orchestra.yaml") == shown()
