"""audit: what is there, in three formats; leaks set the exit status."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from orchestra.kinds import Handle, Spec
from orchestra.ledger.rows import ObjectState
from tests.cli.conftest import Record
from tests.support.cli import inside
from tests.support.shapes import HOLDERS, MAYBE_NUMBER, MAYBE_TEXT, NUMBER, TEXT, TIME, exactly

VERDICTS = ("deleted", "live", "kept", "leaked", "foreign", "orphan", "unknown")
AUDIT = exactly(
    schema={"const": "orchestra/audit/1"},
    namespace=TEXT,
    findings={
        "type": "array",
        "items": exactly(
            family=TEXT,
            kind=TEXT,
            name=MAYBE_TEXT,
            key=MAYBE_TEXT,
            id=MAYBE_NUMBER,
            size=MAYBE_NUMBER,
            mode=TEXT,
            owner=TEXT,
            created_at=TIME,
            verdict={"enum": list(VERDICTS)},
            instance=TEXT,
            run=TEXT,
            intended={"type": "boolean"},
            holders=HOLDERS,
            evidence=TEXT,
            removable={"type": "boolean"},
        ),
    },
    summary=exactly(**dict.fromkeys(VERDICTS, NUMBER)),
)


@pytest.fixture
def one_leak(record: Record, queue: tuple[Spec, Handle], segment: tuple[Spec, Handle]) -> Record:
    """An ended run that left a queue against its will and a segment on purpose."""
    run = record.run("r1", "pipeline")
    record.object(run, "jobs", queue[0], ObjectState.LIVE, queue[1])
    record.object(run, "board", segment[0], ObjectState.KEPT, segment[1])
    return record


def test_leaks_are_exit_status_3(one_leak: Record, capsys: pytest.CaptureFixture[str]) -> None:
    answer = inside(capsys, "audit", "--format", "json")
    assert answer.code == 3
    jsonschema.validate(answer.json, AUDIT)
    assert (answer.json["summary"]["leaked"], answer.json["summary"]["kept"]) == (1, 1)
    assert [(f["verdict"], f["intended"]) for f in answer.json["findings"]] == [("leaked", False), ("kept", True)]
    assert inside(capsys, "audit", "--format", "json", "--exit-zero").code == 0


def test_as_a_table_with_what_to_do(one_leak: Record, capsys: pytest.CaptureFixture[str]) -> None:
    answer = inside(capsys, "audit")
    assert [line.split()[0] for line in answer.out.splitlines()] == ["VERDICT", "leaked", "kept"]
    assert "pipeline.jobs" in answer.out
    assert answer.err == "1 kept, 1 leaked\nhelp: `orchestra clean` removes what leaked\n"


def test_junit_into_a_file(one_leak: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = inside(capsys, "audit", "--format", "junit", "-o", str(tmp_path / "audit.xml"))
    assert (answer.code, answer.out, answer.err) == (3, "", "")
    suite = ET.parse(tmp_path / "audit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_nothing_left(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = inside(capsys, "audit")
    assert (answer.code, answer.err) == (0, "nothing that orchestra made is left\n")
    assert inside(capsys, "audit", "--format", "json").json["findings"] == []
