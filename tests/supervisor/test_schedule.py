"""Looks at growing distances, under a clock of ours."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import cast

from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.schedule import FIRST, LONGEST, Schedule


class Timers:
    """A reactor that notes when something is to happen, and lets it happen at once."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.waiting: dict[Hashable, Callable[[], None]] = {}

    def after(self, name: Hashable, seconds: float, callback: Callable[[], None]) -> None:
        self.pauses.append(seconds)
        self.waiting[name] = callback

    def cancel(self, name: Hashable) -> None:
        self.waiting.pop(name, None)

    def fire(self) -> None:
        name = next(iter(self.waiting))
        self.waiting.pop(name)()


def scheduled(look: Callable[[], None], *, by_hand: bool = False) -> tuple[Timers, Schedule]:
    timers = Timers()
    return timers, Schedule(cast("Reactor", timers), "x", look, by_hand=by_hand)


def test_pauses_grow_to_a_second_and_begin_anew() -> None:
    looks: list[int] = []
    timers, schedule = scheduled(lambda: looks.append(1))
    schedule.start()
    for _ in range(12):
        timers.fire()
    assert len(looks) == 12
    assert timers.pauses[0] == FIRST
    assert all(later <= 2 * before for before, later in zip(timers.pauses, timers.pauses[1:], strict=False))
    assert timers.pauses[-1] == LONGEST
    schedule.start()
    assert timers.pauses[-1] == FIRST


def test_a_look_may_stop_it() -> None:
    def look() -> None:
        schedule.stop()

    timers, schedule = scheduled(look)
    schedule.start()
    timers.fire()
    assert not timers.waiting
    schedule.again()
    assert not timers.waiting


def test_by_hand_the_next_look_waits_for_the_end_of_this_one() -> None:
    timers, schedule = scheduled(lambda: None, by_hand=True)
    schedule.start()
    timers.fire()
    assert not timers.waiting
    schedule.again()
    assert len(timers.waiting) == 1
