"""What requests do to a real supervisor: wirings handed over, edited plans, other objects; and no trace of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import Conflict, ObjectExists, OrchestraError
from orchestra.kinds import Access, Family, Kind
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState
from orchestra.runplan import ObjectPlan, ProcessPlan, RunPlan, Use
from orchestra.supervisor.aftermath import finish
from tests.support.programs import WAITS
from tests.support.runs import Run, is_alive, process, running, until

pytestmark = pytest.mark.slow

JOBS = ObjectPlan("jobs", Family.POSIX, Kind.QUEUE, max_messages=2, message_size=64)
FEED = ObjectPlan("feed", Family.ANONYMOUS, Kind.PIPE)
BOARD = ObjectPlan("board", Family.MEMFD, Kind.SEGMENT, size=4096)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "home"


def change(run: Run, *items: ProcessPlan | ObjectPlan, **fields: Any) -> dict[str, Any]:
    """Bring an edited plan in, as `up -d --wait` does."""
    plan = run.plan._replace(
        processes=tuple(item for item in items if isinstance(item, ProcessPlan)),
        objects=tuple(item for item in items if isinstance(item, ObjectPlan)),
    )
    return run.control().ask("change", plan=json.loads(plan.to_json()), **fields)


def descriptors(run: Run) -> list[str]:
    """What the supervisor has open; a connection that was closed here may still be there for a moment."""
    folder = f"/proc/{run.row().supervisor_pid}/fd"
    found = []
    for number in os.listdir(folder):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"{folder}/{number}").partition(":")[0])
    return sorted(found)


def settled(run: Run) -> list[str]:
    """What it has open when nobody is connected: beside the listening socket, channel and the guardian's lines."""
    sockets = 2
    until(lambda: descriptors(run).count("socket") <= sockets, what="the connections to be closed")
    return descriptors(run)


