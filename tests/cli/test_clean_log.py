"""What `clean` and `down` do to objects is in the log of the run that had made them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestra.kinds import Handle, Spec
from orchestra.ledger.rows import ObjectState
from tests.cli.conftest import Record
from tests.support.cli import orchestra

pytestmark = pytest.mark.slow


def events(record: Record, run: str) -> list[tuple[str, str, str | None]]:
    lines = [json.loads(line) for line in record.places.log(run).read_text().splitlines()]
    return [(line["logger"], line["event"], line.get("object")) for line in lines]


@pytest.mark.parametrize(
    ("command", "logger"), [(("clean", "--yes"), "orchestra.clean"), (("down", "pipeline"), "orchestra.down")]
)
def test_a_removal_is_in_the_log_of_its_run(
    home: Path, record: Record, queue: tuple[Spec, Handle], command: tuple[str, ...], logger: str
) -> None:
    run = record.run("r1", "pipeline", finished=False, state="crashed")
    record.object(run, "jobs", queue[0], ObjectState.LIVE, queue[1])
    record.places.log("r1").touch()
    answer = orchestra(*command, home=home)
    assert answer.code == 0, answer.err
    assert events(record, "r1") == [(logger, "object.removed", "jobs")]
