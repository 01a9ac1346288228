"""down: of a live instance, of an ended one, after a crash."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import orchestra.cli.down as down_module
from orchestra import statedir
from orchestra.cli.state import State
from orchestra.ledger.journal import Ledger
from orchestra.statedir import StateDir
from orchestra.supervisor.control import ControlClient
from tests.support.cli import orchestra
from tests.support.small_runs import (
    QUEUE,
    USER,
    finish,
    started,
    topology,
    wait_for_line,
    wait_until_not_live,
)

pytestmark = pytest.mark.slow


def test_detached_it_returns_and_down_ends_it(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, USER, QUEUE)
    up = orchestra("up", "-d", home=home, cwd=tmp_path)
    try:
        assert (up.code, up.out) == (0, "")
        assert up.err.startswith("demo is up: run ")
        assert "orchestra down demo" in up.err
        listed = orchestra("ls", "--format", "json", home=home).json["instances"][0]
        assert (listed["state"], listed["processes"], listed["objects"]) == ("up", 1, 1)
        shown = orchestra("ps", "--format", "json", home=home).json
        assert shown["state"] == "up"
        assert [(p["name"], p["state"]) for p in shown["processes"]] == [("sleeper", "running")]
        again = orchestra("up", home=home, cwd=tmp_path)
        assert (again.code, again.out) == (5, "")
        assert "demo is already up" in again.err
    finally:
        down = orchestra("down", home=home, cwd=tmp_path)
    assert (down.code, down.out) == (0, "")
    assert "demo is down: 1 object removed" in down.err
    again = orchestra("down", "demo", home=home)
    assert (again.code, again.err) == (0, "demo was down already\n")


def test_a_run_that_starts_at_this_moment_is_the_one_that_is_stopped(home: Path, tmp_path: Path) -> None:
    """`down` looked at a crashed run; before it has the lock, an `up` has finished that one and started its own."""
    topology(tmp_path, USER, QUEUE)
    orchestra("up", "-d", home=home, cwd=tmp_path)
    crashed = orchestra("ps", "--format", "json", home=home).json["run"]
    kill_watchers(home)
    with looking(home) as state:
        chosen = state.choose("demo")
        assert (chosen.row.run, chosen.live) == (crashed, False)
        orchestra("up", "-d", home=home, cwd=tmp_path)
        live = orchestra("ps", "--format", "json", home=home).json["run"]
        done = down_module._end(state, chosen, leak=False, timeout=None)
        assert done.runs == [live]
        states = {row.run: (row.state, row.finished) for row in state.ledger.runs()}
        assert states == {crashed: ("crashed", True), live: ("down", True)}


def test_a_run_that_ends_well_at_this_moment_has_not_crashed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`down` saw it live; before it has the lock, the run has come to its own end."""
    topology(tmp_path, "  brief: {command: [sh, -c, 'echo here; read x < gate']}\n", QUEUE)
    os.mkfifo(tmp_path / "gate")
    with started(home, "up", cwd=tmp_path) as child, ExitStack() as stack:
        wait_for_line(child, "here")
        state = stack.enter_context(looking(home))
        chosen = state.choose("demo")
        take = statedir.take_lock

        def take_late(path: Path) -> int | None:
            if child.poll() is None:
                (tmp_path / "gate").write_text("\n")
                finish(child)
            return take(path)

        monkeypatch.setattr(down_module, "take_lock", take_late)
        done = down_module._end(state, chosen._replace(live=False), leak=False, timeout=None)
        assert done.runs == []
        row = state.ledger.newest_run("demo")
        assert row is not None
        assert (row.state, row.exit_code) == ("down", 0)


def kill_watchers(home: Path) -> None:
    """SIGKILL guardian and supervisor of the only instance; return when its lock is free."""
    pid = orchestra("ls", "--format", "json", home=home).json["instances"][0]["pid"]
    guardian = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guardian, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)
    wait_until_not_live(home)


@contextmanager
def looking(home: Path) -> Iterator[State]:
    """The state as a command of ours sees it, inside this process. Whatever runs at the end is stopped."""
    places = StateDir(home, home / "run")
    try:
        with Ledger.open(places.ledger, create=False) as ledger:
            yield State(places, ledger)
    finally:
        orchestra("down", "demo", home=home)


def test_after_a_crash_down_finishes_and_audit_tells(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, USER, QUEUE)
    orchestra("up", "-d", home=home, cwd=tmp_path)
    run = orchestra("ps", "--format", "json", home=home).json["run"]
    pid = orchestra("ls", "--format", "json", home=home).json["instances"][0]["pid"]
    gone = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([gone], [], [], 10)
    os.close(gone)
    crashed = wait_until_not_live(home)
    assert crashed["state"] == "crashed"
    audit = orchestra("audit", "--format", "junit", "-o", str(tmp_path / "audit.xml"), home=home)
    assert (audit.code, audit.out) == (3, "")
    assert run in (tmp_path / "audit.xml").read_text()
    assert orchestra("audit", "--exit-zero", home=home).code == 0
    down = orchestra("down", "demo", home=home)
    assert (down.code, "1 object removed" in down.err) == (0, True)
    assert orchestra("audit", home=home).code == 0


def test_a_run_that_is_not_on_record_yet_is_waited_for(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who starts an instance has its lock before anything is written down."""
    places = StateDir(home, home / "run")
    places.create()
    lock = statedir.take_lock(places.lock("demo"))
    assert lock is not None
    topology(tmp_path, USER, QUEUE)
    codes: list[int] = []
    looked = statedir.is_locked

    def look(path: Path) -> bool:
        found = looked(path)
        if found and not codes:  # it was seen to be held, and nothing was on record
            codes.append(0)
            os.close(lock)
            codes.append(orchestra("up", "-d", home=home, cwd=tmp_path).code)
        return found

    monkeypatch.setattr(down_module, "is_locked", look)
    assert inside_down("demo") == 0
    assert codes == [0, 0]


def inside_down(instance: str) -> int:
    from orchestra.cli.app import main

    return main(["down", instance])


def test_what_could_not_be_ended_is_listed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topology(tmp_path, USER, QUEUE)
    orchestra("up", "-d", home=home, cwd=tmp_path)
    stop = ControlClient.stop

    def with_a_survivor(self: ControlClient, **options: Any) -> dict[str, Any]:
        return {**stop(self, **options), "processes_left": [{"pid": 4711, "command": "stuck"}]}

    monkeypatch.setattr(ControlClient, "stop", with_a_survivor)
    assert inside_down("demo") == 1
    assert "Could not be ended: 4711" in capsys.readouterr().err
