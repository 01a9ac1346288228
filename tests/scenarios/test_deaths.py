"""SIGKILL of the supervisor, of the guardian, and of both, with descendants of every kind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from orchestra.kinds import Access, Family, Kind
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState
from orchestra.runplan import ObjectPlan, ProcessPlan, Use
from orchestra.statedir import is_locked, take_lock
from orchestra.supervisor import aftermath
from orchestra.supervisor.launch import start_guardian
from tests.support.programs import TREE, WAITS, pid_in
from tests.support.runs import Run, is_alive, process, running, until

SOON = 5.0  # seconds: well under one on an idle machine; a grace of a minute would show
BOARD = ObjectPlan("board", Family.POSIX, Kind.SEGMENT, size=4096)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "home"


def tree(run: Run) -> list[int]:
    """Pids of the whole tree, once it stands."""
    words = ("child", "grandchild", "daemon", "leader")
    return [pid_in(run.wait_line("tree", f"{word} ")) for word in words]


def plan() -> list[ProcessPlan]:
    return [process("tree", *TREE, grace=0.2, uses=(Use("board", Access.READ_WRITE),)), process("b", WAITS)]


def supervisor_of(run: Run) -> int:
    return int(run.control().state()["pid"])


def test_the_supervisor_is_killed(place: Path) -> None:
    with running(place, *plan(), objects=[BOARD]) as run:
        pids = [*tree(run.up()), run.ps()["b"]["pid"]]
        began = time.monotonic()
        os.kill(supervisor_of(run), signal.SIGKILL)
        ended = run.ended()
        assert time.monotonic() - began < SOON
        assert not any(is_alive(pid) for pid in pids)
        assert (ended["exit_code"], ended["state"]) == (1, "crashed")
        watched = [event for event in run.path() if not event.startswith(("process", "object"))]
        assert watched[:2] == ["run.started", "supervisor.died"]
        assert set(watched[2:-1]) == {"descendant.killed"}
        assert len(watched[2:-1]) >= len(pids)  # and whatever those had just started themselves
        assert watched[-1] == "run.ended"
        assert run.row().state == "crashed"
        assert {row.state for row in run.rows().values()} == {"failed"}
        assert not is_locked(run.places.lock("t"))
        tidy(run)


def test_the_guardian_is_killed(place: Path) -> None:
    with running(place, *plan(), objects=[BOARD]) as run:
        pids = [*tree(run.up()), run.ps()["b"]["pid"], supervisor_of(run)]
        os.kill(run.control().state()["guardian"], signal.SIGKILL)
        ended = run.ended()
        assert (ended["exit_code"], ended["state"]) == (1, "failed")
        until(lambda: not any(is_alive(pid) for pid in pids))
        assert "guardian.died" in run.path()
        assert "object.removed" in run.path()
        assert run.row().finished


def test_without_a_guardian_nobody_gets_a_long_grace(place: Path) -> None:
    """Should the supervisor die as well, nobody would be left to end them: there is less than a second."""
    stubborn = [plan()[0]._replace(grace=60.0), process("b", "trap '' TERM; echo ready; while :; do sleep 1; done")]
    with running(place, *stubborn, objects=[BOARD]) as run:
        pids = [*tree(run.up()), run.ps()["b"]["pid"], supervisor_of(run)]
        began = time.monotonic()
        os.kill(run.control().state()["guardian"], signal.SIGKILL)
        until(lambda: not any(is_alive(pid) for pid in pids))
        assert time.monotonic() - began < SOON
        assert (run.ended()["exit_code"], run.errors()) == (1, "")
        assert run.row().finished


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_to_a_guardian_that_has_no_plan_yet_is_obeyed_by_the_run(place: Path, name: str, code: int) -> None:
    channel = start_guardian()
    assert channel.peer is not None
    os.kill(channel.peer, getattr(signal, name))
    with running(place, process("a", WAITS), objects=[BOARD], channel=channel) as run:
        ended = run.ended()
        assert (ended["exit_code"], ended["stopped_by"]) == (code, name)
        assert not is_locked(run.places.lock("t"))
        assert run.row().finished


def test_both_are_killed_and_the_aftermath_ends_what_survived(place: Path) -> None:
    with running(place, *plan(), objects=[BOARD]) as run:
        pids = [*tree(run.up()), run.ps()["b"]["pid"]]
        state = run.control().state()
        os.kill(state["guardian"], signal.SIGSTOP)  # it must not get the chance to act
        os.kill(state["pid"], signal.SIGKILL)
        os.kill(state["guardian"], signal.SIGKILL)
        run.reap()
        assert all(is_alive(pid) for pid in pids)
        tidy(run)
        assert not any(is_alive(pid) for pid in pids)


def test_a_new_start_finishes_the_run_that_crashed(place: Path) -> None:
    with running(place, *plan(), objects=[BOARD]) as old:
        pids = [*tree(old.up()), old.ps()["b"]["pid"]]
        state = old.control().state()
        os.kill(state["guardian"], signal.SIGSTOP)
        os.kill(state["pid"], signal.SIGKILL)
        os.kill(state["guardian"], signal.SIGKILL)
        old.reap()
    with running(place, process("a", "true"), objects=[BOARD]) as new:
        assert new.ended()["exit_code"] == 0
        finished = next(m for m in new.events if m["event"] == "finished")
        assert finished["run"] == old.id
        # one may have ended by itself, once nobody read what it writes
        assert set(finished["survivors"]) <= set(pids)
        assert len(finished["survivors"]) >= len(pids) - 1
        assert finished["removed"] == 1
    assert not any(is_alive(pid) for pid in pids)
    assert old.row().finished
    assert old.row().state == "crashed"


def test_the_guardian_passes_a_signal_on(place: Path) -> None:
    with running(place, process("a", WAITS)) as run:
        run.up()
        os.kill(run.control().state()["guardian"], signal.SIGTERM)
        assert run.ended()["exit_code"] == 143


def test_a_signal_to_the_supervisor_stops_the_run(place: Path) -> None:
    with running(place, process("a", WAITS)) as run:
        os.kill(supervisor_of(run.up()), signal.SIGHUP)
        assert run.ended()["exit_code"] == 129


def tidy(run: Run) -> None:
    """Finish a crashed run as `down` does."""
    lock = take_lock(run.places.lock("t"))
    assert lock is not None
    with Ledger.open(run.places.ledger) as ledger:
        row = ledger.run(run.id)
        assert row is not None
        done = aftermath.finish(ledger, row)
        assert done.complete
        assert [item.state for item in ledger.objects(run=run.id)] == [ObjectState.REMOVED]
        again = ledger.run(run.id)
        assert again is not None
        assert again.finished
        assert again.state == "crashed"
    os.close(lock)
