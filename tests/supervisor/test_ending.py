"""What follows from an end: another start, a failure, and what that means for others."""

from __future__ import annotations

from orchestra.runplan import Dependency, Ready, Restart
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.states import Phase, RunPhase, Who
from tests.support.play import Play, delays, logged, plan, signalled, spawned

TWICE = Restart("on-failure", 2, 60.0, 0.2, 10.0)


def test_a_crash_loop_backs_off_and_then_escalates() -> None:
    play = Play(plan("a", restart=TWICE), plan("z")).start()
    commands = play.crash("a")
    assert (delays(commands, "backoff"), play.phase("a")) == ([0.2], Phase.BACKOFF)
    assert logged(commands) == ["process.exited", "process.restarting"]
    assert spawned(play.fire("backoff", "a")) == ["a"]
    play.up("a")
    assert delays(play.crash("a"), "backoff") == [0.4]
    play.fire("backoff", "a")
    play.up("a")
    assert signalled(play.crash("a")) == ["z"]
    assert play.reason("a") == "exited with code 1, and was restarted 2 times within 60 s"
    assert play.state.replicas[Who("a", 1)].restarts == 2


def test_on_failure_leaves_a_success_alone_and_always_does_not() -> None:
    play = Play(plan("a", restart=TWICE), plan("b", restart=Restart("always")), plan("z")).start()
    play.end("a", 0)
    assert play.phase("a") is Phase.EXITED
    play.end("b", 0)
    assert play.phase("b") is Phase.BACKOFF
    assert play.state.failures == ()


def test_a_success_that_comes_too_often_is_a_failure() -> None:
    play = Play(plan("a", restart=Restart("always", 1, 60.0))).start()
    play.end("a", 0)
    play.fire("backoff", "a")
    play.up("a")
    play.end("a", 0)
    assert play.reason("a") == "exited with code 0, and was restarted once within 60 s"


def test_a_restart_waits_for_what_is_on_its_way_up_and_for_nothing_else() -> None:
    play = Play(plan("a", restart=TWICE, ready=Ready("notify")), plan("b", "a", condition="ready", restart=TWICE))
    play.feed(on.Begin())
    play.up("a")
    play.feed(on.BecameReady(Who("a", 1)))
    play.up("b")
    play.crash("a")
    play.crash("b")
    assert spawned(play.fire("backoff", "b")) == [], "a is not back yet"
    play.fire("backoff", "a")
    play.up("a")
    assert spawned(play.feed(on.BecameReady(Who("a", 1)))) == ["b"]


def test_a_failed_dependency_does_not_keep_a_process_from_coming_back() -> None:
    play = Play(plan("a", escalate="ignore"), plan("b", "a", restart=TWICE), plan("z")).start()
    play.end("a", 1)
    play.crash("b")
    assert spawned(play.fire("backoff", "b")) == ["b"]


def test_those_that_restart_with_it_are_stopped_and_come_back_after_it() -> None:
    follower = plan("b")._replace(depends_on=(Dependency("a", "ready", restart=True),))
    play = Play(plan("a", restart=TWICE, ready=Ready("notify")), follower, plan("c", "b"))
    play.feed(on.Begin())
    play.up("a")
    play.feed(on.BecameReady(Who("a", 1)))
    play.up("b")
    play.up("c")
    assert signalled(play.crash("a")) == ["b"], "c only depends on it"
    play.end("b", None, "SIGTERM")
    play.fire("backoff", "a")
    play.up("a")
    assert play.phase("b") is Phase.PENDING
    assert spawned(play.feed(on.BecameReady(Who("a", 1)))) == ["b"]


def test_a_program_that_is_not_there_is_not_tried_again() -> None:
    play = Play(plan("a", restart=TWICE))
    play.feed(on.Begin(), on.LaunchFailed(Who("a", 1), "no such file", "exec", "ENOENT", "/x"))
    assert play.phase("a") is Phase.FAILED


def test_a_launch_that_may_work_later_is_tried_again() -> None:
    play = Play(plan("a", restart=TWICE))
    play.feed(on.Begin(), on.LaunchFailed(Who("a", 1), "no more processes", "fork", "EAGAIN", "/x"))
    assert play.phase("a") is Phase.BACKOFF


def test_a_stop_of_the_run_wins_over_a_pending_restart() -> None:
    play = Play(plan("a", restart=TWICE)).start()
    play.crash("a")
    commands = play.feed(on.StopRequested("orchestra down"))
    assert do.CancelTimer(on.Timer("backoff", Who("a", 1))) in commands
    assert (play.phase("a"), play.state.phase) == (Phase.EXITED, RunPhase.SWEEPING)
    assert play.state.exit_code == 0


def test_a_pending_restart_keeps_the_run_up() -> None:
    play = Play(plan("a", restart=TWICE), plan("s", service=True)).start()
    assert signalled(play.crash("a")) == []
    assert play.state.phase is RunPhase.UP


def test_stop_dependants_spares_those_that_wait_for_any_end() -> None:
    after = plan("b", "a", condition="ended")
    play = Play(plan("a", escalate="stop-dependants"), after, plan("c", "a", condition="completed"), plan("z")).start()
    assert spawned(play.end("a", 1)) == ["b"]
    assert play.phase("c") is Phase.SKIPPED
