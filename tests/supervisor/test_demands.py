"""What a person asks of single processes."""

from __future__ import annotations

from orchestra.runplan import Dependency, Restart
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.states import Phase, RunPhase, Who
from tests.support.play import Play, plan, signalled, spawned

A, B = Who("a", 1), Who("b", 1)


def test_a_stop_stops_what_it_names_and_the_run_goes_on() -> None:
    play = Play(plan("a"), plan("b", "a")).start()
    assert signalled(play.feed(on.StopAsked((A,), "orchestra stop"))) == ["a"]
    play.end("a", None, "SIGTERM")
    play.end("b")
    assert (play.phase("a"), play.state.phase) == (Phase.EXITED, RunPhase.UP)
    assert spawned(play.feed(on.StartAsked((A,), "orchestra start"))) == ["a"]
    play.up("a")
    play.end("a")
    assert (play.state.phase, play.state.exit_code) == (RunPhase.SWEEPING, 0)


def test_a_stop_wins_over_a_pending_restart() -> None:
    play = Play(plan("a", restart=Restart("always"))).start()
    play.crash("a")
    play.feed(on.StopAsked((A,), "orchestra stop"))
    assert play.phase("a") is Phase.EXITED
    assert spawned(play.fire("backoff", "a")) == [], "the timer fired nevertheless"


def test_a_start_brings_up_what_it_depends_on() -> None:
    play = Play(plan("a", service=True), plan("b", "a"), plan("z")).start()
    play.feed(on.StopAsked((A, B), "orchestra stop"))
    play.end("b", None, "SIGTERM")
    play.end("a", None, "SIGTERM")
    assert spawned(play.feed(on.StartAsked((B,), "orchestra start"))) == ["a"]
    assert spawned(play.up("a")) == ["b"]


def test_a_start_while_it_is_being_stopped_comes_after_the_stop() -> None:
    play = Play(plan("a")).start()
    play.feed(on.StopAsked((A,), "orchestra stop"), on.StartAsked((A,), "orchestra start"))
    assert spawned(play.end("a", None, "SIGTERM")) == ["a"]


def test_a_failed_process_that_is_started_again_no_longer_counts_as_failed() -> None:
    play = Play(plan("a", escalate="ignore"), plan("z")).start()
    play.end("a", 1)
    play.feed(on.StartAsked((A,), "orchestra start"))
    play.up("a")
    play.end("a", 0)
    play.end("z", 0)
    assert play.state.exit_code == 0


def test_a_restart_takes_those_along_that_ask_for_it() -> None:
    follower = plan("b")._replace(depends_on=(Dependency("a", "started", restart=True),))
    play = Play(plan("a"), follower, plan("c", "a")).start()
    assert signalled(play.feed(on.RestartAsked((A,), "orchestra restart"))) == ["b"]
    assert signalled(play.end("b", None, "SIGTERM")) == ["a"]
    assert spawned(play.end("a", None, "SIGTERM")) == ["a"]
    assert spawned(play.up("a")) == ["b"]


def test_scaling_up_starts_and_down_retires_the_highest() -> None:
    play = Play(plan("a", replicas=2), plan("z")).start()
    assert play.feed(on.ScaleAsked("a", 3, "orchestra scale"))[-1] == do.Spawn(Who("a", 3))
    play.up("a", 3)
    commands = play.feed(on.ScaleAsked("a", 1, "orchestra scale"))
    assert sorted(c.who.replica for c in commands if isinstance(c, do.Signal)) == [2, 3]
    dropped = [c for c in play.end("a", None, "SIGTERM", replica=3) if isinstance(c, do.Drop)]
    assert [(c.who, c.replica.phase.value) for c in dropped] == [(Who("a", 3), "exited")]
    play.end("a", None, "SIGTERM", replica=2)
    assert sorted(play.state.replicas) == [A, Who("z", 1)]


def test_nobodys_word_counts_once_the_run_is_being_stopped() -> None:
    play = Play(plan("a"), plan("b")).start()
    play.feed(on.StopRequested("down"))
    assert play.feed(on.StartAsked((A,), "x"), on.ScaleAsked("a", 3, "x"), on.RestartAsked((B,), "x")) == []


def test_a_run_of_processes_that_a_person_starts_waits_for_that() -> None:
    play = Play(plan("a", autostart=False))
    phases = [play.start().state.phase]
    play.feed(on.StartAsked((A,), "orchestra start"))
    play.up("a")
    play.end("a")
    assert [*phases, play.state.phase] == [RunPhase.UP, RunPhase.SWEEPING]


def test_what_could_not_be_ended_is_not_started_again() -> None:
    play = Play(plan("a", escalate="ignore"), plan("z")).start()
    play.feed(on.StopAsked((A,), "orchestra stop"))
    play.fire("grace", "a")
    play.fire("abandon", "a")
    assert play.feed(on.StartAsked((A,), "orchestra start")) == [
        do.Log("process.start_requested", A, {"by": "orchestra start"})
    ]
    play.feed(on.Exited(A, None, "SIGKILL"), on.Ended(A))
    assert spawned(play.feed(on.StartAsked((A,), "orchestra start"))) == ["a"], "it has ended after all"


def test_what_a_person_stopped_does_not_come_back_with_what_it_depends_on() -> None:
    follower = plan("b")._replace(depends_on=(Dependency("a", "started", restart=True),))
    play = Play(plan("a", restart=Restart("on-failure")), follower, plan("z")).start()
    play.feed(on.Exited(B, 0), on.StopAsked((B,), "orchestra stop"))
    play.crash("a")
    assert spawned(play.feed(on.Ended(B))) == []
    assert play.phase("b") is Phase.EXITED
