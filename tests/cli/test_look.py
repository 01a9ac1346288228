"""ps, objects, ls, inspect: what is on record and what is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestra.kernel.procfs import start_time
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Handle, Kind, Spec
from orchestra.ledger.rows import ObjectState, ProcessRow
from tests.cli.conftest import STARTED, Record
from tests.support.cli import inside

TEXT = {"type": "string"}
MAYBE_TEXT = {"type": ["string", "null"]}
NUMBER = {"type": "integer"}
MAYBE_NUMBER = {"type": ["integer", "null"]}
TIME = {"type": ["string", "null"], "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}


def exactly(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


HOLDERS = {"type": "array", "items": exactly(pid=NUMBER, command=TEXT, how=TEXT)}
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
        ),
    },
)  # fmt: skip
OBJECTS = exactly(
    schema={"const": "orchestra/objects/1"},
    instance=TEXT,
    run=TEXT,
    objects={
        "type": "array",
        "items": exactly(
            key=TEXT,
            family=TEXT,
            kind=TEXT,
            name=MAYBE_TEXT,
            id=MAYBE_NUMBER,
            ipc_key=MAYBE_TEXT,
            size=MAYBE_NUMBER,
            mode=TEXT,
            state=TEXT,
            on_down={"enum": ["remove", "keep", "keep-on-failure"]},
            holders=HOLDERS,
            holders_complete={"type": "boolean"},
        ),
    },
)
LS = exactly(
    schema={"const": "orchestra/ls/1"},
    instances={
        "type": "array",
        "items": exactly(
            instance=TEXT,
            run=TEXT,
            topology=TEXT,
            state=TEXT,
            pid=MAYBE_NUMBER,
            started_at=TIME,
            ended_at=TIME,
            processes=NUMBER,
            objects=NUMBER,
        ),
    },
)

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


def test_objects_of_a_run_are_looked_at(
    record: Record,
    queue: tuple[Spec, Handle],
    segment: tuple[Spec, Handle],
    ipc_name: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = record.run("r1", "pipeline", state="up", ended_at=None)
    record.object(run, "jobs", queue[0], ObjectState.LIVE, queue[1])
    record.object(run, "board", segment[0], ObjectState.KEPT, segment[1])
    record.object(run, "early", Spec(Family.POSIX, Kind.SEMAPHORE, name=ipc_name()), ObjectState.REMOVED)
    answer = inside(capsys, "objects", "pipeline", "--format", "json")
    assert (answer.code, answer.err) == (0, "")
    jsonschema.validate(answer.json, OBJECTS)
    jobs, board, early = answer.json["objects"]
    assert (jobs["id"], jobs["state"], jobs["mode"], jobs["name"]) == (queue[1].ref.id, "live", "0o640", None)
    assert jobs["ipc_key"] == f"{queue[0].key:#010x}"
    assert (board["name"], board["state"], board["size"]) == (segment[0].name, "kept", 4096)
    assert (early["state"], early["holders"]) == ("removed", [])


def test_an_object_that_somebody_removed_is_gone(
    record: Record, queue: tuple[Spec, Handle], capsys: pytest.CaptureFixture[str]
) -> None:
    run = record.run("r1", "pipeline")
    record.object(run, "jobs", queue[0], ObjectState.LIVE, queue[1])
    adapter_for(Family.SYSV, Kind.QUEUE).remove(queue[1].ref)
    lines = inside(capsys, "objects", "pipeline").out.splitlines()
    assert "gone" in lines[1].split()


def test_ls_lists_the_newest_run_of_each_instance(
    record: Record, queue: tuple[Spec, Handle], hold_lock: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    record.run("r1", "pipeline", state="failed")
    kept = record.run("r2", "ring")
    record.object(kept, "jobs", queue[0], ObjectState.KEPT, queue[1])
    record.run("r3", "pipeline", state="up", ended_at=None, supervisor_pid=4711)
    record.processes("r3", ProcessRow("", "reader", 1, "running", pid=11), ProcessRow("", "worker", 1, "exited"))
    hold_lock("pipeline")
    answer = inside(capsys, "ls", "--format", "json")
    jsonschema.validate(answer.json, LS)
    shown = [
        (i["instance"], i["run"], i["state"], i["pid"], i["processes"], i["objects"]) for i in answer.json["instances"]
    ]
    assert shown == [("pipeline", "r3", "up", 4711, 1, 0), ("ring", "r2", "down", None, 0, 1)]
    assert inside(capsys, "ls").out.splitlines()[1].split()[:4] == ["pipeline", "up", "r3", "pipeline"]


def test_ls_where_nothing_was_started_is_an_empty_list(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inside(capsys, "ls", "--format", "json").json == {"schema": "orchestra/ls/1", "instances": []}
    assert inside(capsys, "ls").code == 0
    assert not home.exists()  # looking makes nothing


def test_inspect_shows_every_field_with_its_c_name(
    record: Record, queue: tuple[Spec, Handle], capsys: pytest.CaptureFixture[str]
) -> None:
    run = record.run("r1", "pipeline")
    record.object(run, "jobs", queue[0], ObjectState.KEPT, queue[1])
    for word in ("pipeline.jobs", f"sysv-queue:{queue[1].ref.id}", f"sysv-queue:{queue[0].key:#x}"):
        found = inside(capsys, "inspect", word, "--format", "json").json
        assert found["schema"] == "orchestra/inspect/1"
        assert found["id"] == queue[1].ref.id
        assert found["mode"] == "0o640"
        assert {"msg_perm.uid", "msg_qnum", "msg_qbytes", "msg_lspid"} <= set(found["fields"])
    assert inside(capsys, "inspect", "pipeline.jobs", "--format", "json").json["key"] == "jobs"
    text = inside(capsys, "inspect", "pipeline.jobs").out
    assert "jobs of pipeline, run r1" in text
    assert "msg_qbytes" in text


@pytest.mark.parametrize(
    ("word", "code", "problem"),
    [
        ("sysv-queue:2147483647", 4, "there is no sysv-queue:2147483647"),
        ("posix-segment:/orct.none.at.all", 4, "there is no posix-segment:/orct.none.at.all"),
        ("posix-segment:none", 2, "`none` is no POSIX name"),
        ("pipeline.reader", 2, "`pipeline.reader` is a process, not an object"),
        ("pipeline", 2, "`pipeline` is an instance, not an object"),
        ("./orchestra.yaml", 2, "is a file, not an object"),
        ("pipeline.nothing", 4, "has no process or object `nothing`"),
    ],
)
def test_inspect_of_what_is_no_object(
    word: str, code: int, problem: str, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    record.run("r1", "pipeline")
    record.processes("r1", ProcessRow("", "reader", 1, "exited"))
    answer = inside(capsys, "inspect", word)
    assert (answer.code, answer.out) == (code, "")
    assert problem in answer.err


def test_inspect_of_a_removed_object_says_so(
    record: Record, ipc_name: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = record.run("r1", "pipeline")
    record.object(run, "board", Spec(Family.POSIX, Kind.SEGMENT, name=ipc_name()), ObjectState.REMOVED)
    found = inside(capsys, "inspect", "pipeline.board", "--format", "json")
    assert (found.code, found.json["state"], found.json["fields"]) == (0, "removed", {})
