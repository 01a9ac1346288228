from __future__ import annotations

from orchestra.audit.classify import Classified, Verdict
from orchestra.audit.report import Finding, Report
from orchestra.kinds import Family, Holder, Holders, Identity, Kind, ObjectRef, Stat
from orchestra.ledger.rows import ObjectState
from tests.support.rows import object_row

KEYS = [
    "family", "kind", "name", "key", "id", "size", "mode", "owner", "created_at", "verdict", "instance", "run",
    "intended", "holders", "evidence", "removable", "holders_complete", "danger", "rule", "group", "namespace",
]  # fmt: skip
LEAKED = Classified(Verdict.LEAKED, "because", intended=False, removable=True)


def test_a_finding_has_every_documented_key_in_order() -> None:
    identity = Identity(Family.SYSV, Kind.SEGMENT, id=0, key=0xDEADBEEF)
    ref = ObjectRef(Family.SYSV, Kind.SEGMENT, id=0, key=0xDEADBEEF)
    stat = Stat(ref, identity, mode=0o40, uid=0, gid=0, size=4096)
    row = object_row(Family.SYSV, Kind.SEGMENT, id=0, created_at=1.5)
    found = Finding(row, stat, Holders((Holder(7, "sh", "attached"),)), LEAKED).to_json()
    assert list(found) == KEYS
    assert found == {
        "family": "sysv", "kind": "segment", "name": None, "key": "0xdeadbeef", "id": 0, "size": 4096,
        "mode": "0o040", "owner": "root", "created_at": "1970-01-01T00:00:01.500000Z", "verdict": "leaked",
        "instance": "pipeline", "run": "r1", "intended": False,
        "holders": [
            {"pid": 7, "command": "sh", "how": "attached", "started_at": None, "user": None, "unit": None}
        ],
        "evidence": "because", "removable": True, "holders_complete": True, "danger": None, "rule": None, "group": None,
        "namespace": None,
    }  # fmt: skip


def test_what_is_not_there_any_more_is_told_from_the_record() -> None:
    row = object_row(state=ObjectState.LIVE, name="/board", shape={"size": 10}, uid=4242, mode=0o640)
    found = Finding(row, None, Holders(()), Classified(Verdict.DELETED, "x")).to_json()
    assert list(found) == KEYS
    assert (found["name"], found["key"], found["id"], found["size"]) == ("/board", None, None, 10)
    assert (found["mode"], found["owner"], found["intended"]) == ("0o640", "uid 4242", None)


def test_the_name_is_the_one_it_was_found_under() -> None:
    stat = Stat(ObjectRef(Family.POSIX, Kind.SEGMENT, name="/board"), Identity(Family.POSIX, Kind.SEGMENT), 0o600, 0, 0)
    row = object_row(state=ObjectState.LIVE, wanted_name="/board")
    assert Finding(row, stat, Holders(()), LEAKED).to_json()["name"] == "/board"


def test_the_summary_counts_every_verdict() -> None:
    report = Report(4026531839, (Finding(object_row(), None, Holders(()), LEAKED),) * 2, elsewhere=3)
    answer = report.to_json()
    assert list(answer) == ["namespace", "findings", "summary", "gaps", "notes"]
    assert answer["namespace"] == "ipc:[4026531839]"
    assert answer["summary"] == {
        "deleted": 0, "live": 0, "kept": 0, "leaked": 2, "foreign": 0, "orphan": 0, "unknown": 0,
    }  # fmt: skip
    assert report.leaked == 2
