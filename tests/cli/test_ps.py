"""ps: of an ended run, of a crashed one, of one whose supervisor does not answer."""

from __future__ import annotations

import os
from collections.abc import Callable

import jsonschema
import pytest

from orchestra.kernel.procfs import start_time
from orchestra.ledger.rows import ProcessRow
from tests.cli.conftest import STARTED, Record
from tests.support.cli import inside
from tests.support.shapes import MAYBE_NUMBER, MAYBE_TEXT, NUMBER, TEXT, TIME, exactly

PS = exactly(
    schema={"const": "orchestra/ps/1"},
    instance=TEXT,
    run=TEXT,
    state={"enum": ["starting", "up", "stopping", "down", "failed", "crashed"]},
    processes={
        "type": "array",
        "items": exactly(
            name=TEXT,
            replica=NUMBER,
            pid=MAYBE_NUMBER,
            state={
                "enum": [
                    "pending", "starting", "ready", "running", "backoff", "stopping", "exited", "failed", "skipped",
                ]
            },
            exit_code=MAYBE_NUMBER,
            signal=MAYBE_TEXT,
            restarts=NUMBER,
            started_at=TIME,
            ended_at=TIME,
            reason=MAYBE_TEXT,
        ),
    },
)  # fmt: skip

TWO = (
    ProcessRow("", "reader", 1, "exited", pid=11, exit_code=0, started_at=STARTED + 0.25, ended_at=STARTED + 1),
    ProcessRow("", "worker", 1, "failed", pid=12, signal="SIGSEGV", started_at=STARTED + 0.25),
)


def test_ps_of_an_ended_run_is_what_the_ledger_heard_last(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    record.run("r1", "pipeline", state="failed", exit_code=1)
    record.processes("r1", *TWO)
    answer = inside(capsys, "ps", "pipeline", "--format", "json")
    assert (answer.code, answer.err) == (0, "")
    jsonschema.validate(answer.json, PS)
    assert answer.json["state"] == "failed"
    assert [(p["name"], p["exit_code"], p["signal"]) for p in answer.json["processes"]] == [
        ("reader", 0, None),
        ("worker", None, "SIGSEGV"),
    ]
    assert answer.json["processes"][0]["started_at"] == "2026-09-21T14:13:20.500000Z"


def test_ps_as_a_table(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    record.run("r1", "pipeline", state="failed")
    record.processes("r1", *TWO)
    lines = inside(capsys, "ps", "pipeline").out.splitlines()
    assert lines[0].split() == ["PROCESS", "REPLICA", "PID", "STATE", "EXIT", "RESTARTS", "STARTED", "ENDED"]
    assert lines[1].split()[:6] == ["reader", "1", "11", "exited", "0", "0"]
    assert lines[2].split()[:6] == ["worker", "1", "12", "failed", "SIGSEGV", "0"]


def test_a_run_that_nobody_supervises_has_crashed_and_only_survivors_run(
    record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    record.run("r1", "pipeline", state="up", ended_at=None, exit_code=None, finished=False)
    me = os.getpid()
    record.processes(
        "r1",
        ProcessRow("", "gone", 1, "running", pid=me, start_time=1),
        ProcessRow("", "survivor", 1, "running", pid=me, start_time=start_time(me)),
    )
    answer = inside(capsys, "ps", "--format", "json", "pipeline").json
    assert answer["state"] == "crashed"
    assert [(p["name"], p["state"]) for p in answer["processes"]] == [("gone", "failed"), ("survivor", "running")]


def test_ps_asks_the_ledger_when_the_supervisor_does_not_answer(
    record: Record, hold_lock: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    record.run("r1", "pipeline", state="starting", ended_at=None, exit_code=None, finished=False)
    record.processes("r1", ProcessRow("", "reader", 1, "pending"))
    hold_lock("pipeline")
    answer = inside(capsys, "ps", "--format", "json")  # the only live one is meant
    assert answer.json["state"] == "starting"
    assert answer.json["processes"][0]["state"] == "pending"
