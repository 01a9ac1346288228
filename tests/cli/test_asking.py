"""Questions, records where there were none, and the objects of a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestra.cli.asking import agreed, declared_in, on_record
from orchestra.cli.state import open_state
from orchestra.errors import TopologyError, UsageError
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Kind, ObjectRef, Spec
from tests.support.cli import inside

FILE = """
version: 1
name: lab
segments:
  board: {{family: sysv, size: 64, key: {key}}}
queues:
  jobs: {{family: posix}}
processes:
  worker: {{command: ["true"], uses: [board, jobs]}}
"""


@pytest.fixture
def key() -> int:
    return 0x0C7A0000 | int.from_bytes(os.urandom(2), "little")


@pytest.fixture
def lab(tmp_path: Path, key: int) -> Path:
    file = tmp_path / "lab.yaml"
    file.write_text(FILE.format(key=f"{key:#010x}"))
    return file


def test_nobody_to_ask_is_an_error_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        with pytest.raises(UsageError, match="2 objects would be removed, and there is nobody to ask"):
            agreed("Remove?", "list", what="2 objects")


def test_a_first_removal_goes_on_record_too(home: Path) -> None:
    with open_state() as state, on_record(state) as ledger:
        assert ledger.path == home / "ledger.db"
        assert ledger.path.exists()
    with open_state() as state, on_record(state) as ledger:
        assert ledger is state.ledger


def test_objects_of_a_file_that_somebody_else_started(
    home: Path, lab: Path, key: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Made by a process that has ended: an orphan that the file calls its own, so it may go."""
    child = os.fork()
    if child == 0:
        adapter_for(Family.SYSV, Kind.SEGMENT).create(Spec(Family.SYSV, Kind.SEGMENT, key=key, size=64))
        os._exit(0)
    os.waitpid(child, 0)
    ref = ObjectRef(Family.SYSV, Kind.SEGMENT, key=key)
    try:
        found = inside(capsys, "audit", "-f", str(lab), "--format", "json")
        assert [(each["key"], each["verdict"]) for each in found.json["findings"]] == [(f"{key:#010x}", "orphan")]
        assert "note: jobs: no `name` or `key` in the file" in found.err
        listed = inside(capsys, "clean", "-f", str(lab), "--dry-run", "--format", "json")
        assert [each["key"] for each in listed.json["removed"]] == [f"{key:#010x}"]
        assert adapter_for(Family.SYSV, Kind.SEGMENT).stat(ref) is not None
        assert inside(capsys, "clean", "-f", str(lab), "--kind", "queue", "--yes").err.endswith("nothing to clean\n")
        done = inside(capsys, "clean", "-f", str(lab), "--yes")
        assert (done.code, done.out.splitlines()[1].split()[:2]) == (0, ["removed", "orphan"])
        assert adapter_for(Family.SYSV, Kind.SEGMENT).stat(ref) is None
    finally:
        adapter_for(Family.SYSV, Kind.SEGMENT).remove(ref)


def test_what_somebody_of_the_file_uses_stays(
    home: Path, lab: Path, key: int, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter_for(Family.SYSV, Kind.SEGMENT).create(Spec(Family.SYSV, Kind.SEGMENT, key=key, size=64))
    try:
        assert inside(capsys, "clean", "-f", str(lab), "--yes").err.endswith("nothing to clean\n")
        (found,) = inside(capsys, "audit", "-f", str(lab), "--format", "json").json["findings"]
        assert found["verdict"] == "foreign", "its maker, this process, lives"
    finally:
        adapter_for(Family.SYSV, Kind.SEGMENT).remove(ObjectRef(Family.SYSV, Kind.SEGMENT, key=key))


def test_a_file_that_is_wrong_is_said_to_be(home: Path, tmp_path: Path) -> None:
    with open_state() as state:
        with pytest.raises(UsageError):
            declared_in(str(tmp_path / "none.yaml"), state)
        (tmp_path / "bad.yaml").write_text("version: 1\nname: lab\nqueue: {}\n")
        with pytest.raises(TopologyError):
            declared_in(str(tmp_path / "bad.yaml"), state)
