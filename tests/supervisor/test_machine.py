"""Histories in, decisions out: no process, no clock."""

from __future__ import annotations

import pytest

from orchestra.runplan import Ready, Restart
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.draft import IllegalTransition
from orchestra.supervisor.machine import DEADLINE, SWEEP
from orchestra.supervisor.states import Phase, RunPhase, RunState, Who
from tests.support.play import Play, killed, logged, plan, signalled, spawned

# -- starting --------------------------------------------------------------------------------------------------------


def test_everything_without_dependencies_is_spawned_together() -> None:
    play = Play(plan("a"), plan("b", replicas=2), plan("c", "a"))
    assert spawned(play.feed(on.Begin())) == ["a", "b", "b"]


@pytest.mark.parametrize("condition", ["started", "ready"])
def test_started_and_ready_wait_for_every_replica_to_run(condition: str) -> None:
    play = Play(plan("a", replicas=2), plan("b", "a", condition=condition))
    play.feed(on.Begin())
    assert spawned(play.feed(on.Started(Who("a", 1), 7))) == []
    assert spawned(play.feed(on.Started(Who("a", 2), 8))) == ["b"]


@pytest.mark.parametrize("condition", ["completed", "ended"])
def test_completed_waits_for_the_end_of_the_output_too(condition: str) -> None:
    play = Play(plan("a"), plan("b", "a", condition=condition)).start()
    assert spawned(play.feed(on.Exited(Who("a", 1), 0))) == []
    assert spawned(play.feed(on.Ended(Who("a", 1)))) == ["b"]


def test_a_failed_dependency_skips_its_dependants_all_the_way() -> None:
    play = Play(plan("a", escalate="ignore"), plan("b", "a", condition="completed"), plan("c", "b"), plan("z")).start()
    commands = play.end("a", 3)
    assert [play.phase(name) for name in "abcz"] == [Phase.FAILED, Phase.SKIPPED, Phase.SKIPPED, Phase.RUNNING]
    assert play.reason("b") == "a failed: exited with code 3"
    assert play.reason("c") == "b was skipped (a failed: exited with code 3)"
    assert logged(commands) == ["process.exited", "process.failed", "process.skipped", "process.skipped"]


def test_only_ended_tolerates_a_failure() -> None:
    play = Play(plan("a", escalate="ignore"), plan("b", "a", condition="ended"), plan("z")).start()
    assert spawned(play.end("a", 3)) == ["b"]


def test_a_launch_that_fails_is_a_failure() -> None:
    play = Play(plan("a", escalate="ignore"), plan("b", "a"), plan("z"))
    play.feed(on.Begin(), on.LaunchFailed(Who("a", 1), "no such file", "exec", "ENOENT", "/x"))
    assert [play.phase(name) for name in "ab"] == [Phase.FAILED, Phase.SKIPPED]
    assert play.state.exit_code == 1


# -- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("success", "code", "signal", "expected"),
    [
        ((0,), 0, None, Phase.EXITED),
        ((0,), 1, None, Phase.FAILED),
        ((0, 3), 3, None, Phase.EXITED),
        ((3,), 0, None, Phase.FAILED),
        ((0,), None, "SIGSEGV", Phase.FAILED),
        ((0, "SIGSEGV"), None, "SIGSEGV", Phase.EXITED),
    ],
)
def test_success(success: tuple[int | str, ...], code: int | None, signal: str | None, expected: Phase) -> None:
    play = Play(plan("a", success=success)).start()
    play.end("a", code, signal)
    assert play.phase("a") is expected
    assert play.state.exit_code == (0 if expected is Phase.EXITED else 1)


def test_the_run_ends_with_its_last_worker_and_then_stops_the_services_in_order() -> None:
    play = Play(plan("db", service=True), plan("api", "db", service=True), plan("job", "api")).start()
    assert signalled(play.end("job")) == ["api"]
    assert signalled(play.end("api", None, "SIGTERM")) == ["db"]
    commands = play.end("db", None, "SIGTERM")
    assert do.Sweep(hard=False) in commands
    assert play.feed(on.Swept())[-1] == do.Finish()
    assert (play.state.phase, play.state.exit_code) == (RunPhase.OVER, 0)


def test_a_service_that_ends_by_itself_has_failed() -> None:
    play = Play(plan("db", service=True), plan("job")).start()
    commands = play.end("db", 0)
    assert play.reason("db") == "a service ended by itself: it exited with code 0"
    assert signalled(commands) == ["job"]


