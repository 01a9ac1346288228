"""A private run has its own names, keys and limits; what it keeps lives in its box."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.kernel import namespaces
from orchestra.kernel.host import ipc_namespace_of
from orchestra.kernel.process import is_running
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState, RunRow
from tests.support.runs import until

ORCHESTRA = (sys.executable, "-m", "orchestra")
FILE = """
version: 1
name: same
isolation: private
queues:
  jobs: { name: /orct.iso-jobs, max_messages: 40, message_size: 16 }
  results: { family: sysv, key: 0x4f524301, capacity: 32KiB }
segments:
  board: { name: /orct.iso-board, size: 4KiB, on_down: keep }
  table: { family: sysv, key: 0x4f524302, size: 4KiB }
semaphores:
  slots: { name: /orct.iso-slots, value: 1 }
processes:
  look:
    command: [sh, -c, "ls /dev/shm; cat /proc/sysvipc/shm /proc/sys/fs/mqueue/msg_max; grep Uid: /proc/$$/status"]
    uses: [jobs, results, board, table, slots]
"""
HOLD = FILE.replace("name: same", "name: hold") + "  wait: { command: [sleep, infinity], service: false }\n"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose boxes are ended afterwards."""
    if why := namespaces.can_isolate():
        pytest.skip(why)
    home = tmp_path / "home"
    yield home
    if home.exists():
        for name in ("same", "hold", "one", "two"):
            orchestra(home, "down", name, "--timeout", "0")
        with Ledger.open(home / "ledger.db", create=False) as ledger:
            for run in ledger.runs():
                end_box(run)


def end_box(run: RunRow) -> None:
    if run.box_pid is not None and is_running(run.box_pid, run.box_start):
        with contextlib.suppress(ProcessLookupError):
            os.kill(run.box_pid, 9)


def orchestra(home: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "ORCHESTRA_HOME": os.fspath(home), **changes}
    return subprocess.run([*ORCHESTRA, *words], env=env, capture_output=True, text=True, timeout=60)


def write(folder: Path, text: str) -> Path:
    path = folder / "orchestra.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def runs(home: Path) -> list[RunRow]:
    with Ledger.open(home / "ledger.db", create=False) as ledger:
        return ledger.runs()


def test_a_private_run_sees_its_own_objects_only(home: Path, tmp_path: Path) -> None:
    done = orchestra(home, "up", os.fspath(write(tmp_path, FILE)))
    assert done.returncode == 0, done.stderr
    lines = [line.partition("│ ")[2] for line in done.stdout.splitlines()]
    assert lines[:2] == ["orct.iso-board", "sem.orct.iso-slots"]
    assert sum(line.lstrip().startswith("1330791170 ") for line in lines) == 1, "the key 0x4f524302"
    assert lines.index("40") > 2, "fs.mqueue.msg_max was raised"
    assert any(line.split() == ["Uid:", *[str(os.getuid())] * 4] for line in lines)
    assert not Path("/dev/shm/orct.iso-board").exists()


def test_what_a_private_run_keeps_is_used_again_and_its_box_ends_with_it(home: Path, tmp_path: Path) -> None:
    path = os.fspath(write(tmp_path, FILE))
    assert orchestra(home, "up", path).returncode == 0
    again = orchestra(home, "up", path)
    assert "reused posix segment board" in again.stderr
    first, second = runs(home)
    assert (first.box_pid, first.box_start) == (second.box_pid, second.box_start)
    assert second.box_pid is not None
    assert is_running(second.box_pid, second.box_start)
    seen = orchestra(home, "objects", "same")
    assert "kept" in next(line for line in seen.stdout.splitlines() if line.startswith("board"))
    audited = orchestra(home, "audit")
    assert "kept" in next(line for line in audited.stdout.splitlines() if "iso-board" in line)
    inspected = orchestra(home, "inspect", "same.board")
    assert inspected.returncode == 0, inspected.stderr
    cleaned = orchestra(home, "clean", "--kept", "--yes")
    assert cleaned.returncode == 0, cleaned.stderr
    assert not is_running(second.box_pid, second.box_start)


