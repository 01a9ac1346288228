"""What there is to say about a run that has ended."""

from __future__ import annotations

from typing import Any

from orchestra.cli.ending import ending_of, exit_code_of
from orchestra.kinds import Handle, Spec
from orchestra.ledger.rows import ObjectState, ProcessRow
from orchestra.logs.encode import event_record
from orchestra.statedir import StateDir
from tests.cli.conftest import STARTED, Record

TOLD: dict[str, Any] = {"exit_code": 0, "state": "down", "failed": [], "stopped_by": None, "objects_left": []}


def test_a_good_end(record: Record) -> None:
    record.run("r1", "pipeline")
    ending = ending_of(record.places, "r1", TOLD, now=0)
    assert ending is not None
    assert (ending.state, ending.seconds, ending.failed, ending.stopped) == ("down", 2.0, [], [])


def test_lost_lines_are_counted(record: Record) -> None:
    record.run("r1", "pipeline")
    ending = ending_of(record.places, "r1", {**TOLD, "lines_lost": 12}, now=0)
    assert ending is not None
    assert ending.lines_lost == 12


def test_replicas_have_numbers_only_where_there_are_several(record: Record) -> None:
    run = record.run("r1", "pipeline", state="failed")
    record.processes(
        "r1",
        ProcessRow("", "worker", 1, "exited"),
        ProcessRow("", "worker", 2, "failed", reason="exited with code 3"),
        ProcessRow("", "alone", 1, "skipped", reason="worker failed"),
    )
    with open(run.log, "wb") as log:
        for number in (1, 1):  # the stop signal, then SIGKILL
            log.write(
                event_record(
                    "process.killed", run="r1", process="worker", replica=number, pid=7, who="worker.1", reason="x"
                )
            )
    told = {**TOLD, "state": "failed", "failed": [{"process": "worker", "replica": 2, "reason": "one\ntwo"}]}
    ending = ending_of(record.places, "r1", told, now=0)
    assert ending is not None
    assert ending.failed == [("worker.2", "one")]
    assert ending.skipped == [("alone", "worker failed")]
    assert ending.stopped == ["worker.1"]


def test_what_was_declared_nowhere_is_a_failure_of_nobody(record: Record) -> None:
    record.run("r1", "pipeline", state="failed")
    left = {"process": "", "replica": 0, "reason": "sysv-segment:7 was left and is declared nowhere: made by process 4"}
    ending = ending_of(record.places, "r1", {**TOLD, "state": "failed", "failed": [left]}, now=0)
    assert ending is not None
    assert ending.failed == []
    assert ending.undeclared == [left["reason"]]


def test_without_last_words_the_ledger_has_to_do(
    record: Record, queue: tuple[Spec, Handle], segment: tuple[Spec, Handle]
) -> None:
    run = record.run("r1", "pipeline", state="up", ended_at=None)
    record.object(run, "jobs", queue[0], ObjectState.LIVE, queue[1])
    record.object(run, "board", segment[0], ObjectState.KEPT, segment[1])
    (record.places.run_folder("r1") / "stderr.txt").write_text("Traceback …")
    ending = ending_of(record.places, "r1", None, now=STARTED + 5)
    assert ending is not None
    assert (ending.state, ending.seconds) == ("crashed", 5.0)
    assert [key for key, _ in ending.left] == ["jobs"]
    assert [key for key, _ in ending.kept] == ["board"]
    assert ending.diagnosis.endswith("stderr.txt")


def test_a_run_that_is_not_on_record_or_a_ledger_beyond_reading(record: Record) -> None:
    assert ending_of(record.places, "r9", None, now=0) is None
    record.ledger.close()
    for path in record.places.home.glob("ledger.db*"):
        path.write_bytes(b"no database" * 100)
    assert ending_of(record.places, "r1", None, now=0) is None


def test_the_exit_code_of_one_process(record: Record) -> None:
    record.run("r1", "pipeline")
    record.processes(
        "r1",
        ProcessRow("", "good", 1, "exited", exit_code=0),
        ProcessRow("", "mixed", 1, "exited", exit_code=0),
        ProcessRow("", "mixed", 2, "failed", exit_code=7),
        ProcessRow("", "killed", 1, "failed", signal="SIGKILL"),
        ProcessRow("", "never", 1, "skipped"),
    )
    found = {name: exit_code_of(record.places, "r1", name) for name in ("good", "mixed", "killed", "never", "nobody")}
    assert found == {"good": 0, "mixed": 7, "killed": 137, "never": None, "nobody": None}
    elsewhere = StateDir(record.places.home / "runs", record.places.runtime)
    elsewhere.ledger.write_bytes(b"no ledger at all" * 64)
    assert exit_code_of(elsewhere, "r1", "good") is None
