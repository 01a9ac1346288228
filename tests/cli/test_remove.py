"""remove: by hand, with holders shown, on record."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra.kernel.aside import move
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Handle, Kind, ObjectRef, Spec
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState
from tests.cli.conftest import Record
from tests.support.cli import child_environment, inside

Capture = pytest.CaptureFixture[str]


def made(name: str) -> str:
    """A segment that no ledger knows; return its address."""
    adapter_for(Family.POSIX, Kind.SEGMENT).create(Spec(Family.POSIX, Kind.SEGMENT, name=name, size=64))
    return f"posix-segment:{name}"


def is_there(address: str) -> bool:
    return os.path.exists(f"/dev/shm{address.partition(':')[2]}")


def test_without_a_terminal_it_needs_yes_and_each_removal_is_on_record(
    home: Path, capsys: Capture, ipc_name: Callable[[], str]
) -> None:
    address = made(ipc_name())
    refused = inside(capsys, "remove", address)
    assert (refused.code, is_there(address)) == (2, True)
    assert "1 object would be removed, and there is nobody to ask; nothing was removed" in refused.err
    done = inside(capsys, "remove", address, "--yes")
    assert (done.code, is_there(address)) == (0, False)
    assert done.out.splitlines()[1].split() == ["removed", address, "-"]
    with Ledger.open(home / "ledger.db") as ledger:
        (row,) = ledger.removals()
    assert (row.reference, row.command, row.verdict, row.outcome) == (address, "remove", "by hand", "removed")
    assert "a segment of 64 bytes" in row.evidence
    gone = inside(capsys, "remove", address, "--yes")
    assert (gone.code, gone.err.splitlines()[0]) == (4, f"error: there is no {address}; nothing was removed")


def test_one_that_is_missing_keeps_all(home: Path, capsys: Capture, ipc_name: Callable[[], str]) -> None:
    address = made(ipc_name())
    assert inside(capsys, "remove", address, "posix-queue:/orct.none", "--yes").code == 4
    assert is_there(address)
    assert inside(capsys, "remove", address, address, "--yes", "--format", "json").json["left"] == []


def test_a_name_that_is_not_utf_8_goes_and_is_on_record(
    home: Path, capsys: Capture, ipc_name: Callable[[], str]
) -> None:
    address = made(os.fsdecode(os.fsencode(ipc_name()) + b".\xff\xfe"))
    assert inside(capsys, "remove", address, "--yes").code == 0
    assert not is_there(address)
    with Ledger.open(home / "ledger.db") as ledger:
        (row,) = ledger.removals()
    assert row.reference.endswith(".\\udcff\\udcfe")


def test_what_an_interrupted_removal_left_gets_its_name_back(
    home: Path, capsys: Capture, ipc_name: Callable[[], str]
) -> None:
    address = made(ipc_name())
    path = f"/dev/shm{address.partition(':')[2]}"
    moved = move(path)
    assert moved is not None
    assert not is_there(address)
    done = inside(capsys, "remove", address, "--yes")
    assert done.code == 0
    assert done.err.splitlines()[0] == f"note: {path} has its name back: its removal was cut off"
    assert not os.path.exists(path)
    assert not os.path.exists(moved)


def test_what_is_held_stays_unless_forced(home: Path, capsys: Capture, ipc_name: Callable[[], str]) -> None:
    address = made(ipc_name())
    with open(f"/dev/shm{address.partition(':')[2]}", "rb"):
        held = inside(capsys, "remove", address, "--yes", "--format", "json")
        assert (held.code, held.json["removed"]) == (1, [])
        (left,) = held.json["left"]
        assert left["why"].startswith(f"held by {os.getpid()} (")
        assert left["why"].endswith("; --force removes it all the same")
        assert left["holders"][0]["pid"] == os.getpid()
        assert inside(capsys, "remove", address, "--yes", "--force").code == 0
    assert not is_there(address)


def test_on_a_terminal_it_shows_the_holders_and_asks(home: Path, ipc_name: Callable[[], str]) -> None:
    address = made(ipc_name())
    with open(f"/dev/shm{address.partition(':')[2]}", "rb"):
        assert "nothing was removed" in on_a_terminal(home, b"n\n", address)
        assert is_there(address)
        said = on_a_terminal(home, b"y\n", address)
        assert f"held by {os.getpid()} (" in said
        assert "Remove this object, in use as shown? [y/N] " in said
    assert not is_there(address)


def on_a_terminal(home: Path, answer: bytes, *words: str) -> str:
    keyboard, screen = pty.openpty()
    try:
        os.write(keyboard, answer)
        done = subprocess.run(
            [sys.executable, "-m", "orchestra", "remove", *words],
            stdin=screen, capture_output=True, text=True, env=child_environment(home), check=False, timeout=30,
        )  # fmt: skip
    finally:
        os.close(keyboard)
        os.close(screen)
    return done.stderr


def test_what_is_on_record_is_settled_there(record: Record, queue: tuple[Spec, Handle], capsys: Capture) -> None:
    run = record.run("r1", "pipeline")
    record.object(run, "jobs", queue[0], ObjectState.LIVE, queue[1])
    assert inside(capsys, "remove", "pipeline.jobs", "--yes").code == 0
    with Ledger.open(record.places.ledger) as ledger:
        assert [row.state for row in ledger.objects(run="r1")] == [ObjectState.REMOVED]
        assert ledger.removals() == []
    ref = ObjectRef(Family.SYSV, Kind.QUEUE, id=queue[1].identity.id)
    assert adapter_for(Family.SYSV, Kind.QUEUE).stat(ref) is None


def test_mistakes(home: Path, capsys: Capture) -> None:
    assert inside(capsys, "remove", "posix-queue:jobs", "--yes").err.startswith("error: `jobs` is no POSIX name\n")
    assert inside(capsys, "remove", "./lab.yaml", "--yes").err == (
        "error: `./lab.yaml` is a file, not an object\nhelp: What a file declares: orchestra clean -f FILE\n"
    )
    assert inside(capsys, "remove").code == 2
    assert inside(capsys, "remove", "jobs", "--yes").code == 4
