"""Real processes, watched through the log and the ledger: starting, ending, stopping, and those that will not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from orchestra.ledger.journal import Ledger
from orchestra.supervisor.launch import start_guardian
from tests.support.programs import BECOMES_A_DAEMON, FORKS_TWICE, LEAVES_A_DEAF_CHILD, WAITS, pid_in, python
from tests.support.runs import is_alive, process, running, until


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_two_in_a_row(place: Path) -> None:
    with running(
        place, process("a", "echo one; echo two >&2"), process("b", "echo three", after={"a": "completed"})
    ) as run:
        assert run.ended()["exit_code"] == 0
        assert run.path() == [
            "run.started",
            "process.started a",
            "process.exited a",
            "process.started b",
            "process.exited b",
            "run.ended",
        ]
        assert sorted(run.lines("a")) == ["one", "two"]
        assert run.lines("b") == ["three"]
        assert run.row().state == "down"


def test_the_last_words_of_a_process_that_dies_at_once_stand_before_its_end(place: Path) -> None:
    with running(place, process("a", "printf 'no newline'; kill -SEGV $$")) as run:
        assert run.ended()["exit_code"] == 1
        records = [r for r in run.log() if r.get("process") == "a"]
        assert [r.get("event", r["message"]) for r in records] == [
            "process.started", "no newline", "process.exited", "process.failed",
        ]  # fmt: skip
        assert records[1]["data"] == {"unterminated": True}
        assert records[2]["data"] == {"signal": "SIGSEGV"}


def test_a_dependency_that_fails_at_once(place: Path) -> None:
    with running(
        place,
        process("a", "exit 3"),
        process("b", "echo never", after={"a": "completed"}),
        process("c", "echo never", after={"b": "started"}),
    ) as run:
        ended = run.ended()
        assert (ended["exit_code"], ended["state"]) == (1, "failed")
        assert ended["failed"] == [{"process": "a", "replica": 1, "reason": "exited with code 3"}]
        assert run.path("b", "c") == ["process.skipped b", "process.skipped c"]
        assert run.rows()["c.1"].state == "skipped"


def test_a_missing_executable(place: Path) -> None:
    with running(place, process("a", "/nonexistent/program", "x"), process("b", WAITS)) as run:
        ended = run.ended()
        assert ended["exit_code"] == 1
        failure = next(r for r in run.log() if r.get("event") == "process.launch_failed")
        assert failure["data"]["stage"] == "exec"
        assert failure["data"]["errno"] == "ENOENT"
        assert failure["data"]["path"] == "/nonexistent/program"
        assert run.rows()["b.1"].state in ("exited", "skipped")


def test_a_missing_directory(place: Path) -> None:
    with running(place, process("a", "true", directory=("/nonexistent",))) as run:
        run.ended()
        failure = next(r for r in run.log() if r.get("event") == "process.launch_failed")
        assert failure["data"]["stage"] == "chdir"
        assert failure["data"]["path"] == "/nonexistent"


def test_services_stop_in_reverse_order_once_the_workers_are_done(place: Path) -> None:
    with running(
        place,
        process("db", WAITS, service=True),
        process("api", WAITS, service=True, after={"db": "started"}),
        process("job", "true", after={"api": "started"}),
    ) as run:
        assert run.ended()["exit_code"] == 0
        stops = [x for x in run.path("db", "api") if not x.startswith("process.started")]
        assert stops == ["process.stopping api", "process.exited api", "process.stopping db", "process.exited db"]
        assert {row.signal for row in run.rows().values()} == {"SIGTERM", None}


def test_a_service_that_ends_has_failed(place: Path) -> None:
    with running(place, process("db", "true", service=True), process("job", WAITS)) as run:
        assert run.ended()["failed"][0]["process"] == "db"


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_stop_goes_in_order_and_tells_the_signal(place: Path, name: str, code: int) -> None:
    with running(place, process("a", WAITS), process("b", WAITS, after={"a": "started"})) as run:
        run.up().stop(name)
        ended = run.ended()
        assert (ended["exit_code"], ended["stopped_by"], ended["state"]) == (code, name, "down")
        exits = [x for x in run.path() if x.startswith("process.exited")]
        assert exits == ["process.exited b", "process.exited a"]


def test_sigkill_follows_the_grace(place: Path) -> None:
    with running(place, process("a", "trap '' TERM; echo ready; while :; do sleep 1000; done", grace=0.2)) as run:
        run.up().wait_line("a", "ready")
        run.stop()
        run.ended()
        assert run.path("a") == ["process.started a", "process.stopping a", "process.killed a", "process.exited a"]
        assert run.rows()["a.1"].signal == "SIGKILL"
        assert run.rows()["a.1"].state == "exited"


def test_the_second_request_does_not_wait_for_any_grace(place: Path) -> None:
    with running(place, process("a", "trap '' TERM; echo ready; while :; do sleep 1000; done", grace=1000.0)) as run:
        run.up().wait_line("a", "ready")
        run.stop()
        until(lambda: "process.stopping a" in run.path())
        run.kill()
        assert run.ended()["exit_code"] == 130


def test_a_process_s_own_stop_signal(place: Path) -> None:
    script = (
        "import signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
        "print('ready', flush=True)\n"
        "signal.sigwait([signal.SIGUSR1])\n"
        "print('bye')\n"
    )
    with running(place, process("a", *python(script), stop_signal=signal.SIGUSR1)) as run:
        run.up().wait_line("a", "ready")
        run.stop()
        run.ended()
        assert run.lines("a") == ["ready", "bye"]


def test_a_child_that_outlives_its_leader_is_stopped_and_holds_nobody_up(place: Path) -> None:
    with running(
        place, process("a", *LEAVES_A_DEAF_CHILD, grace=0.2), process("b", "echo after", after={"a": "completed"})
    ) as run:
        assert run.ended()["exit_code"] == 0
        assert run.path("a") == ["process.started a", "process.lingering a", "process.killed a", "process.exited a"]
        assert run.lines("b") == ["after"]
        assert not is_alive(pid_in(run.lines("a")[0]))


def test_a_double_fork_is_killed_with_its_replica(place: Path) -> None:
    with running(place, process("a", *FORKS_TWICE, grace=0.2)) as run:
        pid = pid_in(run.up().wait_line("a", "grandchild"))
        assert is_alive(pid)
        run.stop()
        run.ended()
        assert not is_alive(pid)


def test_a_daemon_holds_nobody_up_and_is_killed_at_the_end(place: Path) -> None:
    with running(
        place,
        process("a", *BECOMES_A_DAEMON),
        process("b", WAITS, after={"a": "completed"}),
    ) as run:
        run.wait_line("b", "ready")
        pid = pid_in(run.lines("a")[0])
        assert is_alive(pid), "it left the session of its process and lives until the end of the run"
        run.stop()
        run.ended()
        assert not is_alive(pid)
        assert any(r["event"] == "descendant.killed" and r["pid"] == pid for r in run.log() if "event" in r)


def test_what_a_daemon_still_writes_is_not_lost(place: Path) -> None:
    late = python(
        "import os, sys\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    os.read(os.open('gate', os.O_RDONLY), 1)\n"
        "    print('late', flush=True)\n"
        "    os._exit(0)\n"
        "print('early', flush=True)\n"
    )
    os.mkfifo(place.parent / "gate")
    with running(
        place, process("a", *late), process("b", "echo go > gate; exec sleep 1000", after={"a": "completed"})
    ) as run:
        run.wait_line("a", "late")
        assert run.ps()["a"]["state"] == "exited"
        run.stop()
        run.ended()


def test_replicas_know_their_number_and_end_one_by_one(place: Path) -> None:
    with running(place, process("w", "echo I am $ORCHESTRA_REPLICA", replicas=3)) as run:
        run.ended()
        assert sorted(run.lines("w")) == ["I am 1", "I am 2", "I am 3"]
        assert sorted(run.rows()) == ["w.1", "w.2", "w.3"]


def test_escalate_stop_dependants(place: Path) -> None:
    with running(
        place,
        process("a", "read x < gate; exit 1", escalate="stop-dependants"),
        process("b", WAITS, after={"a": "started"}),
        process("z", "read x < gate2"),
    ) as run:
        os.mkfifo(place.parent / "gate")
        os.mkfifo(place.parent / "gate2")
        run.wait_line("b", "ready")
        (place.parent / "gate").write_text("\n")
        until(lambda: "process.exited b" in run.path())
        assert run.ps()["z"]["state"] == "running"
        (place.parent / "gate2").write_text("\n")
        assert run.ended()["exit_code"] == 1
        assert run.rows()["z.1"].state == "exited"


def test_a_stop_in_the_middle_of_the_start(place: Path) -> None:
    many = [process(f"p{n}", "exec sleep 1000") for n in range(120)]
    with running(place, *many) as run:
        run.wait_for("accepted")
        run.stop("SIGTERM")
        assert run.ended()["exit_code"] == 143
        states = {row.state for row in run.rows().values()}
        assert states <= {"exited", "skipped"}
        pids = [row.pid for row in run.rows().values() if row.pid]
        assert not any(is_alive(pid) for pid in pids)


def test_the_caller_going_away_stops_a_run_in_the_foreground(place: Path) -> None:
    with running(place, process("a", WAITS)) as run:
        run.up()
        pid = run.ps()["a"]["pid"]
        run.channel.close()
        run.reap()
        assert not is_alive(pid)
        assert run.row().exit_code == 129


def test_a_stop_that_comes_along_with_the_plan(place: Path) -> None:
    with running(place, process("a", WAITS)) as run:
        run.stop("SIGTERM")
        assert run.ended()["exit_code"] == 143
        assert run.rows()["a.1"].state in ("skipped", "exited")
        assert run.errors() == ""


def test_a_caller_that_ignores_sigchld_and_blocks_everything(place: Path) -> None:
    """Both are inherited by whatever it starts, and must not reach guardian, supervisor or child."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        channel = start_guardian()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGCHLD, before)
    with running(place, process("a", "exit 3"), channel=channel) as run:
        assert run.ended()["failed"] == [{"process": "a", "replica": 1, "reason": "exited with code 3"}]
    with running(place, process("a", WAITS)) as run:
        os.kill(run.up().control().state()["guardian"], signal.SIGTERM)
        assert run.ended()["exit_code"] == 143


def test_a_ledger_that_somebody_else_holds_delays_nobody(place: Path) -> None:
    with running(place, process("a", WAITS), process("b", "read x < gate")) as run:
        os.mkfifo(place.parent / "gate")
        run.up().wait_line("a", "ready")
        with Ledger.open(run.places.ledger) as other, other.transaction():
            (place.parent / "gate").write_text("\n")
            began = time.monotonic()
            until(lambda: "ledger.unwritable" in run.path())
            assert run.ps()["b"]["state"] == "exited"
            assert time.monotonic() - began < 2.0
        run.stop()
        run.ended()
        assert run.rows()["b.1"].state == "exited"
        assert run.row().state == "down"
