"""Attending a run, with a supervisor made of a socket and a log file."""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import select
import signal
import socket
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.cli import attend
from orchestra.cli.attend import Attendant, Outcome, exit_status
from orchestra.cli.exits import ExitCode
from tests.support.runs import until

LONG = ("1" * 300_000, "2" * 300_000)  # more than is shown at once
ENDED = {"event": "ended", "exit_code": 0, "state": "down", "failed": [], "stopped_by": None, "objects_left": []}


class Supervisor:
    """The other end: says what a test tells it to, and answers a stop with the end of the run."""

    def __init__(self, folder: Path) -> None:
        self.mine, self.theirs = socket.socketpair()
        self.mine.setblocking(False)
        self.log = folder / "log.jsonl"
        self.heard: list[dict[str, Any]] = []
        self.at_stop: dict[str, Any] | None = ENDED
        self._rest = b""

    def say(self, *messages: dict[str, Any] | None) -> None:
        for message in messages:
            self.theirs.sendall((json.dumps(message) if message else "").encode() + b"\n")
            if message and message["event"] in ("ended", "error"):
                self.theirs.close()

    def accept(self) -> None:
        self.say({"event": "accepted", "run": "r1", "log": str(self.log)})

    def write(self, *lines: str) -> None:
        with self.log.open("a") as log:
            log.writelines(line + "\n" for line in lines)
        self.say(None)

    def leave(self) -> None:
        self.theirs.close()

    def fileno(self) -> int:
        return self.mine.fileno()

    def send(self, message: dict[str, Any]) -> None:
        self.heard.append(message)
        if self.at_stop is not None:
            self.say({**self.at_stop, "stopped_by": self.heard[0].get("signal")})

    def receive(self) -> list[dict[str, Any]] | None:
        try:
            chunk = self.mine.recv(65536)
        except BlockingIOError:
            return []
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines if line]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.mine.close()
    made.theirs.close()


def watch(supervisor: Supervisor, **changes: Any) -> tuple[Outcome, list[str]]:
    shown: list[str] = []
    options: dict[str, Any] = {"show": lambda lines: shown.extend(lines.decode().splitlines())}
    return Attendant(supervisor, **{**options, **changes}).attend(), shown


def test_every_line_is_shown_once_also_those_written_last(supervisor: Supervisor) -> None:
    supervisor.accept()
    supervisor.write("one", "two")
    supervisor.say({"event": "up"})
    supervisor.write("three")
    supervisor.say(ENDED)
    outcome, shown = watch(supervisor)
    assert shown == ["one", "two", "three"]
    assert (outcome.run, outcome.up, outcome.stopped_by) == ("r1", True, None)
    assert exit_status(outcome) == 0


def test_the_exit_code_of_the_run_is_passed_on(supervisor: Supervisor) -> None:
    supervisor.accept()
    supervisor.say({**ENDED, "exit_code": 1, "state": "failed"})
    assert exit_status(watch(supervisor)[0]) == 1


def test_with_wait_it_leaves_when_everything_is_ready_or_never_can_be(supervisor: Supervisor) -> None:
    supervisor.accept()
    supervisor.say({"event": "up"}, {"event": "ready", "failed": []})
    outcome, _ = watch(supervisor, show=None, until_up=True, until_ready=True)
    assert (outcome.unready, exit_status(outcome)) == ([], 0)


@pytest.mark.parametrize("failed", [[], [{"name": "a", "replica": 1, "result": "failed"}]])
def test_what_never_gets_ready_is_a_failure(failed: list[dict[str, Any]]) -> None:
    assert exit_status(Outcome(up=True, unready=failed)) == (ExitCode.FAILED if failed else ExitCode.OK)


def test_detached_it_leaves_when_the_run_is_up(supervisor: Supervisor) -> None:
    supervisor.accept()
    supervisor.say({"event": "up"})
    outcome, _ = watch(supervisor, show=None, until_up=True)
    assert (outcome.ended, exit_status(outcome)) == (None, 0)


