"""How long to wait before a restart, and when to give up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestra.runplan import Restart
from orchestra.supervisor.backoff import Again, Exhausted, decide
from orchestra.supervisor.states import End, Phase, Replica


def ended(at: float, ran: float, tries: int = 0, recent: tuple[float, ...] = ()) -> Replica:
    return Replica(Phase.RUNNING, end=End(1, None), started_at=at - ran, ended_at=at, tries=tries, restarted_at=recent)


def test_the_delay_doubles_up_to_its_cap() -> None:
    restart = Restart("on-failure", 100, 60.0, 0.2, 1.0)
    found, replica = [], ended(1000.0, 0.1)
    for _ in range(5):
        again = decide(restart, replica, failed=True, now=replica.ended_at)
        assert isinstance(again, Again)
        found.append(again.delay)
        replica = ended(replica.ended_at + 1, 0.1, again.tries, again.restarted_at)
    assert found == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_so_many_within_so_long_and_no_more() -> None:
    restart = Restart("always", 2, 10.0)
    replica = ended(1000.0, 0.1, 2, (995.0, 996.0))
    assert decide(restart, replica, failed=True, now=1000.0) == Exhausted(2, 10.0)
    assert isinstance(decide(restart, replica, failed=True, now=1005.5), Again), "the first one is long ago by now"


def test_a_long_run_makes_the_next_restart_a_first_one() -> None:
    again = decide(Restart("on-failure", 5, 10.0, 0.2), ended(1000.0, 10.0, 4), failed=True, now=1000.0)
    assert again == Again(0.2, 1, (1000.0,))


def test_the_policies() -> None:
    replica = ended(1000.0, 1.0)
    said = {
        policy: [decide(Restart(policy), replica, failed=failed, now=1000.0) is not None for failed in (False, True)]
        for policy in ("never", "on-failure", "always")
    }
    assert said == {"never": [False, False], "on-failure": [False, True], "always": [True, True]}


def test_what_it_says_when_it_gives_up() -> None:
    assert str(Exhausted(1, 60.0)) == "and was restarted once within 60 s"
    assert str(Exhausted(5, 2.5)) == "and was restarted 5 times within 2.5 s"


@given(st.lists(st.floats(0.001, 30.0), max_size=40), st.integers(0, 6), st.floats(0.1, 100.0))
def test_no_window_ever_holds_more_restarts_than_the_limit(lives: list[float], limit: int, within: float) -> None:
    restart, replica, now, restarts = Restart("always", limit, within), Replica(), 1.0, []
    for life in lives:
        start, now = now, now + life
        replica = Replica(started_at=start, ended_at=now, tries=replica.tries, restarted_at=replica.restarted_at)
        again = decide(restart, replica, failed=True, now=now)
        if not isinstance(again, Again):
            break
        restarts.append(now)
        replica = Replica(tries=again.tries, restarted_at=again.restarted_at)
        now += again.delay
    for moment in restarts:
        assert sum(moment - within < other <= moment for other in restarts) <= limit
