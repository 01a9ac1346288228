"""A ledger with two runs on record, as if a supervisor had written it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestra.kernel.host import boot_id, ipc_namespace
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Handle, Kind, OnDown, Spec
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectRow, ObjectState, ProcessRow, RunRow
from orchestra.statedir import StateDir, take_lock
from tests.support.cli import Answer, inside

STARTED = 1_790_000_000.25


@dataclass
class Record:
    """A state directory in which tests put down what they need."""

    places: StateDir
    ledger: Ledger

    def run(self, run: str, instance: str, **changes: object) -> RunRow:
        """Put down one run; ended well unless `changes` say otherwise."""
        row = RunRow(
            run=run, instance=instance, topology=instance, file=f"/srv/{instance}.yaml", folder="/srv", state="down",
            started_at=STARTED, ended_at=STARTED + 2, exit_code=0, boot_id=boot_id(), uid=os.getuid(), finished=True,
            log=str(self.places.log(run)), socket=str(self.places.socket(instance)),
        )  # fmt: skip
        row = row._replace(**changes)  # type: ignore[arg-type]
        self.ledger.begin_run(row)
        self.places.run_folder(run).mkdir()
        return row

    def processes(self, run: str, *rows: ProcessRow) -> None:
        """Put down processes."""
        self.ledger.record_processes([row._replace(run=run) for row in rows])

    def object(self, run: RunRow, key: str, spec: Spec, state: ObjectState, handle: Handle | None = None) -> ObjectRow:
        """Put down one object; with a handle, as one that was really made."""
        row = ObjectRow(
            run=run.run, instance=run.instance, key=key, family=spec.family, kind=spec.kind, mode=spec.mode,
            nonce="nonce", creator_pid=1, creator_start=1, uid=os.getuid(), boot_id=boot_id(), ipc_ns=ipc_namespace(),
            name=spec.name, ipc_key=spec.key, on_down=OnDown.REMOVE, created_at=STARTED,
        )  # fmt: skip
        number = self.ledger.intend(row)
        if handle is not None:
            self.ledger.confirm(number, handle)
        if state not in (ObjectState.INTENDED, ObjectState.LIVE):
            self.ledger.settle(number, state, "the test says so")
        found = self.ledger.object(number)
        assert found is not None
        return found


@pytest.fixture
def record(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Record]:
    """Give an empty state directory; the current folder has no orchestra.yaml."""
    monkeypatch.chdir(tmp_path)
    places = StateDir(home, home / "run")
    places.create()
    with Ledger.open(places.ledger) as ledger:
        yield Record(places, ledger)


@pytest.fixture
def queue(ipc_name: Callable[[], str]) -> Iterator[tuple[Spec, Handle]]:
    """Make a real System V queue; gone after the test."""
    spec = Spec(Family.SYSV, Kind.QUEUE, key=0x4F524300 + secrets.randbelow(1 << 20), mode=0o640)
    adapter = adapter_for(Family.SYSV, Kind.QUEUE)
    handle = adapter.create(spec)
    try:
        yield spec, handle
    finally:
        adapter.remove(handle.ref)


@pytest.fixture
def segment(ipc_name: Callable[[], str]) -> Iterator[tuple[Spec, Handle]]:
    """Make a real POSIX segment; gone after the test."""
    spec = Spec(Family.POSIX, Kind.SEGMENT, name=ipc_name(), size=4096)
    adapter = adapter_for(Family.POSIX, Kind.SEGMENT)
    handle = adapter.create(spec)
    try:
        yield spec, handle
    finally:
        adapter.remove(handle.ref)


@pytest.fixture
def hold_lock(record: Record) -> Iterator[Callable[[str], None]]:
    """Hold an instance's lock, as its supervisor does."""
    held: list[int] = []

    def hold(instance: str) -> None:
        fd = take_lock(record.places.lock(instance))
        assert fd is not None
        held.append(fd)

    yield hold
    for fd in held:
        os.close(fd)


GOOD = """\
version: 1
name: pipeline
variables: { rate: 100 }
queues:
  jobs: { max_messages: 8, message_size: 256 }
semaphores:
  locks: { family: sysv, values: [1, 0] }
segments:
  table: { family: sysv, size: 1KiB, on_down: keep }
processes:
  first: { command: ["true", "${rate}"], uses: { jobs: write, table: read } }
  second: { command: ["true"], uses: { jobs: read, locks: read-write }, depends_on: { first: completed } }
  server: { command: [sleep, "9"], service: true }
"""

BAD = """\
version: 1
queues: { jobs: { famly: posix } }
processes:
  a: { command: [nonesuch-program] }
  b: { command: ["true"], uses: [job] }
"""


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Give a function that runs a command beside good.yaml and bad.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)

    def command(*words: str) -> Answer:
        answer = inside(capsys, *words)
        assert not home.exists()
        return answer

    return command
