"""The working copy of a state: counts that stay right, and news for others."""

from __future__ import annotations

import pytest

from orchestra.supervisor import commands as do
from orchestra.supervisor.draft import Draft, IllegalTransition
from orchestra.supervisor.states import Phase, Replica, RunState, Who, counts
from tests.support.play import plan

A = Who("a", 1)


def draft() -> Draft:
    return Draft(RunState.initial([plan("a", replicas=2), plan("b", "a")]))


def test_a_draft_leaves_the_state_alone() -> None:
    state = RunState.initial([plan("a")])
    working = Draft(state)
    working.change_of(A, phase=Phase.STARTING)
    assert state.replicas[A].phase is Phase.PENDING
    assert working.frozen().replicas[A].phase is Phase.STARTING


def test_the_counts_follow() -> None:
    working = draft()
    working.change_of(A, phase=Phase.STARTING)
    working.change_of(Who("a", 2), wanted=False, parked=True)
    working.add(Who("b", 2), wanted=True)
    working.drop(Who("b", 1))
    kept = (working.pending, working.busy, working.live, working.parked)
    assert kept == counts(working.graph, working.replicas)


def test_a_row_is_written_when_ps_would_differ() -> None:
    working = draft()
    working.change_of(A, phase=Phase.STARTING)
    working.change_of(A, pid=7)
    working.change_of(A, doomed=True)
    assert working.commands == [do.Record(A), do.Record(A)]


def test_a_replica_must_be_as_the_event_expects_it() -> None:
    working = draft()
    assert working.at(A, lambda replica: replica.pid is None, "news") == Replica()
    with pytest.raises(IllegalTransition, match=r"a\.1: 'news' makes no sense while pending"):
        working.at(A, lambda replica: replica.pid == 7, "news")
    with pytest.raises(IllegalTransition, match="unknown"):
        working.at(Who("zz", 1), lambda _: True, "news")
