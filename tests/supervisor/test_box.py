"""A box is on record before it is relied on, and ends by itself when it never will be."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.errors import KernelError, UsageError
from orchestra.kernel import namespaces
from orchestra.kernel.host import boot_id, ipc_namespace, ipc_namespace_of, sysctl_number
from orchestra.kernel.process import is_running
from orchestra.kinds import Family, Kind
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.objects import boxes
from orchestra.runplan import ObjectPlan, RunPlan
from orchestra.statedir import StateDir
from orchestra.supervisor import box

PLAN = RunPlan("t", "t", "/t.yaml", "/", objects=(ObjectPlan("jobs", Family.POSIX, Kind.QUEUE, max_messages=77),))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    if why := namespaces.can_isolate():
        pytest.skip(why)
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened
        for run in opened.runs():
            if run.box_pid is not None and is_running(run.box_pid, run.box_start):
                os.kill(run.box_pid, signal.SIGKILL)
                os.waitpid(run.box_pid, 0)


def begin(ledger: Ledger, run: str) -> RunRow:
    row = RunRow(run, "t", "t", "/t.yaml", "/", "starting", 0.0, boot_id(), os.getuid(), finished=True)
    ledger.begin_run(row)
    return row


def test_a_box_holds_a_namespace_with_room_for_the_plan(ledger: Ledger, tmp_path: Path) -> None:
    run = box.prepare(ledger, begin(ledger, "r1"), PLAN, StateDir(tmp_path, tmp_path))
    assert ledger.run("r1") == run
    assert run.box_pid is not None
    assert ipc_namespace_of(run.box_pid) not in (None, ipc_namespace())
    assert boxes.within(run, lambda: sysctl_number("fs.mqueue.msg_max")) == 77
    assert boxes.release(ledger, run), "there is nothing in it"
    assert boxes.box_of(run) is None


def test_a_box_that_nobody_confirms_ends(ledger: Ledger, tmp_path: Path) -> None:
    made, go = box._make(PLAN)
    os.close(go)
    assert os.waitpid(made.pid, 0) == (made.pid, 1 << 8)


def test_our_own_files_must_be_seen_inside(ledger: Ledger) -> None:
    hidden = Path("/dev/shm/orct.state")
    with pytest.raises(UsageError, match="would not see"):
        box.prepare(ledger, begin(ledger, "r1"), PLAN, StateDir(hidden, hidden))


def test_the_folder_of_the_file_must_be_seen_inside(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would not see /dev/shm"):
        box.prepare(ledger, begin(ledger, "r1"), PLAN._replace(folder="/dev/shm"), StateDir(tmp_path, tmp_path))


def test_what_the_kernel_refuses_is_said(ledger: Ledger, tmp_path: Path) -> None:
    wild = PLAN._replace(objects=(PLAN.objects[0]._replace(max_messages=2**30),))
    with pytest.raises(KernelError, match=r"fs\.mqueue\.msg_max cannot be set"):
        box.prepare(ledger, begin(ledger, "r1"), wild, StateDir(tmp_path, tmp_path))
    assert ledger.runs()[0].box_pid is None
