from __future__ import annotations

import os
from pathlib import Path

from orchestra.audit.liveness import live_runs
from orchestra.ledger.journal import Ledger
from orchestra.statedir import StateDir, take_lock
from tests.support.rows import run_row


def test_a_run_is_live_by_the_lock_of_its_instance_if_it_is_the_newest(tmp_path: Path) -> None:
    places = StateDir(tmp_path, tmp_path / "run")
    places.create()
    with Ledger.open(places.ledger) as ledger:
        old, new = run_row("r1"), run_row("r2")
        other = run_row("r3", instance="other")
        for run in (old, new, other):
            ledger.begin_run(run)
        fd = take_lock(places.lock("pipeline"))
        assert fd is not None
        try:
            is_live = live_runs(ledger, places)
            assert [is_live(run) for run in (old, new, other)] == [False, True, False]
            ledger.update_run("r2", state="down", finished=True)
            finished = ledger.run("r2")
            assert finished is not None
            assert not live_runs(ledger, places)(finished)
        finally:
            os.close(fd)
        assert not live_runs(ledger, places)(new)


def test_a_run_of_an_instance_that_was_never_locked_is_not_live(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "record.db") as ledger:
        ledger.begin_run(run_row())
        assert not live_runs(ledger, StateDir(tmp_path, tmp_path))(run_row())
