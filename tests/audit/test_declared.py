from __future__ import annotations

from orchestra.audit.classify import Classified, Verdict
from orchestra.audit.declared import declared, unnamed
from orchestra.audit.report import Finding
from orchestra.kernel.inventory import Seen
from orchestra.kinds import Family, Holders, Kind
from orchestra.ledger.rows import ObjectRow
from orchestra.runplan import ObjectPlan
from tests.support.rows import object_row
from tests.support.seen import HERE, file_seen, queue_seen, segment_seen

PLANS = [
    ObjectPlan("board", Family.POSIX, Kind.SEGMENT, name="/board"),
    ObjectPlan("table", Family.SYSV, Kind.SEGMENT, ipc_key=0x4F524331),
    ObjectPlan("jobs", Family.SYSV, Kind.QUEUE),  # a random key each time
    ObjectPlan("own", Family.SYSV, Kind.QUEUE, ipc_key=0),  # IPC_PRIVATE is nobody's address
]


def finding(seen: Seen | None = None, row: ObjectRow | None = None) -> Finding:
    return Finding(row, None, Holders(()), Classified(Verdict.ORPHAN, "because"), seen=seen, place=HERE)


def test_objects_are_those_with_a_name_or_key_that_the_file_spells_out() -> None:
    fits = declared(PLANS, ["lab"])
    assert fits(finding(file_seen("/board")))
    assert fits(finding(segment_seen(key=0x4F524331)))
    assert not fits(finding(file_seen("/other")))
    assert not fits(finding(file_seen("/board", kind=Kind.QUEUE)))
    assert not fits(finding(segment_seen(key=0)))
    assert not fits(finding(queue_seen(key=0)))
    assert not fits(finding())


def test_what_was_started_from_the_file_is_its_own_whatever_the_name() -> None:
    fits = declared(PLANS, ["lab", "second"])
    assert fits(finding(row=object_row(instance="second")))
    assert not fits(finding(row=object_row(instance="other", name="/board")))


def test_what_cannot_be_found_by_the_file_alone() -> None:
    assert unnamed(PLANS) == ["jobs", "own"]
