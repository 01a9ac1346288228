"""Rows of a run: written in batches, kept when the ledger refuses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from orchestra.errors import LedgerError
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.supervisor.books import Books
from orchestra.supervisor.states import End, Phase, Replica, Who

RUN = RunRow("r", "t", "test", "/f", "/", "starting", 1.0, "boot", 0)
A, B = Who("a", 1), Who("b", 2)


class Stubborn(Ledger):
    """A ledger that can be told to refuse."""

    refuses = False

    def record_processes(self, rows: Any) -> None:
        if self.refuses:
            raise LedgerError("the disk is full")
        super().record_processes(rows)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Stubborn]:
    with Stubborn.open(tmp_path / "ledger.db") as ledger:
        ledger.begin_run(RUN)
        yield cast("Stubborn", ledger)


def test_the_course_of_a_replica(ledger: Stubborn) -> None:
    books = Books(ledger, RUN, print)
    books.note(A, Replica())
    books.note(A, Replica(Phase.RUNNING, pid=os.getpid()))
    assert books.flush()
    (row,) = ledger.processes("r")
    assert (row.state, row.pid) == ("running", os.getpid())
    assert row.start_time is not None
    assert row.started_at is not None
    assert row.ended_at is None
    books.note(A, Replica(Phase.FAILED, pid=os.getpid(), end=End(None, "SIGSEGV"), reason="was ended by SIGSEGV"))
    books.flush()
    (row,) = ledger.processes("r")
    assert (row.state, row.exit_code, row.signal, row.reason) == ("failed", None, "SIGSEGV", "was ended by SIGSEGV")
    assert row.ended_at is not None
    assert row.started_at is not None
    assert row.ended_at >= row.started_at


def test_a_replica_that_came_later_stands_beside_its_siblings(ledger: Stubborn) -> None:
    books = Books(ledger, RUN, print)
    for who in (Who("b", 1), Who("b", 2), A, Who("b", 10), Who("b", 3)):
        books.note(who, Replica())
    assert [(row["name"], row["replica"]) for row in books.processes()] == [
        ("b", 1), ("b", 2), ("b", 3), ("b", 10), ("a", 1)
    ]  # fmt: skip


def test_what_never_ran_has_no_times(ledger: Stubborn) -> None:
    books = Books(ledger, RUN, print)
    books.note(B, Replica(Phase.SKIPPED, reason="a failed"))
    books.flush()
    (row,) = ledger.processes("r")
    assert (row.replica, row.state, row.started_at, row.ended_at) == (2, "skipped", None, None)


def test_the_run_itself_can_be_written_first(ledger: Stubborn) -> None:
    books = Books(ledger, RUN, print)
    books.note(A, Replica())
    books.change(state="up")
    assert books.flush(processes=False)
    found = ledger.run("r")
    assert found is not None
    assert found.state == books.run.state == "up"
    assert ledger.processes("r") == []
    assert books.flush()
    assert len(ledger.processes("r")) == 1


def test_a_ledger_that_refuses_is_told_once_and_tried_again(ledger: Stubborn) -> None:
    said: list[tuple[str, Any]] = []
    books = Books(ledger, RUN, lambda event, **fields: said.append((event, fields["reason"])))
    books.note(A, Replica(Phase.RUNNING, pid=os.getpid()))
    books.change(state="up")
    ledger.refuses = True
    assert not books.flush()
    assert not books.flush()
    assert said == [("ledger.unwritable", "the disk is full")]
    assert books.is_behind
    ledger.refuses = False
    assert books.flush()
    found = ledger.run("r")
    assert found is not None
    assert found.state == "up", "a transaction that failed took nothing with it"
    assert len(ledger.processes("r")) == 1
    books.change(state="stopping")
    ledger.refuses = True
    books.note(A, Replica())
    books.flush()
    assert len(said) == 2, "a new refusal is news again"


def test_the_answer_to_ps_has_every_key(ledger: Stubborn) -> None:
    books = Books(ledger, RUN, print)
    books.note(A, Replica())
    (row,) = books.processes()
    assert list(row) == [
        "name", "replica", "pid", "state", "exit_code", "signal", "restarts", "started_at", "ended_at", "reason",
    ]  # fmt: skip


def test_each_incarnation_has_its_own_times(ledger: Stubborn) -> None:
    books = Books(ledger, RUN, print)
    books.note(A, Replica())
    books.note(A, Replica(Phase.READY, pid=os.getpid()))
    books.note(A, Replica(Phase.BACKOFF, pid=os.getpid(), end=End(1, None), restarts=1))
    books.flush()
    (first,) = ledger.processes("r")
    assert (first.state, first.restarts) == ("backoff", 1)
    assert first.ended_at is not None
    books.note(A, Replica(Phase.STARTING, restarts=1))
    books.note(A, Replica(Phase.READY, pid=os.getppid(), restarts=1))
    books.flush()
    (second,) = ledger.processes("r")
    assert (second.pid, second.ended_at, second.exit_code) == (os.getppid(), None, None)
    assert second.start_time is not None
    assert second.started_at is not None
    assert first.started_at is not None
    assert second.started_at >= first.started_at


def test_a_replica_that_was_dropped_keeps_its_row_and_is_not_shown(ledger: Stubborn) -> None:
    books = Books(ledger, RUN, print)
    books.note(A, Replica(Phase.EXITED))
    books.note(B, Replica(Phase.EXITED))
    books.flush()
    books.drop(B)
    assert not books.is_behind
    books.note(A, Replica(Phase.FAILED))
    books.drop(A)
    books.drop(A)
    assert books.processes() == []
    assert books.flush()
    assert {(row.process, row.state) for row in ledger.processes("r")} == {("a", "failed"), ("b", "exited")}
