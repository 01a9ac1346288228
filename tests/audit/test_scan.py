"""Real objects of runs that are live, over, crashed, or kept something."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestra.audit.classify import Verdict
from orchestra.audit.scan import scan
from orchestra.errors import KernelError
from orchestra.kernel.host import ipc_namespace
from orchestra.kernel.procfs import start_time
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import OBJECT_KINDS, Family, Kind, ObjectRef, OnDown, Spec
from orchestra.objects import KERNEL, keep_recorded, remove_recorded
from orchestra.objects.names import NAMELESS_FAMILIES
from tests.support.rows import object_plan, process_row

Desk = Any  # tests/audit/conftest.py
Hold = Callable[[str], AbstractContextManager[int]]
LASTING = [pair for pair in OBJECT_KINDS if pair[0] not in NAMELESS_FAMILIES]


def test_an_empty_ledger_has_no_findings(desk: Desk) -> None:
    report = desk.report()
    assert report.findings == ()
    assert report.to_json()["namespace"] == f"ipc:[{ipc_namespace()}]" == os.readlink("/proc/self/ns/ipc")


@pytest.mark.parametrize(("family", "kind"), LASTING)
def test_one_object_of_each_kind_through_its_life(desk: Desk, family: Family, kind: Kind) -> None:
    run = desk.run()
    live = desk.make(object_plan(family, kind), run)
    desk.live.add("r1")
    assert desk.verdicts() == {"board": "live"}
    desk.live.clear()
    (finding,) = desk.report().findings
    assert (finding.verdict, finding.classified.removable) == (Verdict.LEAKED, True)
    answer = finding.to_json()
    assert (answer["name"], answer["id"]) == (live.row.name, live.row.id)
    assert answer["mode"] == "0o600"
    desk.ledger.update_run("r1", state="down", detached=True)
    assert desk.verdicts() == {"board": "live"}
    keep_recorded(desk.ledger, live.row, "on_down: keep", by_hand=False)
    assert desk.verdicts() == {"board": "kept"}
    desk.ledger.update_run("r1", finished=True)
    assert desk.verdicts() == {"board": "kept"}
    remove_recorded(desk.ledger, live.row)
    assert desk.report().findings == ()


@pytest.mark.parametrize(("family", "kind"), [pair for pair in OBJECT_KINDS if pair[0] in NAMELESS_FAMILIES])
def test_nameless_objects_are_there_while_somebody_holds_them(desk: Desk, family: Family, kind: Kind) -> None:
    live = desk.make(object_plan(family, kind), desk.run())
    desk.live.add("r1")
    assert desk.verdicts() == {"board": "live"}
    desk.live.clear()
    (finding,) = desk.report().findings
    assert finding.verdict is Verdict.DELETED
    assert os.getpid() in {holder.pid for holder in finding.holders.holders}
    for fd in live.handle.fds:
        os.close(fd)
    assert desk.report().findings == ()


def test_a_held_leak_names_its_holder(desk: Desk, hold: Hold) -> None:
    live = desk.make(object_plan(Family.POSIX, Kind.SEGMENT), desk.run())
    with hold(f"/dev/shm{live.row.name}") as pid:
        (finding,) = desk.report().findings
        assert (finding.verdict, finding.classified.removable) == (Verdict.LEAKED, False)
        assert [(holder.pid, holder.how) for holder in finding.holders.holders] == [(pid, "open")]
        os.unlink(f"/dev/shm{live.row.name}")
        (finding,) = desk.report().findings
        assert (finding.verdict, finding.stat) == (Verdict.DELETED, None)
        assert finding.to_json()["size"] == 4096
    assert desk.report().findings == ()


def test_a_stranger_under_our_name_is_not_our_finding(desk: Desk) -> None:
    live = desk.make(object_plan(Family.POSIX, Kind.SEGMENT), desk.run())
    os.unlink(f"/dev/shm{live.row.name}")
    adapter_for(Family.POSIX, Kind.SEGMENT).create(Spec(Family.POSIX, Kind.SEGMENT, name=live.row.name, size=4096))
    try:
        assert desk.report().findings == ()
    finally:
        os.unlink(f"/dev/shm{live.row.name}")


def test_an_external_object_is_foreign_while_it_is_used(desk: Desk, ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    plan = object_plan(Family.POSIX, Kind.SEGMENT, name=name, external=True)
    adapter_for(Family.POSIX, Kind.SEGMENT).create(Spec(Family.POSIX, Kind.SEGMENT, name=name, size=4096))
    try:
        desk.make(plan, desk.run())
        desk.live.add("r1")
        assert desk.verdicts() == {"board": "foreign"}
        desk.live.clear()
        assert desk.verdicts() == {}
    finally:
        os.unlink(f"/dev/shm{name}")


def test_runs_are_told_apart(desk: Desk) -> None:
    first, second = desk.run("r1"), desk.run("r2", instance="orct-b")
    desk.make(object_plan(Family.SYSV, Kind.QUEUE, key="jobs"), first)
    desk.make(object_plan(Family.SYSV, Kind.QUEUE, key="other"), second)
    desk.live.add("r2")
    assert desk.verdicts() == {"jobs": "leaked", "other": "live"}
    assert [finding.row.key for finding in desk.report(run="r1").findings] == ["jobs"]
    assert desk.report().leaked == 1


def test_a_kept_object_taken_over_appears_once(desk: Desk, tmp_path: Path) -> None:
    plan = object_plan(Family.POSIX, Kind.SEGMENT, on_down=OnDown.KEEP)
    keep_recorded(desk.ledger, desk.make(plan, desk.run("r1")).row, "on_down: keep", by_hand=False)
    desk.make(plan, desk.run("r2"))
    desk.live.add("r2")
    assert [(finding.row.run, finding.verdict) for finding in desk.report().findings] == [("r2", Verdict.LIVE)]


def test_nothing_goes_while_a_process_of_the_run_survives(desk: Desk) -> None:
    desk.make(object_plan(Family.SYSV, Kind.QUEUE), desk.run())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as survivor:
        started = start_time(survivor.pid)
        desk.ledger.record_processes([process_row(pid=survivor.pid, start_time=started)])
        (finding,) = desk.report().findings
        assert (finding.verdict, finding.classified.removable) == (Verdict.LEAKED, False)
        assert f"still live: {survivor.pid} (worker.1)" in finding.classified.evidence
        desk.ledger.record_processes([process_row(pid=survivor.pid, start_time=(started or 0) + 1)])
        assert desk.report().findings[0].classified.removable  # the number was given to another process
        desk.ledger.record_processes([process_row(pid=survivor.pid, start_time=started)])
        survivor.communicate(b"\n")
    assert desk.report().findings[0].classified.removable


def test_what_was_made_elsewhere_is_counted_not_judged(desk: Desk) -> None:
    desk.make(object_plan(Family.SYSV, Kind.QUEUE), desk.run())
    here = KERNEL.here()
    away = replace(KERNEL, here=lambda: replace(here, ipc_ns=17))
    report = scan(desk.ledger, lambda _: False, world=away)
    assert (report.findings, report.elsewhere, report.ipc_ns) == ((), 1, 17)


def test_after_a_restart_of_the_host_nothing_in_memory_is_left(desk: Desk) -> None:
    for family, kind in LASTING:
        desk.make(object_plan(family, kind, key=f"{family}-{kind}"), desk.run(f"{family}-{kind}"))
    here = KERNEL.here()
    later = replace(KERNEL, here=lambda: replace(here, boot_id="later"))
    report = scan(desk.ledger, lambda _: False, world=later)
    assert {finding.ref.family for finding in report.findings} == {Family.FILE, Family.FIFO}


def test_when_holders_cannot_be_found_out_nobody_is_said_to_be_nobody(desk: Desk) -> None:
    def refuse(_: object) -> Any:
        raise KernelError("/proc is not mounted")

    desk.make(object_plan(Family.POSIX, Kind.SEGMENT), desk.run())
    report = scan(desk.ledger, lambda _: False, world=replace(KERNEL, holders=refuse))
    assert "not every process could be looked into" in report.findings[0].classified.evidence


def test_looking_changes_nothing_on_record(desk: Desk) -> None:
    desk.make(object_plan(Family.POSIX, Kind.SEGMENT), desk.run())
    gone = desk.make(object_plan(Family.SYSV, Kind.QUEUE), desk.run("r2"))
    adapter_for(Family.SYSV, Kind.QUEUE).remove(ObjectRef(Family.SYSV, Kind.QUEUE, id=gone.row.id))
    before = desk.ledger.objects(), desk.ledger.runs()
    desk.report()
    assert (desk.ledger.objects(), desk.ledger.runs()) == before