def test_detached_a_stop_that_was_asked_for_is_waited_for(supervisor: Supervisor) -> None:
    supervisor.at_stop = None

    def begin() -> None:
        supervisor.accept()
        os.kill(os.getpid(), signal.SIGINT)
        supervisor.say({"event": "up"})

    class Link(Supervisor):
        """What the run says last comes after the supervisor has heard of the stop."""

        def __init__(self) -> None:
            self.mine, self._rest = supervisor.mine, b""

        def send(self, message: dict[str, Any]) -> None:
            supervisor.send(message)

        def receive(self) -> list[dict[str, Any]] | None:
            found = super().receive()
            if found and found[-1]["event"] == "up":
                supervisor.say({**ENDED, "exit_code": 130, "stopped_by": "SIGINT"})
            return found

    outcome = Attendant(Link(), None, until_up=True).attend(begin)
    assert supervisor.heard == [{"op": "stop", "signal": "SIGINT"}]
    assert outcome.ended is not None
    assert exit_status(outcome) == 130


def test_an_error_before_the_run_ends_the_wait(supervisor: Supervisor) -> None:
    supervisor.say({"event": "error", "error": {"class": "Conflict", "problem": "already up"}, "exit_code": 5})
    outcome, _ = watch(supervisor)
    assert outcome.error is not None
    assert outcome.run is None


def test_an_end_without_words_is_a_failure(supervisor: Supervisor) -> None:
    supervisor.accept()
    supervisor.leave()
    outcome, _ = watch(supervisor)
    assert (outcome.ended, exit_status(outcome)) == (None, 1)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_stops_the_run_in_order_and_names_the_exit_code(
    number: signal.Signals, code: int, supervisor: Supervisor
) -> None:
    supervisor.accept()
    supervisor.write("one")
    before = signal.getsignal(number)
    outcome, _ = watch(supervisor, show=lambda _: os.kill(os.getpid(), number))
    assert supervisor.heard == [{"op": "stop", "signal": number.name}]
    assert exit_status(outcome) == code
    assert signal.getsignal(number) is before


def test_a_signal_while_the_plan_is_sent_waits_for_its_turn(supervisor: Supervisor) -> None:
    """The plan takes several system calls; a message in the middle of it would spoil both."""
    sent: list[list[dict[str, Any]]] = []

    def begin() -> None:
        supervisor.accept()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        sent.append(list(supervisor.heard))

    attendant = Attendant(supervisor, None)
    outcome = attendant.attend(begin)
    assert sent == [[]]
    assert supervisor.heard == [{"op": "stop", "signal": "SIGTERM"}, {"op": "kill"}]
    assert exit_status(outcome) == 143


def test_what_nohup_ignores_stays_ignored(supervisor: Supervisor) -> None:
    supervisor.accept()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        supervisor.write("one")

        def show(_: bytes) -> None:
            os.kill(os.getpid(), signal.SIGHUP)
            supervisor.say(ENDED)

        outcome, _ = watch(supervisor, show=show)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert supervisor.heard == []
    assert exit_status(outcome) == 0


def test_a_second_ctrl_c_kills_and_the_person_is_told_both_times(supervisor: Supervisor) -> None:
    supervisor.accept()
    supervisor.at_stop = None
    told: list[tuple[str, bool]] = []

    def on_stop(name: str, again: bool) -> None:
        told.append((name, again))
        if again:
            supervisor.say({**ENDED, "exit_code": 130, "stopped_by": "SIGINT"})
        else:
            os.kill(os.getpid(), signal.SIGTERM)  # changes nothing: it is stopping already
            os.kill(os.getpid(), signal.SIGINT)

    supervisor.write("one")
    outcome, _ = watch(supervisor, show=lambda _: os.kill(os.getpid(), signal.SIGINT), on_stop=on_stop)
    assert supervisor.heard == [{"op": "stop", "signal": "SIGINT"}, {"op": "kill"}]
    assert told == [("SIGINT", False), ("SIGINT", True)]
    assert exit_status(outcome) == 130


