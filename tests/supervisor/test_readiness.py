"""One replica and what it needs to say that it is ready; the ways with real programs are in the scenarios."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestra.logs.sink import LogFile
from orchestra.runplan import ProcessPlan, Ready
from orchestra.supervisor import events as on
from orchestra.supervisor import notify as notify_module
from orchestra.supervisor import pattern
from orchestra.supervisor.errands import Errands, Order
from orchestra.supervisor.kin import Kin
from orchestra.supervisor.output import Outputs
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.readiness import Gear, Readiness
from orchestra.supervisor.states import Who
from tests.support.runs import until

A = Who("a", 1)


class Bench:
    """Readiness, and what it needs of a supervisor; the test plays the process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.reactor = folder, Reactor()
        self.log = LogFile(folder / "log.jsonl", run="r")
        self.outputs = Outputs(self.reactor, self.log, "r", 4, lambda _key: None)
        self.told: list[on.Event] = []
        self.said: list[dict[str, object]] = []
        errands = Errands(self.reactor, Kin(), self.outputs, self.start)
        self.readiness = Readiness(
            self.reactor, self.outputs, errands, dict, folder,
            tell=self.told.append, say=lambda event, _who, fields: self.said.append({"event": event, **fields}),
            path=lambda _who: str(folder / "sock"),
        )  # fmt: skip

    def start(self, _order: Order, _stdout: int, _stderr: int) -> int:
        raise OSError(11, "no process")

    def launch(self, ready: Ready | None, pid: int = 0, **plan: Any) -> tuple[Gear, dict[int, int], list[int]]:
        """Launch the replica; return its gear, its descriptors, and the write ends of its streams."""
        process = ProcessPlan("a", ready=ready, **plan)
        with self.readiness.gear(A, process) as gear, self.outputs.pipes(A) as streams:
            inside = {number: os.dup(fd) for number, fd in gear.descriptors.items()}
            kept = [os.dup(fd) for fd in streams]
            self.outputs.started(A, pid or os.getpid(), gear.tap)
            self.readiness.started(A, pid or os.getpid())
        return gear, inside, kept

    def events(self, count: int = 1) -> list[on.Event]:
        """Wait for so many events."""

        def look() -> bool:
            self.reactor.turn(wait=False)
            return len(self.told) >= count

        until(look)
        return self.told

    def pass_until_gone(self, pid: int) -> bool:
        self.outputs._pass()
        return bool(os.waitpid(pid, os.WNOHANG)[0])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.readiness.close()
    bench.outputs.close()
    bench.log.close()
    assert not bench.reactor._callbacks
    assert set(bench.reactor._timers) <= {"gather"}, "the streams' own"


