"""How the watchers and a supervisor play together, without one; with real processes it is told in the scenarios."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestra.kernel.host import boot_id
from orchestra.kinds import Family, Kind
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState
from orchestra.logs.sink import LogFile
from orchestra.objects import LiveObject, announce_recorded, remove_recorded
from orchestra.runplan import ObjectPlan, ProcessPlan, RunPlan
from orchestra.statedir import StateDir
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.kin import Kin
from orchestra.supervisor.output import Outputs
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.states import Phase, Replica, RunState, Who
from orchestra.supervisor.watchers import Watchers, processes_left
from orchestra.supervisor.wiring import Wire, wires
from tests.support.rows import run_row
from tests.support.runs import until

A = Who("a", 1)
BOARD = ObjectPlan("board", Family.POSIX, Kind.SEGMENT, name=f"/orct.watch-{os.getpid()}", size=4096, made_by="a")


class Host:
    """A supervisor without a loop."""

    def __init__(self, folder: Path) -> None:
        run = run_row("r", instance="orct", boot_id=boot_id())
        places = StateDir(folder, folder / "run")
        places.run_folder("r").mkdir(parents=True)
        self.job = SimpleNamespace(run=run, places=places)
        self.ledger = Ledger.open(folder / "ledger.db")
        self.ledger.begin_run(run)
        self.reactor, self.kin = Reactor(), Kin()
        self.log = LogFile(folder / "log.jsonl", run="r")
        self.outputs = Outputs(self.reactor, self.log, "r", 4, lambda _key: None)
        self.plan = RunPlan("t", "orct", "/f", str(folder), (BOARD,), (ProcessPlan("a"), ProcessPlan("b")))
        self.state = RunState.initial(self.plan.processes)
        self.things: dict[str, LiveObject] = {
            "board": announce_recorded(self.ledger, BOARD, run, folder=places.run_folder("r"))
        }
        self.wires: dict[str, Wire] = {}
        self.null = os.open(os.devnull, os.O_RDWR)
        self.open_files: tuple[int, int] | None = None
        self.told: list[on.Event] = []
        self.said: list[dict[str, Any]] = []
        self.watchers = Watchers(self)

    def dispatch(self, *events: on.Event) -> None:
        self.told.extend(events)

    def say(self, event: str, **fields: Any) -> None:
        self.said.append({"event": event, **fields})

    def rewire(self) -> None:
        self.wires = wires(self.plan, "r", self.things)

    def put(self, replica: Replica) -> None:
        self.state = replace(self.state, replicas={**self.state.replicas, A: replica})
        self.watchers.recorded(A)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.watchers.close()
    host.outputs.close()
    host.log.close()
    os.close(host.null)
    for row in host.ledger.objects():
        remove_recorded(host.ledger, row)
    host.ledger.close()


def make_board(size: int = 4096) -> None:
    fd = os.open(f"/dev/shm{BOARD.name}", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.ftruncate(fd, size)
    os.close(fd)


def test_what_was_made_is_on_record_wired_and_said(host: Host) -> None:
    host.watchers.obey(do.Check("b"))
    assert host.told == [on.Checked("b")]
    host.watchers.obey(do.Check("a"))
    assert isinstance(host.told[1], on.Checked)
    assert host.told[1].wrong.startswith("did not make what it was to make: board: a was to make")
    assert host.said == []
    make_board()
    host.watchers.obey(do.Check("a"))
    assert host.told[2] == on.Checked("a")
    assert host.things["board"].row.state is ObjectState.LIVE
    assert [said["event"] for said in host.said] == ["object.made"]
    assert host.wires["b"].bindings == {}
    host.watchers.obey(do.Check("a"))
    assert len(host.said) == 1, "it is the same object"


def test_a_ledger_that_refuses_is_a_reason_too(host: Host) -> None:
    make_board()
    try:
        host.ledger.close()
        host.watchers.obey(do.Check("a"))
        assert isinstance(host.told[0], on.Checked)
        assert "board cannot be put on record" in host.told[0].wrong
    finally:
        os.unlink(f"/dev/shm{BOARD.name}")
        host.ledger = Ledger.open(host.job.places.home / "ledger.db")


def test_who_does_not_end_is_named_ever_more_rarely(host: Host) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    host.kin.add(A, process.pid)
    host.put(Replica(Phase.RUNNING, pid=process.pid))
    assert not host.reactor._timers
    host.put(Replica(Phase.STOPPING, pid=process.pid))
    pauses = []
    for _ in range(8):
        pauses.append(round(max(at for at, _, _ in host.reactor._heap) - time.monotonic()))
        host.reactor._timers["blocking", A][1]()
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: [death for death in host.kin.reap() if death.who == A])
    process.returncode = -9
    assert len(host.said) == 8
    assert host.said[0]["left"][0].startswith(f"{process.pid} (")
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    host.watchers.ended(A)
    host.put(Replica(Phase.EXITED, pid=process.pid))
    assert not host.reactor._timers


def test_descendants_that_are_left_are_named() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    assert process.pid in [left["pid"] for left in processes_left(Kin())]
    process.kill()
    process.wait()
    assert process.pid not in [left["pid"] for left in processes_left(Kin())]
