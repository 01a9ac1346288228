"""What may start: dependencies, and conditions on objects."""

from __future__ import annotations

import pytest

from orchestra.runplan import WaitFor
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.starting import waits_for, words
from orchestra.supervisor.states import Phase, Who
from tests.support.play import Play, logged, plan, spawned

FULL = (WaitFor("jobs", "messages", 1), WaitFor("table", "attached", 2, 2))


def test_conditions_are_looked_for_once_the_dependencies_are_met() -> None:
    play = Play(plan("a"), plan("b", "a", wait_for=FULL))
    play.feed(on.Begin())
    commands = play.up("a")
    assert do.WatchFor("b") in commands
    assert logged(commands) == ["process.started", "process.waiting"]
    assert spawned(play.feed(on.WaitMet("b"))) == ["b"]


def test_it_is_said_what_a_replica_waits_for() -> None:
    play = Play(plan("a"), plan("b", "a", wait_for=FULL), plan("c", autostart=False))
    play.feed(on.Begin())
    assert waits_for(play.state, "b", 1) == "waits for a started"
    assert waits_for(play.state, "c", 1) == "waits for somebody to start it"
    play.up("a")
    assert waits_for(play.state, "a", 1) == ""
    assert waits_for(play.state, "b", 1) == "waits for jobs: messages 1 or more, table: attached 2"
    play.feed(on.WaitMet("b"))
    assert waits_for(play.state, "b", 1) == ""


def test_conditions_are_asked_once() -> None:
    play = Play(plan("a", wait_for=FULL), plan("z"))
    play.feed(on.Begin(), on.WaitMet("a"))
    play.up("a")
    play.feed(on.RestartAsked((Who("a", 1),), "orchestra restart"))
    assert spawned(play.end("a", None, "SIGTERM")) == ["a"]


def test_a_stop_ends_the_waiting() -> None:
    play = Play(plan("a", wait_for=FULL))
    play.feed(on.Begin())
    assert do.ForgetFor("a") in play.feed(on.StopRequested("down"))
    assert play.phase("a") is Phase.SKIPPED
    assert spawned(play.feed(on.WaitMet("a"))) == [], "it was met too late"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (WaitFor("jobs", "messages", 1), "jobs: messages 1 or more"),
        (WaitFor("table", "attached", 2, 2), "table: attached 2"),
        (WaitFor("slots", "value", 1, 4), "slots: value 1 to 4"),
        (WaitFor("locks", "value", 1, member=2), "locks: value of member 2 1 or more"),
        (WaitFor("control", "exists"), "control exists"),
        (WaitFor("control", "exists", expected=False), "control does not exist"),
        (WaitFor("reader", "blocked_on", object="jobs"), "reader blocked on jobs"),
    ],
)
def test_words(condition: WaitFor, expected: str) -> None:
    assert words(condition) == expected


def test_a_process_that_does_not_start_by_itself_is_started_by_one_that_needs_it() -> None:
    play = Play(plan("db", autostart=False), plan("tool", autostart=False), plan("api", "db"))
    assert spawned(play.feed(on.Begin())) == ["db"]
    assert spawned(play.up("db")) == ["api"]
    play.up("api")
    play.end("api")
    play.end("db")
    assert play.phase("tool") is Phase.SKIPPED, "nobody asked for it"