def notify(gear: Gear, *texts: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        for text in texts:
            sock.sendto(text.encode(), gear.environment["NOTIFY_SOCKET"])


def close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def test_without_readiness_and_watchdog_nothing_is_made(bench: Bench) -> None:
    gear, inside, kept = bench.launch(None)
    assert (gear, inside) == (Gear(), {})
    for act in (bench.readiness.watch, bench.readiness.forget, bench.readiness.last_words, bench.readiness.ended):
        act(A)
    assert bench.readiness.why_not(A) == "was not ready in time"
    close(*kept)


def test_ready_and_signs_of_life_over_one_socket(bench: Bench) -> None:
    gear, _, kept = bench.launch(Ready("notify"), watchdog=2.5)
    assert gear.environment["WATCHDOG_USEC"] == "2500000"
    bench.readiness.watch(A)
    notify(gear, "STATUS=a", "STATUS=a", "STATUS=b\nREADY=1", "READY=1", "WATCHDOG=1", "WATCHDOG=1")
    assert bench.events(2) == [on.BecameReady(A), on.Petted(A)]
    assert bench.said == [{"event": "process.status", "status": "a"}, {"event": "process.status", "status": "b"}]
    notify(gear, "WATCHDOG=1")
    assert bench.events(3)[2] == on.Petted(A)
    close(*kept)


def test_nothing_is_told_before_watch_nor_after_forget(bench: Bench) -> None:
    gear, _, kept = bench.launch(Ready("notify"))
    notify(gear, "READY=1")
    bench.reactor.turn()
    bench.readiness.watch(A)
    bench.readiness.forget(A)
    notify(gear, "READY=1", "WATCHDOG=1")
    bench.reactor.turn()
    assert bench.told == [], "it has no watchdog either"
    close(*kept)


def test_the_second_incarnation_starts_afresh(bench: Bench) -> None:
    first, inside, kept = bench.launch(Ready("fd", fd=7))
    bench.readiness.watch(A)
    os.write(inside[7], b"version 1\n")
    assert bench.events() == [on.BecameReady(A)]
    bench.readiness.ended(A)
    close(*inside.values(), *kept)
    second, inside, kept = bench.launch(Ready("fd", fd=7))
    assert first.environment == second.environment == {"ORCHESTRA_READY_FD": "7"}
    bench.readiness.watch(A)
    bench.reactor.turn(wait=False)
    assert len(bench.told) == 1
    os.write(inside[7], b"\n")
    assert bench.events(2) == [on.BecameReady(A), on.BecameReady(A)]
    close(*inside.values(), *kept)


def test_a_descriptor_that_is_closed_without_a_newline(bench: Bench) -> None:
    _, inside, kept = bench.launch(Ready("fd", fd=7))
    bench.readiness.watch(A)
    os.write(inside[7], b"almost")
    close(inside[7])
    assert bench.events() == [on.NotReady(A, "closed descriptor 7 and wrote no newline to it")]
    close(*kept)


def test_the_end_of_a_process_comes_before_the_end_of_its_descriptor_counts(bench: Bench) -> None:
    _, inside, kept = bench.launch(Ready("fd", fd=7))
    bench.readiness.watch(A)
    close(inside[7])
    bench.reactor.turn()
    bench.readiness.last_words(A)
    bench.readiness.ended(A)
    assert bench.told == []
    assert not bench.reactor._timers
    close(*kept)


@pytest.mark.parametrize(
    ("writes", "is_ready"),
    [
        ([(0, b"ready\n")], True),
        ([(1, b"re"), (0, b"re"), (1, b"ady\r\n")], True),
        ([(0, b"already\n"), (1, b"\xff ready\n"), (0, b"rea"), (0, b"dy")], False),
        ([(0, b"x" * 200_000 + b"\nready\n")], True),
    ],
)
def test_a_line_is_found_wherever_it_is_cut(bench: Bench, writes: list[tuple[int, bytes]], is_ready: bool) -> None:
    _, _, kept = bench.launch(Ready("log", pattern="^ready$"))
    bench.readiness.watch(A)
    for stream, data in writes:
        pid = os.fork()
        if pid == 0:  # more than a pipe holds
            os.write(kept[stream], data)
            os._exit(0)
        until(partial(bench.pass_until_gone, pid))
        bench.outputs._pass()
    assert bench.told == ([on.BecameReady(A)] if is_ready else [])
    bench.readiness.last_words(A)
    assert bench.told == [on.BecameReady(A)] * (is_ready or writes[-1] == (0, b"dy"))
    close(*kept)


def test_one_that_stopped_itself_is_seen_and_continued(bench: Bench) -> None:
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(7)
    _, _, kept = bench.launch(Ready("stopped"), pid)
    bench.readiness.watch(A)
    bench.readiness.children_stopped()

    def look() -> bool:
        bench.readiness.children_stopped()
        return bool(bench.told)

    until(look)
    assert bench.told == [on.BecameReady(A)]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    close(*kept)


def test_a_probe_that_cannot_be_started_is_tried_again(bench: Bench) -> None:
    _, _, kept = bench.launch(Ready("exec", command=(("true",),), timeout=3.0))
    bench.readiness.watch(A)

    def was_tried() -> bool:
        bench.reactor.turn()
        return "no process" in bench.readiness.why_not(A)

    until(was_tried)
    assert bench.readiness.why_not(A) == (
        "was not ready within 3 s: its probe did not exit with 0 (the last probe could not be started: no process)"
    )
    close(*kept)


def test_a_launch_that_fails_leaves_nothing(bench: Bench) -> None:
    before = len(os.listdir("/proc/self/fd"))
    plan = ProcessPlan("a", ready=Ready("fd", fd=7), watchdog=1.0)
    with pytest.raises(KeyError), bench.readiness.gear(A, plan):
        raise KeyError("no launch")
    assert len(os.listdir("/proc/self/fd")) == before
    assert list(bench.folder.glob("notify*")) == []


def test_a_pattern_that_never_comes_to_an_end_is_a_failure_and_stalls_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pattern, "LIMIT", 0.02)
    _, _, kept = bench.launch(Ready("log", pattern="(a+)+$"))
    bench.readiness.watch(A)
    os.write(kept[0], b"fine\n" + b"a" * 60 + b"!\n" * 9)
    (told,) = bench.events()
    assert isinstance(told, on.NotReady)
    assert "takes too long" in told.reason
    os.write(kept[0], b"a\n")
    bench.outputs._pass()
    assert len(bench.told) == 1, "once is enough"
    close(*kept)


def test_last_words_are_heard_to_their_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_module, "SOME", 4)  # the kernel's queue may be that short too
    gear, _, kept = bench.launch(Ready("notify"))
    bench.readiness.watch(A)
    notify(gear, *["STATUS=busy"] * 8, "READY=1")
    bench.readiness.last_words(A)
    assert bench.told == [on.BecameReady(A)]
    close(*kept)


def test_a_newline_after_many_bytes_is_a_newline_also_among_last_words(bench: Bench) -> None:
    _, inside, kept = bench.launch(Ready("fd", fd=7))
    bench.readiness.watch(A)
    os.write(inside[7], b"x" * 20_000 + b"\n")
    bench.readiness.last_words(A)
    assert bench.told == [on.BecameReady(A)]
    close(*inside.values(), *kept)
