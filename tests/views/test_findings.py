from __future__ import annotations

from typing import Any

from orchestra.views.findings import address, audit_table, clean_table, counted


def finding(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "family": "posix", "kind": "queue", "name": "/jobs", "key": None, "id": None, "size": 80, "verdict": "leaked",
        "instance": "pipeline", "run": "r1", "evidence": "its run is over", "holders": [],
    }  # fmt: skip
    return {**base, **changes}


def test_addresses_are_those_that_inspect_takes() -> None:
    assert address(finding()) == "posix-queue:/jobs"
    assert address(finding(family="sysv", name=None, id=0)) == "sysv-queue:0"
    assert address(finding(family="fifo", kind="pipe", name="/tmp/f")) == "fifo:/tmp/f"
    assert address(finding(family="memfd", kind="segment", name=None)) == "memfd-segment"


def test_audit_table() -> None:
    held = finding(verdict="kept", holders=[{"pid": 7, "command": "sh", "how": h} for h in ("open", "mapped")])
    assert audit_table([("jobs", finding()), ("board", held)]) == (
        "VERDICT  OBJECT             DECLARED        RUN  SIZE  HELD BY  EVIDENCE\n"
        "leaked   posix-queue:/jobs  pipeline.jobs   r1     80  -        its run is over\n"
        "kept     posix-queue:/jobs  pipeline.board  r1     80  7 sh     its run is over\n"
    )


def test_clean_table() -> None:
    assert clean_table([("removed", "jobs", finding(), ""), ("left", "jobs", finding(), "held by 7 (sh)")]) == (
        "OUTCOME  VERDICT  OBJECT             DECLARED       RUN  SIZE  WHY\n"
        "removed  leaked   posix-queue:/jobs  pipeline.jobs  r1     80  -\n"
        "left     leaked   posix-queue:/jobs  pipeline.jobs  r1     80  held by 7 (sh)\n"
    )


def test_counts_name_only_what_there_is() -> None:
    assert counted({"live": 0, "kept": 4, "leaked": 2}) == "4 kept, 2 leaked"
    assert counted({"live": 0}) == ""


def test_what_is_not_on_record_has_an_owner_and_neither_run_nor_key() -> None:
    other = finding(verdict="orphan", instance=None, run=None, owner="joe", evidence="held by nobody; 7 is gone")
    assert audit_table([(None, other)]) == (
        "VERDICT  OBJECT             OWNER  SIZE  HELD BY  EVIDENCE\n"
        "orphan   posix-queue:/jobs  joe      80  -        held by nobody; 7 is gone\n"
    )
    assert audit_table([(None, other)], width=60) == (
        "VERDICT  OBJECT             OWNER  SIZE  EVIDENCE\norphan   posix-queue:/jobs  joe      80  7 is gone\n"
    )
    assert audit_table([]) == ""


def test_many_holders_are_counted() -> None:
    many = finding(holders=[{"pid": pid, "command": "sh", "how": "open"} for pid in range(1, 8)])
    assert "1 sh, 2 sh, 3 sh, 4 sh, +3  " in audit_table([("jobs", many)])
