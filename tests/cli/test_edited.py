"""A second up -d: what an edited file changes in an instance that lives, and what it never does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.cli import edited
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState
from orchestra.statedir import StateDir
from orchestra.views.ansi import PLAIN
from tests.support.cli import Answer, inside, orchestra
from tests.support.small_runs import LIVE, detached, wait_until_not_live

pytestmark = pytest.mark.slow


class Edited:
    """A live instance whose file is edited."""

    def __init__(self, home: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.file, self.capsys = home, file, capsys

    def edit(self, *changes: tuple[str, str]) -> None:
        text = LIVE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.file.write_text(text)

    def up(self, *words: str) -> Answer:
        return orchestra("up", "-d", str(self.file), *words, home=self.home)

    def ps(self) -> dict[str, int]:
        """The pids of those that live."""
        rows = inside(self.capsys, "ps", "demo", "--format", "json").json["processes"]
        return {f"{row['name']}.{row['replica']}": row["pid"] for row in rows if row["state"] == "running"}

    def objects(self) -> dict[str, list[ObjectState]]:
        places = StateDir(self.home, self.home / "run")
        found: dict[str, list[ObjectState]] = {}
        with Ledger.open(places.ledger) as ledger:
            for row in ledger.objects():
                found.setdefault(row.key, []).append(row.state)
        return found


@pytest.fixture
def live(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Edited]:
    with detached(home, tmp_path) as file:
        yield Edited(home, file, capsys)


def test_only_what_differs_restarts(live: Edited) -> None:
    first = live.ps()
    same = live.up()
    assert (same.code, same.out) == (0, "")
    assert "demo is up, and nothing differs from its file: run " in same.err
    live.edit(
        ("replicas: 2", "replicas: 3"),
        ('server: { command: [sleep, "1000"]', 'server: { stop: { grace: 1s }, command: [sleep, "1001"]'),
        ('spare: { command: [sleep, "1000"], autostart: false }', 'fresh: { command: [sleep, "1000"], uses: [locks] }'),
        ("queues:", "semaphores: { locks: { family: sysv, values: [1, 1] } }\nqueues:"),
    )
    shown = inside(live.capsys, "plan", str(live.file)).out
    assert orchestra("up", "--dry-run", str(live.file), home=live.home).out == shown
    assert live.ps() == first
    changed = live.up("--wait")
    assert changed.code == 0
    told = changed.err.partition("demo is up as edited: run ")[2].splitlines()
    changes = [line.split(maxsplit=2) for line in told[1:]]
    assert changes == [
        ["stop", "spare", "no longer in the file"],
        ["create", "locks"],
        ["restart", "server", "command"],
        ["scale", "worker", "from 2 to 3"],
        ["start", "fresh"],
    ]
    assert [line.split(maxsplit=2) for line in shown.partition("`up -d` would\n")[2].splitlines()[:5]] == changes
    after = live.ps()
    assert after.keys() == {"server.1", "worker.1", "worker.2", "worker.3", "fresh.1"}
    assert {name for name in first if name in after and first[name] == after[name]} == {"worker.1", "worker.2"}
    rows = inside(live.capsys, "ps", "demo", "--format", "json").json["processes"]
    assert [f"{row['name']}.{row['replica']}" for row in rows] == [
        "server.1", "worker.1", "worker.2", "worker.3", "once.1", "fresh.1",
    ]  # fmt: skip
    live.edit()
    back = live.up("--wait")
    assert back.code == 0
    assert live.ps().keys() == first.keys()
    assert live.objects()["locks"] == [ObjectState.REMOVED]
    plan = (live.home / "runs").glob("*/plan*")
    assert [path.name for path in plan] == ["plan.json"]


def test_another_shape_needs_a_word(live: Edited) -> None:
    first = live.ps()
    live.edit(("max_messages: 2", "max_messages: 3"))
    refused = live.up()
    assert (refused.code, refused.out) == (5, "")
    assert "detail: feed: max_messages is 2, declared 3" in refused.err
    assert "--recreate" in refused.err
    assert live.ps() == first
    assert live.objects()["feed"] == [ObjectState.LIVE]
    done = live.up("--recreate", "--wait")
    assert (done.code, "recreate  feed" in done.err) == (0, True)
    assert set(live.ps().values()).isdisjoint(first.values())
    assert live.objects() == {"jobs": [ObjectState.LIVE], "feed": [ObjectState.REMOVED, ObjectState.LIVE]}


def test_some_processes_alone_and_those_that_a_person_stopped(live: Edited) -> None:
    first = live.ps()
    inside(live.capsys, "stop", "demo.worker.2")
    live.edit(("jobs: { family: sysv }", "jobs: { family: sysv, capacity: 99 }"))
    assert live.up("spare").code == 0
    assert live.ps().keys() == first.keys() - {"worker.2"} | {"spare.1"}
    live.edit(('worker: { command: [sleep, "1000"]', 'worker: { command: [sleep, "1001"]'))
    assert live.up("--wait").code == 0
    assert live.ps().keys() == {"server.1", "worker.1", "spare.1"}  # it stays down until somebody starts it


def test_what_fails_after_the_change_is_said(live: Edited) -> None:
    live.edit(('worker: { command: [sleep, "1000"]', 'worker: { command: [sh, -c, "exit 4"], escalate: ignore'))
    answer = live.up("--wait")
    assert answer.code == 1
    assert "error: worker.1: exited with code 4" in answer.err


def test_who_may_not(live: Edited, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(LIVE)
    elsewhere = orchestra("up", "-d", str(other), home=live.home)
    assert (elsewhere.code, "demo is already up, from another file" in elsewhere.err) == (5, True)
    assert orchestra("up", str(live.file), home=live.home).code == 5
    live.edit(("name: demo", "name: demo\nisolation: private"))
    moved = live.up()
    assert moved.code in (1, 5), moved.err
    assert "isolation" in moved.err


@pytest.mark.parametrize("when", ["announced", "stopping"])
def test_a_supervisor_that_is_killed_in_the_middle_of_a_change(when: str, live: Edited) -> None:
    """What it was about to make or remove is on record: `down` leaves nothing."""
    live.edit(
        ("max_messages: 2", "max_messages: 3"),
        ("queues:", "segments: { board: { family: sysv, size: 4096, fill: zeros } }\nqueues:"),
    )
    pid = inside(live.capsys, "ls", "--format", "json").json["instances"][0]["pid"]
    if when == "stopping":  # its users never end: the change hangs where the old object still has to go
        for name, child in live.ps().items():
            assert child is not None
            if name.startswith("worker"):
                os.kill(child, signal.SIGSTOP)
    answer = live.up("--recreate")
    assert answer.code == 0
    os.kill(pid, signal.SIGKILL)
    wait_until_not_live(live.home)
    down = orchestra("down", "demo", home=live.home)
    assert down.code == 0, down.err
    settled = {state for states in live.objects().values() for state in states}
    assert settled <= {ObjectState.REMOVED, ObjectState.GONE, ObjectState.ABANDONED}
    assert orchestra("audit", home=live.home).code == 0


def test_lines_name_the_run_where_it_is_about_neither_object_nor_process() -> None:
    change = {"action": "later", "object": None, "process": None, "detail": "log: raw True; takes the next run"}
    assert edited.lines([change], PLAIN) == ["  later  the run  log: raw True; takes the next run"]
