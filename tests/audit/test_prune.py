"""Which runs may be forgotten, and that nothing but them goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestra.audit import prune as module
from orchestra.audit.prune import Chosen, Selection, choose, open_objects, prune, size_of
from orchestra.errors import LedgerError
from orchestra.kinds import Family, Kind
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState, RunRow
from tests.support.rows import object_row, process_row, run_row

NOW = 10_000.0


def ended(run: str, instance: str = "a", **changes: Any) -> RunRow:
    values: dict[str, Any] = {"state": "down", "finished": True, "ended_at": 2000.0, "instance": instance}
    return run_row(run, **{**values, **changes})


def chosen(
    rows: list[RunRow], live: tuple[str, ...] = (), objects: Mapping[str, int] | None = None, **selection: Any
) -> tuple[list[str], dict[str, str]]:
    counts = objects or {}
    found = choose(
        rows,
        Selection(**selection),
        is_live=lambda row: row.run in live,
        open_objects=lambda row: counts.get(row.run, 0),
        now=NOW,
    )
    return [row.run for row in found.remove], {each.row.run: each.why for each in found.left}


ROWS = [ended("a1"), ended("b1", "b"), ended("a2"), ended("a3", ended_at=9_000.0), ended("b2", "b")]


def test_the_newest_of_each_instance_stays() -> None:
    assert chosen(ROWS) == (["a1", "b1", "a2"], {})
    assert chosen(ROWS, keep=2) == (["a1"], {})
    assert chosen(ROWS, keep=0) == (["a1", "b1", "a2", "a3", "b2"], {})


def test_age_and_instance_narrow_it() -> None:
    assert chosen(ROWS, keep=0, older_than=5000.0) == (["a1", "b1", "a2", "b2"], {})
    assert chosen(ROWS, keep=0, instances=("b",)) == (["b1", "b2"], {})
    assert chosen(ROWS, older_than=8000.0) == ([], {}), "exactly so old is not older"


def test_a_live_run_is_not_even_spoken_of() -> None:
    assert chosen([ended("a1", finished=False)], live=("a1",), keep=0) == ([], {})


def test_what_is_not_over_stays_and_says_why() -> None:
    crashed = ended("a1", state="up", finished=False, ended_at=None)
    assert chosen([crashed], keep=0) == ([], {"a1": "it was not torn down: orchestra down a"})
    assert chosen([crashed], keep=0, older_than=9_500.0) == ([], {}), "it counts from its start"


def test_a_run_with_objects_on_record_stays() -> None:
    removed, left = chosen(ROWS, objects={"a1": 1, "a2": 2})
    assert removed == ["b1"]
    assert left == {
        "a1": "1 object is on record: orchestra audit, orchestra clean",
        "a2": "2 objects are on record: orchestra audit, orchestra clean",
    }


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def folder(runs: Path, run: str, size: int = 10) -> Path:
    made = runs / run / "raw"
    made.mkdir(parents=True)
    (made.parent / "log.jsonl").write_bytes(bytes(size))
    (made / "worker.1.stdout").write_bytes(bytes(5))
    return made.parent


def test_only_objects_that_may_be_there_count(ledger: Ledger, runs: Path) -> None:
    for row in (ended("a1"), ended("a2"), ended("a3")):
        ledger.begin_run(row)
    for state in ObjectState:
        number = ledger.intend(object_row(run="a1", key=state.value))
        ledger.settle(number, state)
    # A FIFO that a1 had kept in its folder, and that a3 took over.
    ledger.intend(object_row(Family.FIFO, Kind.PIPE, run="a3", key="feed", name=str(runs / "a2" / "feed")))
    count = open_objects(ledger, lambda run: runs / run)
    assert [count(row) for row in ledger.runs()] == [3, 1, 1], "intended, live, kept; in its folder; its own"


def test_folder_and_rows_go_and_nothing_else(ledger: Ledger, runs: Path) -> None:
    for row in (ended("a1"), ended("a2")):
        ledger.begin_run(row)
        ledger.record_processes([process_row(run=row.run)])
        ledger.settle(ledger.intend(object_row(run=row.run)), ObjectState.REMOVED)
        folder(runs, row.run)
    elsewhere = runs.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    os.symlink(elsewhere, runs / "a1" / "link")
    measured = prune(ledger, Chosen((ended("a1"),)), lambda run: runs / run, dry_run=True)
    assert (measured.size, (runs / "a1").exists()) == (15, True)
    done = prune(ledger, Chosen((ended("a1"),)), lambda run: runs / run)
    assert [(row.run, size) for row, size in done.removed] == [("a1", measured.size)]
    assert (done.left, done.exit_code) == ((), 0)
    assert sorted(os.listdir(runs)) == ["a2"]
    assert (elsewhere / "precious").exists(), "links are not followed"
    assert [row.run for row in ledger.runs()] == ["a2"]
    assert (ledger.processes("a1"), ledger.objects(run="a1")) == ([], [])
    assert (len(ledger.processes("a2")), len(ledger.objects(run="a2"))) == (1, 1)


def test_what_was_interrupted_is_finished(ledger: Ledger, runs: Path) -> None:
    ledger.begin_run(ended("a1"))
    done = prune(ledger, Chosen((ended("a1"),)), lambda run: runs / run)
    assert ([size for _, size in done.removed], ledger.runs()) == ([0], [])


def test_what_cannot_be_removed_stays_on_record(ledger: Ledger, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.begin_run(ended("a1"))
    made = folder(runs, "a1")

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refused)
    assert module.shutil is shutil  # type: ignore[attr-defined]
    done = prune(ledger, Chosen((ended("a1"),)), lambda run: runs / run)
    assert (done.removed, done.exit_code) == ((), 1)
    assert done.left[0].why == f"{made}: Permission denied (EACCES)"
    assert len(ledger.runs()) == 1


def test_the_ledger_does_not_forget_what_may_still_be_there(ledger: Ledger) -> None:
    ledger.begin_run(ended("a1"))
    ledger.intend(object_row(run="a1"))
    with pytest.raises(LedgerError, match="may still exist"):
        ledger.forget_run("a1")
    assert (len(ledger.runs()), len(ledger.objects(run="a1"))) == (1, 1)


def test_a_folder_that_is_not_there_has_no_size(tmp_path: Path) -> None:
    assert size_of(tmp_path / "nothing") == 0
