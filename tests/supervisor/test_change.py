"""The difference of two plans: what restarts, what does not, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.bindings import Placeholder
from orchestra.errors import Conflict
from orchestra.kinds import Access, Family, Fill, Kind, OnDown
from orchestra.runplan import (
    Attributes,
    Dependency,
    LogPlan,
    ObjectPlan,
    ProcessPlan,
    Ready,
    Restart,
    RunPlan,
    Use,
    WaitFor,
)
from orchestra.supervisor.change import (
    AS_IT_RUNS,
    AT_THE_START,
    RECORD,
    SHAPE,
    check,
    difference,
    refuse_reshaping,
    steps,
)

JOBS = ObjectPlan("jobs", Family.POSIX, Kind.QUEUE, max_messages=8, message_size=64)
BOARD = ObjectPlan("board", Family.POSIX, Kind.SEGMENT, size=4096)
READS = (Use("jobs", Access.READ),)


def process(name: str, **changes: Any) -> ProcessPlan:
    return ProcessPlan(name, **{"command": (("x",),), **changes})


def run(*items: ProcessPlan | ObjectPlan, **changes: Any) -> RunPlan:
    processes = tuple(item for item in items if isinstance(item, ProcessPlan))
    objects = tuple(item for item in items if isinstance(item, ObjectPlan))
    return RunPlan("t", "t", "/t.yaml", "/", objects, processes, **changes)


# Another value for every field that a file can change; a field without one fails the test below.
OTHER_PROCESS: dict[str, Any] = {
    "command": (("y", Placeholder("jobs", "name")),), "function": "a:b", "arguments": {"n": [1, {"m": 2}]},
    "python": "/usr/bin/python3", "directory": ("/tmp",), "environment": (("A", ("1",)),), "uses": READS,
    "service": True, "success": (0, "SIGTERM"), "depends_on": (Dependency("other", "ready"),),
    "wait_for": (WaitFor("jobs", "messages", 1),), "ready": Ready("notify"), "restart": Restart("always"),
    "watchdog": 1.0, "autostart": False, "stop_signal": 2, "stop_command": (("z",),), "grace": 1.0,
    "escalate": "ignore", "stdin": "file", "stdin_file": ("/x",), "output": "tty",
    "attributes": Attributes(nice=3, cpu_affinity=((0,),)), "isolation": "private", "extra": {"x-a": [1]},
}  # fmt: skip
OTHER_OBJECT: dict[str, Any] = {
    "family": Family.SYSV, "kind": Kind.SEGMENT, "name": "/x", "ipc_key": 7, "mode": 0o640, "owner": 1, "group": 1,
    "on_down": OnDown.KEEP, "external": True, "max_messages": 9, "message_size": 65, "capacity": 5, "size": 9,
    "fill": Fill(text="x"), "values": (1, 2), "made_by": "a", "huge_pages": 1 << 21, "lock": True,
    "extra": {"x-b": {"c": [1]}},
}  # fmt: skip


def test_every_field_is_in_one_group() -> None:
    assert sorted([*AT_THE_START, *AS_IT_RUNS, "name", "replicas"]) == sorted(ProcessPlan._fields)
    assert sorted([*SHAPE, *RECORD, "key"]) == sorted(ObjectPlan._fields)


@pytest.mark.parametrize("field", OTHER_PROCESS)
def test_what_a_process_was_started_with_restarts_it_and_nothing_else_does(field: str) -> None:
    before = run(JOBS, process("a"), process("other"))
    after = run(JOBS, process("a", **{field: OTHER_PROCESS[field]}), process("other"))
    found = difference(before, after)
    assert (dict(found.restarted), dict(found.adjusted)) == (
        ({"a": field}, {}) if field in AT_THE_START else ({}, {"a": field})
    )
    assert len(steps(found)) == 1
    assert difference(after, after).is_empty


@pytest.mark.parametrize("field", OTHER_OBJECT)
def test_another_shape_takes_another_object_and_restarts_its_users(field: str) -> None:
    user = process("a", uses=READS)
    before, after = (
        run(JOBS, user, process("b")),
        run(JOBS._replace(**{field: OTHER_OBJECT[field]}), user, process("b")),
    )
    found = difference(before, after)
    if field in SHAPE:
        assert list(found.remade) == ["jobs"]
        assert field in found.remade["jobs"]
        assert list(found.restarted) == ["a"]
    else:
        assert (dict(found.remade), dict(found.recorded)) == ({}, {"jobs": field})
        assert list(found.restarted) == (["a"] if field == "extra" else [])


def test_how_long_to_wait_for_ready_restarts_nobody() -> None:
    before, after = process("a", ready=Ready("tcp", port=1)), process("a", ready=Ready("tcp", port=1, timeout=9.0))
    found = difference(run(before), run(after))
    assert not found.restarted
    assert difference(run(before), run(process("a", ready=Ready("tcp", port=2)))).restarted == {"a": "ready"}


def test_the_inherited_environment_does_not_count_but_is_taken() -> None:
    found = difference(run(process("a"), environment={"PWD": "/a"}), run(process("a"), environment={"PWD": "/b"}))
    assert found.is_empty
    assert found.plan.environment == {"PWD": "/b"}


def test_added_removed_and_scaled() -> None:
    before = run(JOBS, process("a"), process("b", replicas=2))
    after = run(BOARD, process("b", replicas=5), process("c"))
    found = difference(before, after)
    assert (found.added, found.removed, found.scaled) == (("c",), ("a",), {"b": (2, 5)})
    assert (found.made, found.dropped, found.restarted) == (("board",), ("jobs",), {})
    assert [(s.action, s.object or s.process) for s in steps(found)] == [
        ("stop", "a"), ("create", "board"), ("remove", "jobs"), ("scale", "b"), ("start", "c"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (run(process("a"), process("a")), "given twice"),
        (run(JOBS, process("jobs")), "given twice"),
        (run(process("a", uses=READS)), "which does not exist"),
        (run(JOBS._replace(made_by="b"), process("a")), "which does not exist"),
        (run(process("a", depends_on=(Dependency("b", "ready"),))), "which does not exist"),
        (run(process("a", depends_on=(Dependency("a", "ready"),))), "depends on itself"),
        (run(process("a", command=())), "neither"),
        (run(process("a", replicas=0)), "0 replicas"),
        (run(process("a", replicas=True)), "True replicas"),
        (run(process("a", replicas="2")), "'2' replicas"),
    ],
)
def test_plans_that_no_file_makes(plan: RunPlan, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check(plan)
    check(run(JOBS, process("a", uses=READS)))


def test_who_makes_an_object_starts_anew_for_it() -> None:
    made = JOBS._replace(name="/x", made_by="a")
    assert difference(run(process("a")), run(made, process("a"))).restarted == {"a": "jobs"}
    reshaped = difference(run(made, process("a")), run(made._replace(max_messages=9), process("a")))
    assert reshaped.restarted == {"a": "jobs"}


def test_a_part_of_the_file_touches_nothing_else() -> None:
    before = run(JOBS, BOARD, process("a", uses=READS), process("b"))
    part = run(JOBS, process("b", grace=1.0), process("c"))
    found = difference(before, part, only=("b", "c"))
    assert (found.added, found.removed, found.dropped) == (("c",), (), ())
    assert [p.name for p in found.plan.processes] == ["a", "b", "c"]
    assert {o.key for o in found.plan.objects} == {"jobs", "board"}


def test_refused_with_both_shapes_and_who_would_be_restarted() -> None:
    before = run(JOBS, process("a", uses=READS), process("b"))
    found = difference(before, run(JOBS._replace(max_messages=16, mode=0o640), process("a", uses=READS), process("b")))
    with pytest.raises(Conflict) as caught:
        refuse_reshaping(found, before)
    assert caught.value.detail == "jobs: mode is 0o600, declared 0o640, max_messages is 8, declared 16"
    assert "--recreate" in caught.value.hint
    assert "a restarted" in caught.value.hint


def test_an_external_object_may_be_looked_at_again() -> None:
    there = JOBS._replace(external=True, name="/x")
    before = run(there)
    refuse_reshaping(difference(before, run(there._replace(max_messages=9))), before)


def test_a_run_does_not_move() -> None:
    with pytest.raises(Conflict, match="isolation"):
        difference(run(process("a")), run(process("a"), isolation="private"))


def test_how_the_log_is_kept_waits_for_the_next_run() -> None:
    found = difference(run(process("a")), run(process("a"), log=LogPlan(rotate_size=9)))
    assert [step.action for step in steps(found)] == ["later"]
    assert found.plan.log == LogPlan()


NAMES = st.sampled_from(["a", "b", "c", "d"])
KEYS = st.sampled_from(["jobs", "board", "slots"])


@st.composite
def plans(draw: st.DrawFn) -> RunPlan:
    keys = draw(st.lists(KEYS, unique=True))
    objects = [
        ObjectPlan(
            key, Family.SYSV, Kind.QUEUE, capacity=draw(st.sampled_from([64, 128])),
            on_down=draw(st.sampled_from(OnDown)), extra=draw(st.sampled_from([{}, {"x-a": 1}])),
        )
        for key in keys
    ]  # fmt: skip
    processes = [
        process(
            name, replicas=draw(st.integers(1, 3)), grace=draw(st.sampled_from([1.0, 2.0])),
            uses=tuple(Use(key, Access.READ) for key in keys if draw(st.booleans())),
            environment=draw(st.sampled_from([(), (("A", ("1",)),)])),
        )
        for name in draw(st.lists(NAMES, unique=True))
    ]  # fmt: skip
    return run(*objects, *processes, environment=draw(st.sampled_from([{}, {"PWD": "/x"}])))


@given(plans())
def test_a_plan_that_crossed_as_json_differs_in_nothing(plan: RunPlan) -> None:
    assert difference(plan, RunPlan.from_json(plan.to_json())).is_empty


@given(plans(), plans())
def test_any_two_plans(old: RunPlan, new: RunPlan) -> None:
    found = difference(old, new)
    before, after = {p.name: p for p in old.processes}, {p.name: p for p in new.processes}
    had, has = {o.key: o for o in old.objects}, {o.key: o for o in new.objects}
    assert set(found.added) | set(found.removed) == before.keys() ^ after.keys()
    assert set(found.made) | set(found.dropped) == had.keys() ^ has.keys()
    for name in before.keys() & after.keys():
        touched = {use.object for use in after[name].uses} & {*found.remade}
        retold = {
            use.object
            for use in after[name].uses
            if use.object in had and had[use.object].extra != has[use.object].extra
        }
        same = before[name].uses == after[name].uses and before[name].environment == after[name].environment
        assert (name in found.restarted) is bool(touched or retold or not same)
    assert found.is_empty is (not steps(found))
    assert difference(found.plan, new).is_empty
