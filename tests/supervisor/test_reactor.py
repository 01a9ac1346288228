"""Timers, signals and descriptors in one wait."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from orchestra.supervisor.reactor import READ, Reactor


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    yield ends
    for fd in ends:
        os.close(fd)


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


def test_a_ready_descriptor_calls_back_until_it_is_forgotten(reactor: Reactor, pipe: tuple[int, int]) -> None:
    calls: list[bytes] = []
    reactor.watch(pipe[0], lambda: calls.append(os.read(pipe[0], 1)))
    os.write(pipe[1], b"ab")
    reactor.turn()
    reactor.turn()
    assert calls == [b"a", b"b"]
    os.write(pipe[1], b"c")
    reactor.forget(pipe[0])
    reactor.forget(pipe[0])
    reactor.turn(wait=False)
    assert calls == [b"a", b"b"]


def test_a_muted_descriptor_is_not_waited_for(reactor: Reactor, pipe: tuple[int, int]) -> None:
    calls: list[int] = []
    reactor.watch(pipe[0], lambda: calls.append(1))
    os.write(pipe[1], b"a")
    reactor.change(pipe[0], 0)
    reactor.turn(wait=False)
    assert calls == []
    reactor.change(pipe[0], READ)
    reactor.turn(wait=False)
    assert calls == [1]


def test_one_callback_may_forget_another_that_is_ready_too(reactor: Reactor) -> None:
    ends = [os.pipe(), os.pipe()]
    calls: list[int] = []

    def first(number: int) -> None:
        calls.append(number)
        for read, _ in ends:
            reactor.forget(read)

    for number, (read, write) in enumerate(ends):
        reactor.watch(read, lambda number=number: first(number))  # type: ignore[misc]
        os.write(write, b"x")
    reactor.turn()
    assert len(calls) == 1
    for read, write in ends:
        os.close(read)
        os.close(write)


def test_timers_fire_in_order_and_once(reactor: Reactor) -> None:
    calls: list[str] = []
    reactor.after("late", 0.02, lambda: calls.append("late"))
    reactor.after("early", 0.01, lambda: calls.append("early"))
    began = time.monotonic()
    while len(calls) < 2:
        reactor.turn()
    assert calls == ["early", "late"]
    assert time.monotonic() - began >= 0.02


def test_a_timer_can_be_replaced_and_cancelled(reactor: Reactor) -> None:
    calls: list[str] = []
    reactor.after("a", 0.001, lambda: calls.append("old"))
    reactor.after("a", 0.002, lambda: calls.append("new"))
    reactor.after("b", 0.001, lambda: calls.append("never"))
    reactor.cancel("b")
    reactor.cancel("unknown")
    reactor.after("end", 0.01, lambda: calls.append("end"))
    while "end" not in calls:
        reactor.turn()
    assert calls == ["new", "end"]


def test_a_timer_does_not_spin(reactor: Reactor) -> None:
    """The last fraction of a millisecond must not be spent in waits of zero."""
    fired: list[int] = []
    turns = 0
    reactor.after("a", 0.0305, lambda: fired.append(1))
    while not fired:
        reactor.turn()
        turns += 1
    assert turns <= 2


def test_a_timer_may_lie_years_ahead(reactor: Reactor, pipe: tuple[int, int]) -> None:
    reactor.after("grace", 1e9, lambda: None)
    calls: list[bytes] = []
    reactor.watch(pipe[0], lambda: calls.append(os.read(pipe[0], 1)))
    os.write(pipe[1], b"x")
    reactor.turn()
    assert calls == [b"x"]


def test_signals_arrive_by_number(reactor: Reactor) -> None:
    seen: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    try:
        reactor.signals((signal.SIGUSR1, signal.SIGUSR2), seen.extend)
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR1)
        reactor.turn()
        assert seen == [signal.SIGUSR2, signal.SIGUSR1]
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGUSR1)
        reactor.turn()
        assert seen.count(signal.SIGUSR1) == 4, "each one counts: the second Ctrl-C kills"
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_timer_that_is_set_anew_again_and_again_takes_no_more_room(reactor: Reactor) -> None:
    calls: list[str] = []
    reactor.after("other", 0.0, lambda: calls.append("other"))
    for _ in range(10_000):
        reactor.after("watchdog", 1000.0, lambda: calls.append("watchdog"))
    assert len(reactor._heap) < 200
    reactor.turn()
    assert calls == ["other"]


def test_a_wall_clock_that_is_set_back_moves_no_timer(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    reactor.after("soon", 0.01, lambda: calls.append(1))
    monkeypatch.setattr(time, "time", lambda: -1e9)
    reactor.turn()
    assert calls == [1]


def test_a_timer_that_is_due_is_not_waited_for(reactor: Reactor) -> None:
    reactor.after("now", 0, lambda: None)
    assert reactor._pause() == 0.0, "not even the millisecond that others are rounded up by"
