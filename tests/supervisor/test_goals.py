"""When what was asked for has come about: replicas through the machine, and what each goal says on the way."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.runplan import ProcessPlan, Ready, Restart
from orchestra.supervisor import events as on
from orchestra.supervisor.goals import Before, Verdict, look
from orchestra.supervisor.states import Phase, Replica, RunState, Urge, Who
from tests.support.play import Play, plan

A = Who("a", 1)


class Watch:
    """One goal for a.1, looked at whenever asked for."""

    def __init__(self, play: Play, goal: str, *, anew: bool = False) -> None:
        self.play, self.goal = play, goal
        self.before = Before(play.state.replicas.get(A), anew)

    def __call__(self) -> str:
        replica = self.play.state.replicas.get(A)
        self.before = self.before.seen(replica)
        declares = self.play.state.graph.processes["a"].ready is not None
        found = look(self.goal, replica, self.before, declares_ready=declares)
        return "" if found is None else found.result


def play(**changes: Any) -> Play:
    return Play(plan("a", **changes), plan("other")).start()


def test_stop_is_over_when_nothing_of_it_is_left() -> None:
    run = play()
    watch = Watch(run, "stopped")
    run.feed(on.StopAsked((A,), "me"))
    assert watch() == ""
    run.feed(on.Exited(A, None, "SIGTERM"))
    assert watch() == ""
    run.feed(on.Ended(A))
    assert watch() == "ok"
    assert Watch(run, "stopped")() == "ok"


def test_a_stop_during_backoff_and_one_that_somebody_undoes() -> None:
    run = play(restart=Restart("always"))
    run.crash("a")
    assert run.phase("a") is Phase.BACKOFF
    watch = Watch(run, "stopped")
    run.feed(on.StopAsked((A,), "me"))
    assert watch() == "ok"
    run = play()
    watch = Watch(run, "stopped")
    run.feed(on.StopAsked((A,), "me"))
    assert watch() == ""
    run.feed(on.StartAsked((A,), "you"))
    run.end("a", None, "SIGTERM")
    run.up("a")
    assert watch() == "failed"


def test_a_start_of_what_is_up_is_over_at_once() -> None:
    run = play()
    watch = Watch(run, "up")
    run.feed(on.StartAsked((A,), "me"))
    assert watch() == "ok"


def test_a_start_ends_with_ready_or_the_end_of_a_one_shot() -> None:
    run = play(ready=Ready("notify"))
    run.feed(on.BecameReady(A), on.StopAsked((A,), "me"))
    run.end("a", None, "SIGTERM")
    watch = Watch(run, "up")
    run.feed(on.StartAsked((A,), "me"))
    assert watch() == ""
    run.up("a")
    assert watch() == ""
    run.feed(on.BecameReady(A))
    assert watch() == "ok"
    run = play()
    run.end("a")
    watch = Watch(run, "up")
    run.feed(on.StartAsked((A,), "me"))
    run.up("a")
    run.end("a", 0)  # before anybody could look
    assert watch() == "ok"


def test_a_start_that_fails_or_is_stopped_by_somebody_else() -> None:
    run = play(escalate="ignore")
    run.end("a")
    watch = Watch(run, "up")
    run.feed(on.StartAsked((A,), "me"))
    run.feed(on.LaunchFailed(A, "no such file", "exec", "ENOENT", "/x"))
    assert watch() == "failed"
    run = play()
    run.feed(on.StopAsked((A,), "me"))
    run.end("a", None, "SIGTERM")
    watch = Watch(run, "up")
    run.feed(on.StartAsked((A,), "me"))
    run.up("a")
    run.feed(on.StopAsked((A,), "you"))
    run.end("a", None, "SIGTERM")
    assert watch() == "failed"


def test_a_restart_takes_another_incarnation() -> None:
    run = play()
    watch = Watch(run, "up", anew=True)
    assert watch() == ""
    run.feed(on.RestartAsked((A,), "me"))
    assert watch() == ""
    run.end("a", None, "SIGTERM")
    assert watch() == ""
    run.up("a")
    assert watch() == "ok"


def test_a_restart_that_is_over_between_two_looks() -> None:
    run = play()
    watch = Watch(run, "up", anew=True)
    run.feed(on.RestartAsked((A,), "me"))
    run.end("a", None, "SIGTERM")
    run.up("a")
    assert watch() == "ok"


def test_what_is_scaled_away_is_gone_once_it_has_ended() -> None:
    run = Play(plan("a", replicas=2), plan("other")).start()
    before = Before(run.state.replicas[Who("a", 2)])
    run.feed(on.ScaleAsked("a", 1, "me"))
    assert look("gone", run.state.replicas.get(Who("a", 2)), before, declares_ready=False) is None
    run.end("a", None, "SIGTERM", replica=2)
    assert look("gone", run.state.replicas.get(Who("a", 2)), before, declares_ready=False) == Verdict("ok")
    assert look("ready", None, before, declares_ready=False) == Verdict("failed", "the run has no such replica")


@pytest.mark.parametrize(
    ("condition", "answers"),
    [
        # waiting for its launch, running, ready, ended well | ended badly | never started
        ("started", ["", "ok", "ok", "ok", "ok", "failed"]),
        ("ready", ["", "", "ok", "ok", "ok", "failed"]),
        ("completed", ["", "", "", "ok", "failed", "failed"]),
        ("exited", ["", "", "", "ok", "ok", "ok"]),
        ("settled", ["", "", "ok", "ok", "failed", "failed"]),
    ],
)
def test_what_can_be_waited_for(condition: str, answers: list[str]) -> None:
    def run(end: int | None) -> list[str]:
        play = Play(plan("a", ready=Ready("notify"), escalate="ignore"), plan("other"))
        play.feed(on.Begin())
        watch = Watch(play, condition)
        found = [watch()]
        for event in (on.Started(A, 7), on.BecameReady(A)):
            play.feed(event)
            found.append(watch())
        play.end("a", end)
        return [*found, watch()]

    assert run(0) == answers[:4]
    assert run(3)[3] == answers[4]
    skipped = Play(plan("b", escalate="ignore"), plan("a", "b", condition="completed"), plan("other")).start()
    skipped.end("b", 1)
    assert Watch(skipped, condition)() == answers[5]


def test_what_ended_before_it_was_ready_never_will_be() -> None:
    run = Play(plan("a", ready=Ready("notify"), escalate="ignore"), plan("other")).start()
    watch = Watch(run, "ready")
    run.end("a", 0)
    assert watch() == "failed"


def test_a_process_that_cannot_be_ended_is_no_success() -> None:
    stuck = Replica(Phase.FAILED, pid=7, urge=Urge.KILLED, reason="pid 7 could not be ended")
    assert look("stopped", stuck, Before(None), declares_ready=False) == Verdict("failed", "pid 7 could not be ended")
    assert look("up", stuck, Before(stuck), declares_ready=False) == Verdict("failed", "pid 7 could not be ended")


def test_what_nobody_asked_for_is_not_waited_for() -> None:
    state = RunState.initial([ProcessPlan("a", (("x",),), autostart=False), ProcessPlan("b", (("x",),))])
    replica = state.replicas[A]
    assert look("stopped", replica, Before(replica), declares_ready=False) == Verdict("ok")
    assert look("up", replica, Before(replica), declares_ready=False) == Verdict("failed", "it was stopped by a person")
