"""How replicas are asked to stop."""

from __future__ import annotations

from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.states import Phase, Who
from tests.support.play import Play, killed, logged, plan, signalled

A = Who("a", 1)
COMMAND = (("stop-it",),)


def test_a_stop_command_comes_instead_of_the_signal() -> None:
    play = Play(plan("a", stop_command=COMMAND, grace=2.0)).start()
    commands = play.feed(on.StopRequested("down"))
    assert (do.StopCommand(A) in commands, signalled(commands)) == (True, [])
    assert do.StartTimer(on.Timer("grace", A), 2.0) in commands
    assert play.feed(on.StopCommandEnded(A)) == [], "the process has its grace to follow"
    assert killed(play.fire("grace", "a")) == ["a"]


def test_the_signal_follows_when_the_command_fails() -> None:
    play = Play(plan("a", stop_command=COMMAND, stop_signal=2)).start()
    play.feed(on.StopRequested("down"))
    commands = play.feed(on.StopCommandEnded(A, "it exited with code 1"))
    assert do.Signal(A, 2) in commands
    assert logged(commands) == ["process.stop_command_failed"]


def test_no_signal_follows_an_end() -> None:
    play = Play(plan("a", stop_command=COMMAND)).start()
    play.feed(on.StopRequested("down"))
    play.feed(on.Exited(A, 0))
    assert play.feed(on.StopCommandEnded(A, "it exited with code 1")) == []


def test_what_is_asked_to_stop_need_not_become_ready_nor_show_life() -> None:
    play = Play(plan("a", watchdog=1.0)).start()
    assert do.CancelTimer(on.Timer("watchdog", A)) in play.feed(on.StopRequested("down"))
    assert play.fire("watchdog", "a") == []
    assert play.phase("a") is Phase.STOPPING


def test_a_rejected_replica_that_the_run_stops_is_a_failure_still() -> None:
    play = Play(plan("a", watchdog=1.0), plan("z")).start()
    play.fire("watchdog", "a")
    play.feed(on.StopRequested("down"))
    play.end("a", None, "SIGABRT")
    assert play.phase("a") is Phase.FAILED
