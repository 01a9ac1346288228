from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestra.audit.report import Report
from orchestra.audit.scan import scan
from orchestra.kernel.host import boot_id
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, ObjectRef
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.objects import LiveObject, remove_recorded, reuse_or_create
from orchestra.runplan import ObjectPlan
from tests.support.rows import run_row


@dataclass
class Desk:
    """A ledger, a folder, and short words for what the tests do."""

    ledger: Ledger
    folder: Path
    live: set[str]

    def run(self, run: str = "r1", **changes: object) -> RunRow:
        row = run_row(run, **{"instance": "orct", "boot_id": boot_id(), "uid": os.getuid(), **changes})
        self.ledger.begin_run(row)
        return row

    def make(self, plan: ObjectPlan, run: RunRow) -> LiveObject:
        return reuse_or_create(self.ledger, plan, run, folder=self.folder)

    def report(self, run: str | None = None) -> Report:
        return scan(self.ledger, lambda row: row.run in self.live, run=run)

    def verdicts(self) -> dict[str, str]:
        return {each.row.key: each.verdict.value for each in self.report().findings if each.row is not None}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        yield Desk(ledger, tmp_path, set())
        for row in ledger.objects():
            remove_recorded(ledger, row)
            if row.family is Family.POSIX:  # what a test left unproven on purpose
                for name in filter(None, (row.name, row.shape.get("name"))):
                    adapter_for(row.family, row.kind).remove(ObjectRef(row.family, row.kind, name=name))


@contextmanager
def open_elsewhere(path: str) -> Iterator[int]:
    """Have another process hold a file open; yields its pid."""
    program = "import sys; f = open(sys.argv[1], 'rb+', 0); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield child.pid
        finally:
            child.communicate("")


@pytest.fixture
def hold():  # type: ignore[no-untyped-def]
    """The context manager above, for tests."""
    return open_elsewhere