def test_services_alone_do_not_end_by_themselves() -> None:
    play = Play(plan("a", service=True), plan("b", service=True)).start()
    assert play.state.phase is RunPhase.UP
    assert signalled(play.feed(on.StopRequested("SIGINT", signal=2))) == ["a", "b"]


def test_a_run_without_processes_is_over_at_once() -> None:
    assert isinstance(Play().feed(on.Begin(), on.Swept())[-1], do.Finish)


def test_a_service_that_waits_for_the_last_worker_is_skipped() -> None:
    play = Play(plan("job"), plan("late", "job", condition="completed", service=True)).start()
    assert spawned(play.end("job")) == []
    assert play.phase("late") is Phase.SKIPPED
    assert play.state.exit_code == 0


# -- escalation ------------------------------------------------------------------------------------------------------


def test_stop_all_is_the_default() -> None:
    play = Play(plan("a"), plan("b"), plan("c", "b", condition="completed")).start()
    assert signalled(play.end("a", 1)) == ["b"]
    assert play.phase("c") is Phase.SKIPPED
    play.end("b", None, "SIGTERM")
    assert play.phase("b") is Phase.EXITED, "stopped by us is a success"
    assert play.state.exit_code == 1


def test_stop_dependants_leaves_the_others_alone() -> None:
    play = Play(plan("a", escalate="stop-dependants"), plan("b", "a"), plan("c", "b"), plan("z")).start()
    assert signalled(play.end("a", 1)) == ["c"]
    assert signalled(play.end("c", None, "SIGTERM")) == ["b"]
    play.end("b", None, "SIGTERM")
    assert play.phase("z") is Phase.RUNNING
    play.end("z")
    assert (play.state.phase, play.state.exit_code) == (RunPhase.SWEEPING, 1)


def test_ignore_stops_nobody_and_still_fails_the_run() -> None:
    play = Play(plan("a", escalate="ignore"), plan("b", "a")).start()
    assert signalled(play.end("a", 1)) == []
    play.end("b")
    assert play.state.exit_code == 1


def test_an_end_before_its_turn_is_still_stopped_by_us() -> None:
    play = Play(plan("server", service=True), plan("client", "server")).start()
    play.feed(on.StopRequested("SIGINT", signal=2))
    play.end("server", 1)  # it noticed that the client was stopped
    assert play.phase("server") is Phase.EXITED
    assert play.state.exit_code == 130


# -- stopping --------------------------------------------------------------------------------------------------------


def test_reverse_order_with_siblings_in_parallel() -> None:
    play = Play(plan("a"), plan("b", "a"), plan("c", "a"), plan("d", "b", "c")).start()
    assert signalled(play.feed(on.StopRequested("SIGTERM", signal=15))) == ["d"]
    assert sorted(signalled(play.end("d", None, "SIGTERM"))) == ["b", "c"]
    assert signalled(play.end("b", None, "SIGTERM")) == []
    assert signalled(play.end("c", None, "SIGTERM")) == ["a"]
    play.end("a", None, "SIGTERM")
    play.feed(on.Swept())
    assert play.state.exit_code == 143


def test_a_dependency_outlives_indirect_dependants_when_the_one_between_is_done() -> None:
    play = Play(plan("a", service=True), plan("b", "a"), plan("c", "b", condition="completed")).start()
    play.end("b")
    play.feed(on.Started(Who("c", 1), 9))
    assert signalled(play.feed(on.StopRequested("SIGINT", signal=2))) == ["c"]


def test_sigkill_follows_the_grace_and_the_signal_is_the_process_s_own() -> None:
    play = Play(plan("a", stop_signal=2, grace=1.5)).start()
    commands = play.feed(on.StopRequested("down"))
    timer = on.Timer("grace", Who("a", 1))
    assert do.Signal(Who("a", 1), 2) in commands
    assert do.StartTimer(timer, 1.5) in commands
    assert killed(play.feed(on.TimerFired(timer))) == ["a"]
    play.end("a", None, "SIGKILL")
    assert play.phase("a") is Phase.EXITED
    assert play.state.exit_code == 0


def test_the_deadline_kills_everything_at_once() -> None:
    play = Play(plan("a"), plan("b", "a")).start()
    assert do.StartTimer(DEADLINE, 3) in play.feed(on.StopRequested("down", timeout=3))
    assert sorted(killed(play.feed(on.TimerFired(DEADLINE)))) == ["a", "b"]


