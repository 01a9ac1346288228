"""ls: the newest run of each instance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from orchestra.kinds import Handle, Spec
from orchestra.ledger.rows import ObjectState, ProcessRow
from tests.cli.conftest import Record
from tests.support.cli import inside
from tests.support.shapes import MAYBE_NUMBER, NUMBER, TEXT, TIME, exactly

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


def test_an_empty_list_says_so_in_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = inside(capsys, "ls")
    assert answer.out.startswith("INSTANCE")
    assert answer.err == "nothing has been started yet\nhelp: orchestra up FILE\n"
