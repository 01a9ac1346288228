"""What a run's processes made beside its file: found, proven or not, and dealt with as asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import KernelError
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Kind, ObjectRef
from orchestra.ledger.journal import Ledger
from orchestra.runplan import ObjectPlan, RunPlan
from tests.support.rows import run_row
from tests.support.runs import process, running

# One of each: a segment names its maker, a queue its last user, a POSIX segment nobody; an unlinked one is no matter.
MAKER = """
import sys
import posix_ipc, sysv_ipc
name = sys.argv[1]
posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=10)
posix_ipc.SharedMemory(name + ".tidy", posix_ipc.O_CREX, size=10).unlink()
print("segment", sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=10).id)
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
queue.send(b"x")
print("queue", queue.id, flush=True)
sys.stdin.read()
while not __import__("os").path.exists(sys.argv[2]):
    pass
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def left() -> Iterator[list[ObjectRef]]:
    """What the program under test leaves; removed at the end."""
    refs: list[ObjectRef] = []
    yield refs
    for ref in refs:
        with suppress(KernelError):
            adapter_for(ref.family, ref.kind).remove(ref)


def is_there(ref: ObjectRef) -> bool:
    return adapter_for(ref.family, ref.kind).stat(ref) is not None


@pytest.mark.parametrize("mode", ["report", "remove", "fail"])
def test_what_was_left_is_told_and_only_the_proven_is_removed(
    mode: str, tmp_path: Path, ipc_name: Callable[[], str], left: list[ObjectRef]
) -> None:
    name, go = ipc_name(), tmp_path / "go"
    maker = process("maker", sys.executable, "-c", MAKER, name, str(go))
    declared = ObjectPlan("jobs", Family.SYSV, Kind.QUEUE)
    with running(tmp_path / "home", maker, objects=[declared], undeclared=mode) as run:
        run.wait_line("maker", "queue")
        numbers = dict(line.split() for line in run.lines("maker"))
        posix = ObjectRef(Family.POSIX, Kind.SEGMENT, name=name)
        segment = ObjectRef(Family.SYSV, Kind.SEGMENT, id=int(numbers["segment"]))
        queue = ObjectRef(Family.SYSV, Kind.QUEUE, id=int(numbers["queue"]))
        left += [posix, segment, queue]
        go.touch()
        assert run.ended()["exit_code"] == (1 if mode == "fail" else 0)
        told = {record["object"]: record["data"] for record in run.log() if record.get("event") == "object.undeclared"}
        assert set(told) == {str(ref) for ref in left}
        proven = "removed" if mode == "remove" else "reported"
        assert told[str(segment)]["action"] == proven
        assert "made by process" in told[str(segment)]["evidence"]
        assert told[str(queue)]["action"] == ("left" if mode == "remove" else "reported")
        assert "last used by process" in told[str(queue)]["evidence"]
        assert told[str(posix)].get("reason") == (
            "nothing proves that it was made by the run" if mode == "remove" else None
        )
        assert [is_there(ref) for ref in left] == [True, mode != "remove", True]
        assert run.row().state == ("failed" if mode == "fail" else "down")
        with Ledger.open(run.places.ledger) as ledger:
            removals = [(row.reference, row.outcome, row.run) for row in ledger.removals()]
        assert removals == ([(str(segment), "removed", run.id)] if mode == "remove" else [])


def test_a_run_that_declares_everything_says_nothing(tmp_path: Path) -> None:
    objects = [
        ObjectPlan("jobs", Family.POSIX, Kind.QUEUE),
        ObjectPlan("board", Family.POSIX, Kind.SEGMENT, size=64),
        ObjectPlan("slots", Family.SYSV, Kind.SEMAPHORE, values=(1,)),
    ]
    with running(tmp_path / "home", process("a", "true"), objects=objects, undeclared="fail") as run:
        assert run.ended()["exit_code"] == 0
        assert not [event for event in run.path() if event.startswith("object.undeclared")]


def test_a_ledger_that_cannot_be_read_removes_nothing(tmp_path: Path) -> None:
    from orchestra.supervisor.undeclared import Undeclared

    watched = Undeclared(RunPlan("t", "t", "/f", "/", undeclared="remove"), run_row(uid=os.getuid()), set)
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.close()
    said: list[Any] = []
    found = watched.settle(ledger, lambda event, **fields: said.append(event))
    assert (found.removed, found.reasons, said) == (0, [], ["ledger.unwritable"])