def test_the_second_request_kills_everything_at_once() -> None:
    play = Play(plan("a"), plan("b", "a")).start()
    play.feed(on.StopRequested("SIGINT", signal=2))
    assert sorted(killed(play.feed(on.KillRequested("SIGINT again", signal=2)))) == ["a", "b"]


def test_members_that_outlive_their_leader_are_stopped_too() -> None:
    who = Who("a", 1)
    play = Play(plan("a"), plan("b", "a", condition="completed")).start()
    commands = play.feed(on.Exited(who, 0), on.Lingering(who))
    assert signalled(commands) == ["a"]
    assert play.phase("a") is Phase.STOPPING
    assert killed(play.feed(on.TimerFired(on.Timer("grace", who)))) == ["a"]
    assert killed(play.feed(on.Lingering(who))) == ["a"], "one more was found"
    assert spawned(play.feed(on.Ended(who))) == ["b"], "the leader had succeeded"


def test_what_sigkill_cannot_end_is_named_and_does_not_hang_the_run() -> None:
    who = Who("a", 1)
    play = Play(plan("a")).start()
    play.feed(on.KillRequested("SIGINT", signal=2), on.TimerFired(on.Timer("abandon", who)))
    assert play.phase("a") is Phase.FAILED
    assert "SIGKILL" in play.reason("a")
    play.feed(on.Exited(who, None, "SIGKILL"), on.Ended(who))  # it ends after all: no news
    play.feed(on.TimerFired(on.Timer("abandon")))
    assert play.state.phase is RunPhase.OVER


def test_a_stop_during_the_start() -> None:
    play = Play(plan("a"), plan("b"), plan("c", "a"))
    play.feed(on.Begin(), on.Started(Who("a", 1), 5))
    assert signalled(play.feed(on.StopRequested("SIGINT", signal=2))) == [], "c depends on it and is being started"
    play.feed(on.Withheld(Who("b", 1)))
    assert play.phase("b") is Phase.SKIPPED
    play.feed(on.Started(Who("c", 1), 6))
    assert signalled(play.commands) == ["c"], "it came up after all and is stopped at once"


def test_a_kill_during_the_start_reaches_those_that_come_up_later() -> None:
    play = Play(plan("a"))
    play.feed(on.Begin(), on.KillRequested("SIGINT", signal=2))
    assert killed(play.feed(on.Started(Who("a", 1), 5))) == ["a"]


def test_a_stop_before_the_beginning_skips_everything() -> None:
    play = Play(plan("a"))
    play.feed(on.StopRequested("SIGTERM", signal=15), on.Swept())
    assert (play.phase("a"), play.state.exit_code) == (Phase.SKIPPED, 143)


def test_descendants_that_escaped_are_swept_twice() -> None:
    play = Play(plan("a")).start()
    assert do.Sweep(hard=False) in play.end("a")
    assert do.Sweep(hard=True) in play.feed(on.TimerFired(SWEEP))


def test_nonsense_is_refused() -> None:
    play = Play(plan("a"))
    with pytest.raises(IllegalTransition, match=r"a\.1.*pending"):
        play.feed(on.Exited(Who("a", 1), 0))


def test_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="depends on itself"):
        RunState.initial([plan("a", "b"), plan("b", "a")])


# -- readiness -------------------------------------------------------------------------------------------------------

READY = Ready("notify", timeout=3.0)


def test_a_dependant_starts_when_the_process_says_that_it_is_ready() -> None:
    play = Play(plan("a", ready=READY), plan("b", "a", condition="ready"), plan("c", "a"))
    play.feed(on.Begin())
    commands = play.up("a")
    assert do.WatchReady(Who("a", 1)) in commands
    assert do.StartTimer(on.Timer("ready", Who("a", 1)), 3.0) in commands
    assert (spawned(commands), play.phase("a")) == (["c"], Phase.STARTING)
    commands = play.feed(on.BecameReady(Who("a", 1)))
    assert (spawned(commands), play.phase("a"), logged(commands)) == (["b"], Phase.READY, ["process.ready"])
    assert do.CancelTimer(on.Timer("ready", Who("a", 1))) in commands


