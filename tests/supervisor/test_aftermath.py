"""Finishing a run whose supervisor is gone: who counts as a survivor, and who never does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.errors import KernelError
from orchestra.kernel.host import boot_id
from orchestra.kernel.procfs import start_time
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ProcessRow, RunRow
from orchestra.objects import boxes
from orchestra.supervisor import aftermath
from tests.support.runs import is_alive

RUN = f"crashed-{os.getpid()}"  # another test session on this host must not take our processes for its own
DEAF = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"


class Scene:
    """A crashed run in a ledger, and processes that may or may not be its survivors."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger.open(folder / "ledger.db")
        self.run = RunRow(RUN, "t", "test", "/f", "/", "up", time.time(), boot_id(), 0, log=str(folder / "log.jsonl"))
        self.ledger.begin_run(self.run)
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *, run: str | None = None, deaf: bool = False) -> subprocess.Popen[bytes]:
        env = {key: value for key, value in os.environ.items() if key != "ORCHESTRA_RUN"}
        if run is not None:
            env["ORCHESTRA_RUN"] = run
        command = [sys.executable, "-c", DEAF] if deaf else ["sleep", "1000"]
        made = subprocess.Popen(command, env=env, stdout=subprocess.PIPE)
        self.started.append(made)
        if deaf:
            assert made.stdout is not None
            made.stdout.read(1)
        return made

    def record(self, pid: int, started: int | None, state: str = "running") -> None:
        self.ledger.record_processes([ProcessRow(RUN, f"p{pid}", 1, state, pid, started)])

    def finish(self) -> aftermath.Finished:
        return aftermath.finish(self.ledger, self.run)

    def close(self) -> None:
        for made in self.started:
            made.kill()
            made.wait()
            assert made.stdout is not None
            made.stdout.close()
        self.ledger.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def test_a_process_on_record_is_ended(scene: Scene) -> None:
    survivor = scene.start()
    scene.record(survivor.pid, start_time(survivor.pid))
    done = scene.finish()
    assert (done.survivors, done.stuck, done.complete) == ([survivor.pid], [], True)
    assert survivor.wait() == -15


def test_a_number_that_went_to_somebody_else_is_not(scene: Scene) -> None:
    stranger = scene.start()
    started = start_time(stranger.pid)
    assert started is not None
    scene.record(stranger.pid, started - 1)
    scene.record(stranger.pid, None)
    assert scene.finish().survivors == []
    assert is_alive(stranger.pid)


def test_a_process_that_carries_the_run_is_ended_and_one_of_another_run_is_not(scene: Scene) -> None:
    survivor, other = scene.start(run=RUN), scene.start(run=f"{RUN}-2")
    assert scene.finish().survivors == [survivor.pid]
    assert is_alive(other.pid)


def test_one_that_ignores_sigterm_is_killed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aftermath, "GRACE", 0.05)
    survivor = scene.start(run=RUN, deaf=True)
    assert scene.finish().survivors == [survivor.pid]
    assert survivor.wait() == -9


def test_whoever_calls_is_not_its_own_victim(scene: Scene) -> None:
    """`orchestra down` typed in a shell that the run itself started. (Its parent's other children would be ended.)"""
    scene.record(os.getpid(), start_time(os.getpid()))
    assert scene.finish().survivors == []


def test_a_run_from_before_a_restart_has_no_survivors(scene: Scene) -> None:
    process = scene.start(run=RUN)
    scene.ledger.update_run(RUN, boot_id="another")
    scene.run = scene.ledger.run(RUN) or scene.run
    assert scene.finish().survivors == []
    assert is_alive(process.pid)


def test_the_record_says_how_it_ended(scene: Scene) -> None:
    scene.record(2**22 + 1, 5, state="running")
    scene.record(2**22 + 2, 5, state="exited")
    scene.finish()
    found = scene.ledger.run(RUN)
    assert found is not None
    assert (found.state, found.exit_code, found.finished) == ("crashed", 1, True)
    assert found.ended_at is not None
    rows = scene.ledger.processes(RUN)
    assert [(row.state, row.reason) for row in rows] == [("failed", "its supervisor was killed"), ("exited", "")]


def test_a_run_that_had_ended_keeps_its_word(scene: Scene) -> None:
    scene.ledger.update_run(RUN, state="down", ended_at=5.0, exit_code=0)
    scene.run = scene.ledger.run(RUN) or scene.run
    scene.finish()
    found = scene.ledger.run(RUN)
    assert found is not None
    assert (found.state, found.exit_code, found.ended_at, found.finished) == ("down", 0, 5.0, True)


def test_sockets_that_nobody_listens_to_are_removed(scene: Scene, tmp_path: Path) -> None:
    control = tmp_path / "run" / "t.sock"
    control.parent.mkdir()
    stale = [control, tmp_path / "notify.web.1.abc"]
    for path in stale:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            made.bind(os.fspath(path))
    (tmp_path / "notify.txt").write_text("no socket")
    scene.run = scene.run._replace(socket=os.fspath(control))
    assert scene.finish().complete
    assert not any(path.exists() for path in stale)
    assert (tmp_path / "notify.txt").exists()


def test_a_box_that_ends_while_it_is_looked_into_is_one_that_has_ended(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor was killed right after it had ended the box, which takes a moment to go."""
    seen = iter([boxes.Box(7, 7)])

    def within(_run: RunRow, _task: object) -> None:
        raise KernelError("the private namespace of t has ended")

    monkeypatch.setattr(boxes, "box_of", lambda _run: next(seen, None))
    monkeypatch.setattr(boxes, "within", within)
    scene.ledger.update_run(RUN, box_pid=7, box_start=7)
    scene.run = scene.run._replace(box_pid=7, box_start=7)
    assert scene.finish().complete


def test_a_box_that_lives_and_cannot_be_entered_is_an_error(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def within(_run: RunRow, _task: object) -> None:
        raise KernelError("the namespaces cannot be entered")

    monkeypatch.setattr(boxes, "box_of", lambda run: boxes.Box(7, 7) if run.box_pid else None)
    monkeypatch.setattr(boxes, "within", within)
    scene.run = scene.run._replace(box_pid=7, box_start=7)
    with pytest.raises(KernelError, match="cannot be entered"):
        scene.finish()
