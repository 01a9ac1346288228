"""What a private namespace must allow for the objects of a plan."""

from __future__ import annotations

from orchestra.kinds import Family, Kind
from orchestra.runplan import ObjectPlan
from orchestra.supervisor.boxlimits import limits_for


def queue(max_messages: int, message_size: int = 0) -> ObjectPlan:
    return ObjectPlan("jobs", Family.POSIX, Kind.QUEUE, max_messages=max_messages, message_size=message_size)


def test_what_the_kernel_allows_anyway_is_left_alone() -> None:
    assert limits_for([queue(max_messages=10, message_size=8192)]) == {}
    assert limits_for([]) == {}


def test_what_does_not_fit_is_raised_to_fit() -> None:
    large = ObjectPlan("results", Family.SYSV, Kind.QUEUE, capacity=65536)
    found = limits_for([queue(max_messages=100, message_size=64), queue(max_messages=1, message_size=9000), large])
    assert found == {"fs.mqueue.msg_max": 100, "fs.mqueue.msgsize_max": 9000, "kernel.msgmnb": 65536}


def test_many_objects_need_room_and_programs_may_make_some_more() -> None:
    many = [ObjectPlan(f"s{n}", Family.SYSV, Kind.SEGMENT, size=1) for n in range(4096)]
    assert limits_for(many) == {"kernel.shmmni": 4160}
    sets = [ObjectPlan(f"l{n}", Family.SYSV, Kind.SEMAPHORE, values=(1,)) for n in range(32000)]
    assert limits_for(sets) == {"kernel.sem": "32000 1024000000 500 32064"}


def test_what_somebody_else_made_needs_no_room() -> None:
    assert limits_for([queue(max_messages=100)._replace(external=True)]) == {}