def test_a_process_that_is_not_ready_in_time_has_failed() -> None:
    play = Play(plan("a", ready=READY, escalate="ignore"), plan("b", "a", condition="ready"), plan("z")).start()
    commands = play.feed(on.NotReady(Who("a", 1), "was not ready within 3 s"))
    assert (signalled(commands), logged(commands)) == (["a"], ["process.rejected", "process.stopping"])
    play.end("a", None, "SIGTERM")
    assert (play.phase("a"), play.phase("b")) == (Phase.FAILED, Phase.SKIPPED)
    assert play.reason("b") == "a failed: was not ready within 3 s"


def test_an_end_before_readiness_is_a_failure_whatever_its_code() -> None:
    play = Play(plan("a", ready=READY)).start()
    play.end("a", 0)
    assert play.reason("a") == "exited with code 0 before it was ready"


def test_what_a_process_said_last_may_arrive_after_its_end() -> None:
    who = Who("a", 1)
    play = Play(plan("a", ready=READY), plan("b", "a", condition="ready")).start()
    play.feed(on.Exited(who, 0))
    assert spawned(play.feed(on.BecameReady(who))) == ["b"]
    play.feed(on.Ended(who))
    assert play.phase("a") is Phase.EXITED


def test_a_process_that_hangs_is_sent_sigabrt() -> None:
    play = Play(plan("a", watchdog=2.0)).start()
    who, timer = Who("a", 1), on.Timer("watchdog", Who("a", 1))
    assert play.feed(on.Petted(who)) == [do.StartTimer(timer, 2.0)]
    assert do.Signal(who, 6) in play.feed(on.TimerFired(timer))
    play.end("a", None, "SIGABRT")
    assert play.reason("a") == "sent no WATCHDOG=1 for 2 s"


def test_objects_that_a_process_makes_are_looked_at_before_it_counts_as_ready() -> None:
    play = Play(plan("a", ready=READY), plan("b", "a", condition="ready"), makers=["a"]).start()
    commands = play.feed(on.BecameReady(Who("a", 1)))
    assert do.Check("a") in commands
    assert spawned(commands) == []
    assert spawned(play.feed(on.Checked("a"))) == ["b"]
    assert play.phase("a") is Phase.READY


def test_a_maker_without_readiness_is_looked_at_when_it_has_completed() -> None:
    play = Play(plan("a"), plan("b", "a", condition="ready"), makers=["a"])
    play.feed(on.Begin())
    assert spawned(play.up("a")) == []
    assert do.Check("a") in play.end("a")
    assert spawned(play.feed(on.Checked("a"))) == ["b"]
    assert play.phase("a") is Phase.EXITED


def test_a_maker_that_starts_again_is_looked_at_again() -> None:
    play = Play(plan("a", ready=READY, restart=Restart("on-failure", limit=1)), makers=["a"]).start()
    for _ in range(2):
        assert do.Check("a") in play.feed(on.BecameReady(Who("a", 1)))
        play.feed(on.Checked("a"))
        play.end("a", 1)
        play.feed(on.TimerFired(on.Timer("backoff", Who("a", 1))))
        if play.phase("a") is Phase.STARTING:
            play.up("a")
    assert play.phase("a") is Phase.FAILED


def test_a_maker_that_is_scaled_has_one_replica_that_makes() -> None:
    play = Play(plan("a", ready=READY), makers=["a"]).start()
    play.feed(on.BecameReady(Who("a", 1)))
    play.feed(on.Checked("a"))
    play.feed(on.ScaleAsked("a", 2, "somebody"))
    play.feed(on.Started(Who("a", 2), 99, 0.0))
    assert do.Check("a") not in play.feed(on.BecameReady(Who("a", 2)))
    assert play.state.replicas[Who("a", 2)].phase is Phase.READY


def test_a_maker_without_its_objects_has_failed() -> None:
    play = Play(plan("a"), plan("b", "a", condition="ready"), makers=["a"])
    play.feed(on.Begin())
    play.up("a")
    play.end("a")
    play.feed(on.Checked("a", "made no segment /board"))
    assert (play.phase("a"), play.phase("b")) == (Phase.FAILED, Phase.SKIPPED)


def test_the_objects_are_held_until_a_person_lets_go() -> None:
    play = Play(plan("a"), hold=True).start()
    play.end("a")
    assert logged(play.feed(on.Swept())) == ["run.holding"]
    assert play.state.phase is RunPhase.HOLDING
    assert play.feed(on.StopRequested("SIGINT", signal=2))[-1] == do.Finish()
    assert play.state.exit_code == 0
