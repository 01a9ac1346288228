from __future__ import annotations

from typing import Any

import pytest

from orchestra.kinds import Family, Fill, Identity, Kind, ObjectRef, Stat
from orchestra.objects.shape import declared, declared_size, differences, spec_of
from orchestra.runplan import ObjectPlan
from tests.support.rows import object_plan


def _stat(plan: ObjectPlan, **changes: Any) -> Stat:
    ref = ObjectRef(plan.family, plan.kind, name="/x")
    return Stat(ref, Identity(plan.family, plan.kind), **{"mode": 0o600, "uid": 0, "gid": 0, **changes})


def test_names_and_keys_are_in_the_shape_only_when_declared() -> None:
    assert declared(object_plan(Family.POSIX, Kind.SEGMENT)) == {"size": 4096}
    assert declared(object_plan(Family.POSIX, Kind.SEGMENT, name="/b", owner=0)) == {
        "owner": 0,
        "size": 4096,
        "name": "/b",
    }
    assert declared(object_plan(Family.SYSV, Kind.SEMAPHORE, ipc_key=0)) == {"values": [3, 1], "ipc_key": 0}


def test_the_spec_holds_all_that_was_declared() -> None:
    fill = Fill(text="x")
    plan = object_plan(Family.POSIX, Kind.SEGMENT, mode=0o640, owner=1, group=2, fill=fill)
    spec = spec_of(plan, name="/n", key=None)
    assert (spec.name, spec.mode, spec.owner, spec.group, spec.size, spec.fill) == ("/n", 0o640, 1, 2, 4096, fill)
    assert spec_of(object_plan(Family.SYSV, Kind.SEMAPHORE), name=None, key=7).values == (3, 1)


def test_messages_times_size_is_the_capacity_of_a_system_v_queue() -> None:
    plan = object_plan(Family.SYSV, Kind.QUEUE, max_messages=4, message_size=100)
    assert spec_of(plan, name=None, key=1).capacity == 400
    assert declared_size(plan) == 400
    assert declared_size(object_plan(Family.SYSV, Kind.QUEUE, capacity=7, max_messages=4, message_size=100)) == 7
    assert declared_size(object_plan(Family.SYSV, Kind.QUEUE)) is None
    assert declared_size(object_plan(Family.POSIX, Kind.QUEUE)) == 128
    assert declared_size(object_plan(Family.POSIX, Kind.SEMAPHORE)) is None


@pytest.mark.parametrize(
    ("family", "kind", "fits", "differs", "words"),
    [
        (Family.POSIX, Kind.SEGMENT, {"size": 4096}, {"size": 8192}, "size is 8192, declared 4096"),
        (Family.FILE, Kind.SEGMENT, {"size": 4096}, {"size": 0}, "size is 0, declared 4096"),
        (Family.SYSV, Kind.SEGMENT, {"size": 4096}, {"size": 1}, "size is 1, declared 4096"),
        (Family.SYSV, Kind.SEMAPHORE, {"members": 2}, {"members": 3}, "number of semaphores is 3, declared 2"),
        (
            Family.POSIX, Kind.QUEUE, {"fields": {"mq_maxmsg": 2, "mq_msgsize": 64}},
            {"fields": {"mq_maxmsg": 2, "mq_msgsize": 65}}, "message_size is 65, declared 64",
        ),
    ],
)  # fmt: skip
def test_differences_in_words(
    family: Family, kind: Kind, fits: dict[str, Any], differs: dict[str, Any], words: str
) -> None:
    plan = object_plan(family, kind)
    for exact in (True, False):
        assert differences(plan, _stat(plan, **fits), exact=exact) == []
        assert differences(plan, _stat(plan, **differs), exact=exact) == [words]


def test_the_capacity_of_a_system_v_queue_is_compared_when_declared() -> None:
    plan = object_plan(Family.SYSV, Kind.QUEUE)
    assert differences(plan, _stat(plan, size=16384), exact=True) == []
    plan = object_plan(Family.SYSV, Kind.QUEUE, capacity=100)
    assert differences(plan, _stat(plan, size=16384), exact=True) == ["capacity is 16384, declared 100"]


def test_mode_and_owner_matter_for_our_own_objects_only() -> None:
    plan = object_plan(Family.POSIX, Kind.SEMAPHORE, owner=5, group=6)
    seen = _stat(plan, mode=0o644)
    assert differences(plan, seen, exact=False) == []
    assert differences(plan, seen, exact=True) == [
        "mode is 0o644, declared 0o600",
        "owner is uid 0, declared 5",
        "group is gid 0, declared 6",
    ]


def test_what_is_not_declared_or_cannot_be_read_is_not_compared() -> None:
    plan = object_plan(Family.POSIX, Kind.SEGMENT, size=None)
    assert differences(plan, _stat(plan, size=1), exact=False) == []
    queue = object_plan(Family.POSIX, Kind.QUEUE)
    assert differences(queue, _stat(queue), exact=True) == []
    pipe = object_plan(Family.FIFO, Kind.PIPE)
    assert differences(pipe, _stat(pipe), exact=True) == []