def test_an_object_in_a_box_is_removed_by_hand_and_the_box_ends_with_the_last(home: Path, tmp_path: Path) -> None:
    orchestra(home, "up", os.fspath(write(tmp_path, FILE)))
    (run,) = runs(home)
    removed = orchestra(home, "remove", "same.board", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert "posix-segment:/orct.iso-board" in removed.stdout
    assert not is_running(run.box_pid or 0, run.box_start)
    again = orchestra(home, "remove", "same.board", "--yes")
    assert (again.returncode, again.stderr.splitlines()[0]) == (
        4, "error: same.board ended with the private namespace of same; nothing was removed"
    )  # fmt: skip


def test_a_killed_private_run_leaves_nothing_untraceable(home: Path, tmp_path: Path) -> None:
    path = os.fspath(write(tmp_path, HOLD))
    assert orchestra(home, "up", "-d", path).returncode == 0
    (run,) = runs(home)
    assert run.guardian_pid is not None
    assert run.supervisor_pid is not None
    for pid in (run.guardian_pid, run.supervisor_pid):
        os.kill(pid, 9)
    assert "leaked" in orchestra(home, "audit").stdout
    down = orchestra(home, "down", "hold")
    assert down.returncode == 0, down.stderr
    assert run.box_pid is not None
    assert is_running(run.box_pid, run.box_start), "board is kept"
    assert orchestra(home, "clean", "--kept", "--yes").returncode == 0
    assert not is_running(run.box_pid, run.box_start)


def test_when_the_box_is_gone_its_objects_are_too(home: Path, tmp_path: Path) -> None:
    path = os.fspath(write(tmp_path, FILE))
    orchestra(home, "up", path)
    (run,) = runs(home)
    end_box(run)
    audited = orchestra(home, "audit")
    assert "iso-board" not in audited.stdout
    assert orchestra(home, "up", path).returncode == 0


def test_two_copies_with_the_same_names_run_side_by_side(home: Path, tmp_path: Path) -> None:
    path = os.fspath(write(tmp_path, HOLD))
    started = [orchestra(home, "up", "-d", "-n", name, path) for name in ("one", "two")]
    assert [done.returncode for done in started] == [0, 0], started
    for name in ("one", "two"):
        table = orchestra(home, "objects", name).stdout
        assert table.count("/orct.iso-") == 3
        assert table.count(" live ") == 5
    again = (*ORCHESTRA, "audit", "--all")
    inside = orchestra(home, "exec", "one.wait", "--", "env", f"ORCHESTRA_HOME={home}", *again).stdout
    assert inside.count("\nlive ") == 10
    assert inside.count("sysv-") == 4, "what is on record is not found a second time"
    everywhere = json.loads(orchestra(home, "audit", "--all-namespaces", "--format", "json").stdout)["findings"]
    boxes = {f"ipc:[{ipc_namespace_of(run.box_pid or 0)}]" for run in runs(home)}
    assert not [each for each in everywhere if each["namespace"] in boxes and each["run"] is None]
    shell = orchestra(home, "exec", "one.look", "--", "ls", "/dev/shm")
    assert shell.stdout.split() == ["orct.iso-board", "sem.orct.iso-slots"], shell.stderr
    assert [orchestra(home, "down", name).returncode for name in ("one", "two")] == [0, 0]


def crash_scene(home: Path, tmp_path: Path) -> RunRow:
    """A live private run that keeps nothing."""
    text = HOLD.replace(", on_down: keep", "")
    assert orchestra(home, "up", "-d", os.fspath(write(tmp_path, text))).returncode == 0
    (run,) = runs(home)
    return run


def has_ended(pid: int | None, start: int | None) -> bool:
    assert pid is not None
    return bool(until(lambda: not is_running(pid, start), what="the end of a process"))


def test_a_run_whose_guardian_is_killed_ends_its_box_itself(home: Path, tmp_path: Path) -> None:
    run = crash_scene(home, tmp_path)
    assert run.guardian_pid is not None
    os.kill(run.guardian_pid, 9)
    until(lambda: runs(home)[0].finished, what="the end of the run")
    assert has_ended(run.box_pid, run.box_start)


def test_a_killed_box_hides_nothing_of_a_run_that_lives(home: Path, tmp_path: Path) -> None:
    assert orchestra(home, "up", "-d", os.fspath(write(tmp_path, HOLD))).returncode == 0
    (run,) = runs(home)
    end_box(run)
    assert orchestra(home, "objects", "hold").stdout.count(" live ") == 5
    assert "live" in next(line for line in orchestra(home, "audit", "--all").stdout.splitlines() if "iso-board" in line)
    shell = orchestra(home, "exec", "hold.wait", "--", "ls", "/dev/shm")
    assert shell.stdout.split() == ["orct.iso-board", "sem.orct.iso-slots"], shell.stderr
    assert orchestra(home, "down", "hold").returncode == 0
    with Ledger.open(home / "ledger.db") as ledger:
        states = {row.key: row.state.value for row in ledger.objects(run=run.run)}
    assert states == {"jobs": "removed", "results": "removed", "board": "gone", "table": "removed", "slots": "removed"}


def test_a_box_that_is_left_over_is_named_and_ended(home: Path, tmp_path: Path) -> None:
    """As after a `clean` that was killed between the last object and the box."""
    assert orchestra(home, "up", os.fspath(write(tmp_path, FILE))).returncode == 0
    (run,) = runs(home)
    assert orchestra(home, "audit").returncode == 0
    with Ledger.open(home / "ledger.db") as ledger:
        (kept,) = [row for row in ledger.objects(run=run.run) if row.key == "board"]
        ledger.settle(kept.recorded, ObjectState.REMOVED, "by somebody who was killed then")
    assert f"process {run.box_pid} (orchestra-box)" in orchestra(home, "audit").stderr
    assert orchestra(home, "clean", "--yes").returncode == 0
    assert has_ended(run.box_pid, run.box_start)
    assert "orchestra-box" not in orchestra(home, "audit").stderr


def test_limits_are_raised_in_a_box_that_exists(home: Path, tmp_path: Path) -> None:
    """For an edited file, and for the next run in the box of what was kept."""

    def limits(maximum: int) -> list[str]:
        shell = orchestra(home, "exec", "hold.wait", "--", "cat", "/proc/sys/fs/mqueue/msg_max", "/proc/sys/kernel/sem")
        assert orchestra(home, "objects", "hold").stdout.count(" live ") == 5, shell.stderr
        found = shell.stdout.split()
        assert found[0] == str(maximum), "never lowered"
        return found[1:]

    path = write(tmp_path, HOLD)
    assert orchestra(home, "up", "-d", os.fspath(path)).returncode == 0
    before = limits(40)
    for maximum in (60, 20):
        write(tmp_path, HOLD.replace("max_messages: 40", f"max_messages: {maximum}"))
        edited = orchestra(home, "up", "-d", "--recreate", os.fspath(path))
        assert edited.returncode == 0, edited.stderr
        assert limits(60) == before
    assert orchestra(home, "down", "hold").returncode == 0
    write(tmp_path, HOLD.replace("max_messages: 40", "max_messages: 80"))
    again = orchestra(home, "up", "-d", os.fspath(path))
    assert again.returncode == 0, again.stderr
    assert limits(80) == before
