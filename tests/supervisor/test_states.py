"""The state of a run at rest: graphs, labels, exit codes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestra.runplan import Dependency, ProcessPlan
from orchestra.supervisor.states import FINAL, Cause, End, Failure, Graph, Phase, RunState, Who


def plan(name: str, *after: str, replicas: int = 1, service: bool = False) -> ProcessPlan:
    depends_on = tuple(Dependency(other, "started") for other in after)
    return ProcessPlan(name, (("true",),), depends_on=depends_on, replicas=replicas, service=service)


def test_dependants_are_found_through_others() -> None:
    graph = Graph.of([plan("a"), plan("b", "a"), plan("c", "b"), plan("d", "a"), plan("z")])
    assert graph.direct["a"] == ("b", "d")
    assert graph.dependants["a"] == {"b", "c", "d"}
    assert graph.dependants["c"] == graph.dependants["z"] == frozenset()


def test_a_long_chain_does_not_exhaust_the_stack() -> None:
    chain = [plan("p0"), *[plan(f"p{n}", f"p{n - 1}") for n in range(1, 1200)]]
    assert len(Graph.of(chain).dependants["p0"]) == 1199


@pytest.mark.parametrize(
    ("plans", "words"),
    [
        ([plan("a", "a")], "a depends on itself"),
        ([plan("a", "c"), plan("b", "a"), plan("c", "b")], "depends on itself"),
        ([plan("a", "none")], "a depends on none, which does not exist"),
    ],
)
def test_what_no_valid_plan_holds(plans: list[ProcessPlan], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Graph.of(plans)


def test_labels_and_replicas() -> None:
    graph = Graph.of([plan("one"), plan("many", replicas=2)])
    assert graph.replicas("many") == [Who("many", 1), Who("many", 2)]
    assert [graph.label(who) for who in (Who("one", 1), Who("many", 2))] == ["one", "many.2"]


def test_workers_are_what_is_no_service() -> None:
    assert Graph.of([plan("a", service=True), plan("b")]).has_workers
    assert not Graph.of([plan("a", service=True)]).has_workers


@pytest.mark.parametrize(
    ("cause", "failures", "code", "failed"),
    [
        (None, (), 0, False),
        (None, (Failure(Who("a", 1), "x"),), 1, True),
        (Cause("done"), (), 0, False),
        (Cause("the guardian died", failed=True), (), 1, True),
        (Cause("SIGINT", signal=2), (), 130, False),
        (Cause("SIGTERM", signal=15), (Failure(Who("a", 1), "x"),), 143, True),
    ],
)
def test_exit_code(cause: Cause | None, failures: tuple[Failure, ...], code: int, failed: bool) -> None:
    state = replace(RunState.initial([plan("a")]), cause=cause, failures=failures)
    assert (state.exit_code, state.has_failed) == (code, failed)


def test_the_first_state_waits_for_everything() -> None:
    state = RunState.initial([plan("a", replicas=2), plan("b", replicas=0)])
    assert state.pending == {"a": 2, "b": 0}
    assert state.live == {"a": 2, "b": 0}
    assert {replica.phase for replica in state.replicas.values()} == {Phase.PENDING}
    assert Phase.PENDING not in FINAL


def test_ends_in_words() -> None:
    assert str(End(3, None)) == "exited with code 3"
    assert str(End(None, "SIGSEGV")) == "was ended by SIGSEGV"
