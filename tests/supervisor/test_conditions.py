"""What is waited for before a start: told by the kernel where it can, else looked at."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc

from orchestra.kernel.host import boot_id
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Access, Family, Kind
from orchestra.ledger.journal import Ledger
from orchestra.objects import LiveObject, announce_recorded, create_recorded, remove_recorded
from orchestra.runplan import ObjectPlan, WaitFor
from orchestra.supervisor.conditions import Conditions, alarm_for, look_at, number_of
from orchestra.supervisor.reactor import Reactor
from tests.support.rows import run_row
from tests.support.runs import until

NUMBER = os.getpid()
JOBS = ObjectPlan("jobs", Family.POSIX, Kind.QUEUE, max_messages=4, message_size=8)
LETTERS = ObjectPlan("letters", Family.SYSV, Kind.QUEUE)
LOCKS = ObjectPlan("locks", Family.SYSV, Kind.SEMAPHORE, values=(3, 0))
SLOTS = ObjectPlan("slots", Family.POSIX, Kind.SEMAPHORE, values=(2,))
TABLE = ObjectPlan("table", Family.SYSV, Kind.SEGMENT, size=4096)
BOARD = ObjectPlan("board", Family.POSIX, Kind.SEGMENT, size=4096)
MADE = ObjectPlan("made", Family.POSIX, Kind.SEGMENT, name=f"/orct.cond-{NUMBER}", size=4096, made_by="maker")


class Bench:
    """Objects, a reactor, and who was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger.open(folder / "ledger.db")
        self.run = run_row("r", instance="orct", boot_id=boot_id())
        self.ledger.begin_run(self.run)
        self.reactor = Reactor()
        self.things: dict[str, LiveObject] = {}
        self.leaders: list[int] = []
        self.met: list[str] = []
        self.conditions = Conditions(self.reactor, lambda: self.things, lambda _name: self.leaders, self.met.append)

    def make(self, *plans: ObjectPlan) -> None:
        for plan in plans:
            make = announce_recorded if plan.made_by else create_recorded
            self.things[plan.key] = make(self.ledger, plan, self.run, folder=self.folder)

    def waits(self, *wait_for: WaitFor) -> None:
        """Begin to wait; nothing holds yet."""
        self.conditions.watch("p", wait_for)
        self.reactor.turn(wait=False)
        assert self.met == []

    def is_told(self, *, by_looking: bool = False) -> None:
        """Wait until the process may start. What the kernel tells needs no timer."""
        assert bool(self.reactor._timers) == by_looking

        def look() -> bool:
            self.reactor.turn(wait=False)
            return bool(self.met)

        until(look)
        assert self.met == ["p"]
        assert not self.reactor._timers

    def name(self, key: str) -> str:
        return str(self.things[key].handle.ref.name)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.conditions.close()
    for row in bench.ledger.objects():
        remove_recorded(bench.ledger, row)
    bench.ledger.close()
    assert not bench.reactor._callbacks, "nothing is watched any more"


@pytest.fixture
def child() -> Iterator[Callable[[Callable[[], object]], int]]:
    pids: list[int] = []

    def start(act: Callable[[], object]) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                act()
                signal.pause()
            finally:
                os._exit(0)
        pids.append(pid)
        return pid

    yield start
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_message_in_a_posix_queue_is_told_by_the_kernel(bench: Bench) -> None:
    bench.make(JOBS)
    queue = posix_ipc.MessageQueue(bench.name("jobs"))
    bench.waits(WaitFor("jobs", "messages", 2))
    queue.send(b"1")
    bench.reactor.turn()
    assert bench.met == []
    queue.send(b"2")
    bench.is_told()
    queue.close()


def test_a_queue_that_is_drained(bench: Bench) -> None:
    bench.make(JOBS, LETTERS)
    queue, letters = posix_ipc.MessageQueue(bench.name("jobs")), bench.things["letters"]
    queue.send(b"1")
    key = letters.row.ipc_key
    assert key is not None
    sysv_ipc.MessageQueue(key).send(b"x")
    bench.waits(WaitFor("jobs", "messages", 0, 0), WaitFor("letters", "messages", 0, 0))
    assert number_of(letters, "messages") == 1
    queue.receive()
    sysv_ipc.MessageQueue(key).receive()
    bench.is_told(by_looking=True)
    queue.close()


def test_values_and_attachments(bench: Bench, child: Callable[[Callable[[], object]], int]) -> None:
    bench.make(LOCKS, SLOTS, TABLE, BOARD)
    locks, slots, table, board = (bench.things[key] for key in ("locks", "slots", "table", "board"))
    assert [number_of(locks, "value", member) for member in (0, 1, 2)] == [3, 0, None]
    assert number_of(slots, "value") == 2
    assert number_of(table, "attached") == 0
    assert number_of(board, "attached") == 0
    bench.waits(WaitFor("table", "attached", 2, 2), WaitFor("board", "attached", 1), WaitFor("slots", "value", 3))
    key = table.row.ipc_key
    assert key is not None
    for _ in range(2):
        child(lambda: sysv_ipc.SharedMemory(key))
    child(lambda: adapter_for(Family.POSIX, Kind.SEGMENT).open(board.handle.ref, Access.READ))
    posix_ipc.Semaphore(bench.name("slots")).release()
    bench.is_told(by_looking=True)


def test_an_object_that_appears_and_one_that_goes(bench: Bench) -> None:
    bench.make(MADE, SLOTS)
    bench.waits(WaitFor("made", "exists"), WaitFor("slots", "exists", expected=False))
    fd = os.open(f"/dev/shm{MADE.name}", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        posix_ipc.unlink_semaphore(bench.name("slots"))
        bench.reactor.turn()
        assert look_at(bench.things["made"]) is None, "it has no size yet"
        assert bench.met == []
        os.ftruncate(fd, 4096)
        bench.is_told()
    finally:
        os.close(fd)
        os.unlink(f"/dev/shm{MADE.name}")


def test_a_process_that_is_blocked(bench: Bench, child: Callable[[Callable[[], object]], int]) -> None:
    bench.make(JOBS, BOARD)
    name = bench.name("jobs")
    bench.waits(WaitFor("reader", "blocked_on", object="jobs"))
    bench.leaders = [child(lambda: None)]
    other = child(lambda: posix_ipc.MessageQueue(name).receive())
    bench.reactor.turn()
    assert bench.met == []
    bench.leaders = [other]
    bench.is_told(by_looking=True)


def test_what_holds_already_is_told_at_once_and_nobody_is_told_after_forget(bench: Bench) -> None:
    bench.make(SLOTS)
    bench.conditions.watch("p", (WaitFor("slots", "value", 1, 5), WaitFor("slots", "exists")))
    assert bench.met == ["p"]
    bench.conditions.watch("q", (WaitFor("slots", "value", 4),))
    bench.conditions.forget("q")
    bench.conditions.forget("q")
    assert not bench.reactor._timers


def test_what_is_not_there_has_no_number_and_no_alarm(bench: Bench) -> None:
    bench.make(MADE)
    thing = bench.things["made"]
    assert number_of(thing, "attached") is None
    assert alarm_for(thing, "value") is None
    missing = announce_recorded(
        bench.ledger, JOBS._replace(name=f"/orct.none-{NUMBER}", made_by="m"), bench.run, folder=bench.folder
    )
    assert alarm_for(missing, "messages") is None
    nowhere = ObjectPlan("f", Family.FIFO, Kind.PIPE, name=str(bench.folder / "no" / "fifo"), made_by="m")
    assert alarm_for(announce_recorded(bench.ledger, nowhere, bench.run, folder=bench.folder), "exists") is None
