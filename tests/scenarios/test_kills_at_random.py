"""SIGKILL at moments nobody chose: during the start, while running, during the stop. Nothing of the run may live on."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestra.kernel import namespaces
from orchestra.kernel.procfs import children, command_of, environ_of, pids, start_time
from orchestra.kinds import Access, Family, Kind
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import OPEN_STATES
from orchestra.objects import boxes
from orchestra.runplan import ObjectPlan, ProcessPlan, Use
from orchestra.statedir import StateDir, take_lock
from orchestra.supervisor import aftermath
from tests.support.programs import TREE, WAITS
from tests.support.runs import Run, is_alive, process, start, until

MOMENTS = 6  # of each kind, drawn anew at every session
SPAN = 400  # milliseconds after the order was sent
OBJECTS = [
    ObjectPlan("jobs", Family.POSIX, Kind.QUEUE, max_messages=2, message_size=16),
    ObjectPlan("board", Family.POSIX, Kind.SEGMENT, size=4096),
    ObjectPlan("slots", Family.POSIX, Kind.SEMAPHORE, values=(1,)),
    ObjectPlan("table", Family.SYSV, Kind.SEGMENT, size=4096),
    ObjectPlan("feed", Family.ANONYMOUS, Kind.PIPE),
]


def plan() -> list[ProcessPlan]:
    uses = (Use("jobs", Access.READ), Use("board", Access.READ))
    return [
        process("tree", *TREE, grace=0.1),
        process("wired", WAITS, uses=uses, replicas=3),
        process("first", "true"),
        process("then", WAITS, after={"first": "completed"}),
        *[process(f"p{number}", WAITS, after={"wired": "started"}) for number in range(10)],
    ]


@pytest.fixture
def stranger() -> Iterator[Path]:
    """A segment of somebody else, named much like ours."""
    path = Path("/dev/shm/orct.t.board.stranger")
    path.write_bytes(b"not yours")
    yield path
    assert path.read_bytes() == b"not yours"
    path.unlink()


def watchers(run: Run) -> tuple[int | None, int | None]:
    """Pids of guardian and supervisor, as far as they exist."""
    guardian = run.channel.peer
    assert guardian is not None
    return guardian, next((pid for pid in children(guardian) if command_of(pid) != "orchestra-box"), None)


def kill(pid: int | None) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_supervisor(run: Run) -> None:
    kill(until(lambda: watchers(run)[1] or not is_alive(run.channel.peer or 0), what="a supervisor"))


def kill_guardian(run: Run) -> None:
    kill(watchers(run)[0])


def kill_both(run: Run) -> None:
    guardian, supervisor = watchers(run)
    assert guardian is not None
    os.kill(guardian, signal.SIGSTOP)
    kill(supervisor)
    os.kill(guardian, signal.SIGKILL)


def members(run: str, pause: select.poll) -> list[int]:
    """Living processes that carry the run; one between fork and exec may take a moment to show it."""
    return [pid for pid in pids() if (environ_of(pid) or {}).get("ORCHESTRA_RUN") == run and start_time(pid)]


@pytest.mark.parametrize("deed", [kill_supervisor, kill_guardian, kill_both])
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_nothing_survives(tmp_path: Path, stranger: Path, deed: Callable[[Run], None], moment: int) -> None:
    pause = select.poll()
    delay = random.randrange(SPAN)
    isolation = "private" if moment % 2 and not namespaces.can_isolate() else "host"
    run = start(tmp_path / "home", *plan(), objects=OBJECTS, isolation=isolation)
    try:
        pause.poll(delay)
        if moment % 3 == 2:
            run.stop("SIGTERM")
            pause.poll(delay % 20)
        deed(run)
        run.reap()
        places = StateDir(tmp_path / "home", tmp_path / "home" / "run")
        if not places.ledger.exists():
            return  # it died before it had begun
        lock = until(lambda: take_lock(places.lock("t")), what="the lock (nobody may hold it for long)")
        with Ledger.open(places.ledger) as ledger:
            for row in ledger.runs():
                if deed is not kill_both:
                    until(lambda row=row: not members(row.run, pause), what=f"the end of all members, {delay} ms")  # type: ignore[misc]
                aftermath.finish(ledger, row)
                assert members(row.run, pause) == [], f"after {delay} ms"
                left = [item for item in ledger.objects(run=row.run) if item.state in OPEN_STATES]
                assert left == [], f"after {delay} ms"
                assert aftermath.finish(ledger, row).complete
                until(lambda row=row: boxes.box_of(row) is None, what=f"the end of its namespace, {delay} ms")  # type: ignore[misc]
        os.close(lock)
    finally:
        run.finish()