def memory(pid: int) -> int:
    """Resident memory in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def test_many_questions_at_once_and_many_restarts_leave_no_trace(place: Path) -> None:
    worker = process("worker", "exec sleep 1000", replicas=2, uses=(Use("jobs", Access.READ),))
    with running(place, worker, process("server", "exec sleep 1000", service=True), objects=[JOBS]) as run:
        run.up()
        for number in range(8):  # what is made once, and kept
            run.control().ask("restart", targets=[f"worker.{number % 2 + 1}"])
            run.control().wiring(target="worker")
        before, pid = settled(run), run.control().state()["pid"]
        resident = memory(pid)
        with ThreadPoolExecutor(8) as shells:
            answers = list(shells.map(lambda _: run.control().state(), range(400)))
        assert {answer["state"] for answer in answers} == {"up"}
        for number in range(60):
            answer = run.control().ask("restart", targets=[f"worker.{number % 2 + 1}"])
            assert [row["result"] for row in answer["results"]] == ["ok"]
        for _ in range(20):
            for fd in run.control().wiring(target="worker", uses={"jobs": "write"}).descriptors:
                os.close(fd)
        until(lambda: descriptors(run) == before, what="the descriptors of before")
        assert memory(pid) - resident < 1024
        assert run.ps()["worker"]["restarts"] == 0  # those that a person asked for are not counted


def test_a_wiring_opens_everything_anew(place: Path) -> None:
    uses = tuple(
        Use(key, access) for key, access in (("jobs", Access.READ), ("feed", Access.READ), ("board", Access.READ))
    )
    reader = process("reader", WAITS, uses=uses)
    writer = process("writer", WAITS, uses=(Use("feed", Access.WRITE),))
    with running(place, reader, writer, objects=[JOBS, FEED, BOARD]) as run:
        run.up()
        run.wait_line("reader", "ready")
        wiring = run.control().wiring(target="reader")
        try:
            assert wiring.answer["descriptors"] == ["jobs", "feed", "board"]
            assert wiring.answer["environment"]["ORCHESTRA_FEED_FD"] == "4"
            theirs = run.ps()["reader"]["pid"]
            for number, fd in enumerate(wiring.descriptors, 3):
                assert os.path.samestat(os.fstat(fd), os.stat(f"/proc/{theirs}/fd/{number}"))
        finally:
            for fd in wiring.descriptors:
                os.close(fd)


def test_pipes_and_memory_files_through_a_change(place: Path) -> None:
    """The ends of a pipe whose users are up are closed here; a restarted user gets them all the same."""
    writer = process(
        "writer", "echo one >&3; read x < gate; echo two >&3; exec sleep 1000", uses=(Use("feed", Access.WRITE),)
    )
    reader = process("reader", "cat <&3", uses=(Use("feed", Access.READ), Use("board", Access.READ_WRITE)))
    os.mkfifo(place.parent / "gate")
    with running(place, writer, reader, objects=[FEED, BOARD]) as run:
        run.up()
        run.wait_line("reader", "one")
        before = settled(run)
        changed = reader._replace(environment=(("A", ("1",)),))
        change(run, writer, changed, FEED, BOARD)
        (place.parent / "gate").write_text("\n")
        run.wait_line("reader", "two")
        extra = FEED._replace(key="extra")
        user = process("user", WAITS, uses=(Use("extra", Access.READ), Use("board", Access.READ)))
        change(run, writer, changed, user, FEED, BOARD, extra)
        run.wait_line("user", "ready")
        change(run, writer, changed, FEED, BOARD)
        until(lambda: descriptors(run) == before, what="the descriptors of before")
        larger = BOARD._replace(size=8192)
        assert change(run, writer, changed, FEED, larger, recreate=True)["results"]
        until(lambda: descriptors(run) == before, what="the descriptors of before")


def test_a_change_that_cannot_be_made_goes_back(place: Path, ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    path = f"/dev/shm{name}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    taken = ObjectPlan("taken", Family.POSIX, Kind.SEGMENT, name=name, size=64)
    try:
        worker = process("worker", WAITS, uses=(Use("jobs", Access.READ),))
        with running(place, worker, objects=[JOBS]) as run:
            run.up()
            both = worker._replace(uses=(*worker.uses, Use("taken", Access.READ)))
            with pytest.raises(ObjectExists, match="already exists"):
                change(run, both, JOBS, taken)
            until(lambda: run.ps()["worker"]["state"] == "running")
            assert change(run, worker, JOBS)["difference"] == []
            plan = RunPlan.from_json((run.folder / "plan.json").read_text())
            assert plan.processes == (worker,)
            assert not (run.folder / "plan.next.json").exists()
            assert {"run.changing", "run.change_failed"} <= {record.get("event") for record in run.log()}
    finally:
        os.unlink(path)


def test_killed_while_it_changes(place: Path) -> None:
    """The old processes still have to end: nothing that was made or announced is out of reach afterwards."""
    stubborn = process("stubborn", "trap '' TERM; echo ready; while :; do sleep 0.1; done", grace=600.0)
    with running(place, stubborn, process("other", WAITS), objects=[JOBS], detach=True) as run:
        run.up()
        run.wait_line("stubborn", "ready")
        pid = run.control().state()["pid"]
        table = ObjectPlan("table", Family.SYSV, Kind.SEGMENT, size=64)
        with ThreadPoolExecutor(1) as other:
            asking = other.submit(change, run, process("other", WAITS), table)
            until(lambda: any(record.get("event") == "run.changing" for record in run.log()))
            with pytest.raises(Conflict, match="being changed"):
                run.control().ask("restart", targets=["other"])
            assert (run.folder / "plan.next.json").exists()
            children = [row["pid"] for row in run.ps().values()]
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(OrchestraError, match="went away"):
                asking.result()
        assert run.ended()["state"] == "crashed"
        assert not any(map(is_alive, children))
        with Ledger.open(run.places.ledger) as ledger:
            done = finish(ledger, run.row())
            assert done.complete
            assert {row.state for row in ledger.objects(run=run.id)} == {ObjectState.REMOVED}
