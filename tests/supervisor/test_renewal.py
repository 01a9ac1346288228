"""An edited plan comes in while the run is up."""

from __future__ import annotations

from orchestra.runplan import ProcessPlan
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.states import Phase, RunPhase, Who
from tests.support.play import Play, logged, plan, signalled, spawned


def change(play: Play, *plans: ProcessPlan, restart: tuple[str, ...] = ()) -> list[do.Command]:
    return play.feed(on.PlanChanged(plans, frozenset(restart), "orchestra up"))


def test_only_what_differs_is_stopped_and_everything_else_goes_on() -> None:
    play = Play(plan("a"), plan("b"), plan("c")).start()
    commands = change(play, plan("a"), plan("b", grace=1.0), plan("d"), restart=("b",))
    assert signalled(commands) == ["b", "c"]
    assert do.Rebuild() not in play.end("b", None, "SIGTERM")
    assert do.Rebuild() in play.end("c", None, "SIGTERM")
    commands = play.feed(on.Rebuilt())
    assert spawned(commands) == ["b", "d"]
    assert [c.who for c in commands if isinstance(c, do.Drop)] == [Who("c", 1)]
    assert logged(commands) == ["run.changed"]
    assert play.state.graph.processes["b"].grace == 1.0


def test_a_change_that_stops_nobody_is_made_at_once() -> None:
    play = Play(plan("a")).start()
    assert do.Rebuild() in change(play, plan("a"), plan("b"))
    assert spawned(play.feed(on.Rebuilt())) == ["b"]


def test_a_change_of_the_number_of_replicas_restarts_none() -> None:
    play = Play(plan("a", replicas=2)).start()
    assert signalled(change(play, plan("a", replicas=3))) == []
    commands = play.feed(on.Rebuilt())
    assert [c.who for c in commands if isinstance(c, do.Spawn)] == [Who("a", 3)]


def test_what_was_stopped_for_a_change_that_fails_starts_again_as_it_was() -> None:
    play = Play(plan("a"), plan("b"), plan("c")).start()
    change(play, plan("b", grace=1.0), plan("c"), restart=("b",))
    play.end("a", None, "SIGTERM")
    play.end("b", None, "SIGTERM")
    commands = play.feed(on.Rebuilt("no space left"))
    assert spawned(commands) == ["a", "b"]
    assert logged(commands) == ["run.change_failed"]
    assert play.state.graph.processes["b"].grace == 5.0


def test_a_failed_process_that_was_edited_is_tried_again() -> None:
    play = Play(plan("a", escalate="ignore"), plan("z")).start()
    play.end("a", 1)
    change(play, plan("a", success=(0, 1)), plan("z"), restart=("a",))
    assert spawned(play.feed(on.Rebuilt())) == ["a"]
    assert play.state.failures == ()


def test_what_a_person_stopped_stays_down() -> None:
    play = Play(plan("a"), plan("z")).start()
    play.feed(on.StopAsked((Who("a", 1),), "orchestra stop"))
    play.end("a", None, "SIGTERM")
    change(play, plan("a", grace=1.0), plan("z"), restart=("a",))
    assert spawned(play.feed(on.Rebuilt())) == []


def test_the_run_does_not_end_while_a_change_comes_in() -> None:
    play = Play(plan("a")).start()
    change(play, plan("b"))
    play.end("a", None, "SIGTERM")
    assert play.state.phase is RunPhase.UP
    assert spawned(play.feed(on.Rebuilt())) == ["b"]


def test_a_stop_of_the_run_wins_over_a_change() -> None:
    play = Play(plan("a"), plan("b")).start()
    change(play, plan("a", grace=1.0), restart=("a",))
    play.feed(on.StopRequested("down"))
    assert spawned(play.feed(on.Rebuilt())) == []
    play.end("a", None, "SIGTERM")
    play.end("b", None, "SIGTERM")
    assert play.state.phase is RunPhase.SWEEPING
    assert play.phase("a") is Phase.EXITED


def test_one_change_at_a_time() -> None:
    play = Play(plan("a")).start()
    change(play, plan("a", grace=1.0), restart=("a",))
    assert logged(change(play, plan("a", grace=2.0), restart=("a",))) == ["run.change_failed"]
