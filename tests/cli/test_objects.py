"""objects: what is on record and what is there."""

from __future__ import annotations

from collections.abc import Callable

import jsonschema
import pytest

from orchestra.kinds import Family, Handle, Kind, Spec
from orchestra.ledger.rows import ObjectState
from tests.cli.conftest import Record
from tests.support.cli import inside
from tests.support.shapes import HOLDERS, MAYBE_NUMBER, MAYBE_TEXT, TEXT, exactly

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