def test_ctrl_c_while_only_printing_is_left_ends_the_printing(supervisor: Supervisor) -> None:
    supervisor.accept()
    supervisor.write(*LONG)
    supervisor.say(ENDED)
    shown: list[bytes] = []

    def show(line: bytes) -> None:
        shown.append(line)
        os.kill(os.getpid(), signal.SIGINT)

    outcome, _ = watch(supervisor, show=show)
    assert shown == [LONG[0].encode() + b"\n"]
    assert supervisor.heard == []
    assert exit_status(outcome) == 0


def test_a_reader_that_leaves_stops_the_run(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attend, "closed_output", lambda: ExitCode.CLOSED_OUTPUT)
    supervisor.accept()
    supervisor.write(*LONG)
    shown: list[bytes] = []

    def show(line: bytes) -> None:
        shown.append(line)
        raise BrokenPipeError

    outcome, _ = watch(supervisor, show=show)
    assert shown == [LONG[0].encode() + b"\n"]
    assert supervisor.heard == [{"op": "stop", "signal": "SIGPIPE"}]
    assert exit_status(outcome) == 141


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("end", ["heard of", "not heard of", "asked for"])
def test_a_terminal_that_takes_nothing_more_does_not_outlast_a_stopped_run(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, end: str
) -> None:
    """The write blocks for ever; the run ends when that is asked for, or has ended before."""
    monkeypatch.setattr(attend, "STUCK", 0.05)
    reader, writer = os.pipe()
    supervisor.accept()
    supervisor.write("one", "two")
    if end != "asked for":
        supervisor.at_stop = None
    if end == "heard of":
        supervisor.say(ENDED)

    def show(_: bytes) -> None:
        if end == "not heard of":
            supervisor.say(ENDED)
        while True:  # a signal cuts a write short
            os.write(writer, bytes(4096))

    def signal_once_it_blocks() -> None:
        waiting = array.array("i", [0])
        until(lambda: fcntl.ioctl(reader, termios.FIONREAD, waiting) == 0 and waiting[0] >= 65536)
        select.select([], [], [], 2 * attend.STUCK)
        os.kill(os.getpid(), number)

    person = threading.Thread(target=signal_once_it_blocks)
    person.start()
    outcome, _ = watch(supervisor, show=show)
    person.join()
    os.close(reader)
    os.close(writer)
    assert outcome.stuck
    assert outcome.ended is not None
    assert exit_status(outcome) == (128 + number if end == "asked for" else 0)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_slow_terminal_gets_everything_after_a_stop(supervisor: Supervisor) -> None:
    supervisor.accept()
    supervisor.write(*LONG)
    shown: list[bytes] = []

    def show(line: bytes) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGALRM)  # this write began a moment ago
        shown.append(line)

    outcome, _ = watch(supervisor, show=show)
    assert shown == [line.encode() + b"\n" for line in LONG]
    assert not outcome.stuck
    assert exit_status(outcome) == 143


def test_a_full_disk_behind_stdout_ends_the_view_and_not_the_run(
    supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor.accept()
    supervisor.write("one")
    supervisor.say(ENDED)

    def show(_: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    outcome, _ = watch(supervisor, show=show)
    assert supervisor.heard == []
    assert exit_status(outcome) == 0
    assert "No space left on device" in capsys.readouterr().err


def test_a_reader_that_leaves_is_noticed_while_nothing_is_written(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        monkeypatch.setattr(attend, "closed_output", lambda: ExitCode.CLOSED_OUTPUT)
        supervisor.accept()
        outcome, _ = watch(supervisor)
    assert exit_status(outcome) == 141
