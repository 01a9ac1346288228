"""audit: what is there, in three formats; leaks set the exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from orchestra.kernel.namespaces import make_private_ipc
from orchestra.kinds import Handle, Spec
from orchestra.ledger.rows import ObjectState
from tests.cli.conftest import Record
from tests.conformance.worlds import in_child
from tests.support.cli import Answer, inside, orchestra
from tests.support.shapes import KNOWN_HOLDERS, MAYBE_NUMBER, MAYBE_TEXT, NUMBER, TEXT, TIME, exactly

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
            instance=MAYBE_TEXT,
            run=MAYBE_TEXT,
            intended={"type": ["boolean", "null"]},
            holders=KNOWN_HOLDERS,
            evidence=TEXT,
            removable={"type": "boolean"},
            holders_complete={"type": "boolean"},
            danger=MAYBE_TEXT,
            rule=MAYBE_TEXT,
            group=MAYBE_TEXT,
            namespace=MAYBE_TEXT,
        ),
    },
    summary=exactly(**dict.fromkeys(VERDICTS, NUMBER)),
    gaps={"type": "array", "items": TEXT},
    notes={"type": "array", "items": TEXT},
)


@pytest.fixture
def one_leak(record: Record, queue: tuple[Spec, Handle], segment: tuple[Spec, Handle]) -> Record:
    """An ended run that left a queue against its will and a segment on purpose."""
    run = record.run("r1", "pipeline")
    record.object(run, "jobs", queue[0], ObjectState.LIVE, queue[1])
    record.object(run, "board", segment[0], ObjectState.KEPT, segment[1])
    return record


def recorded(answer: Answer) -> list[dict[str, Any]]:
    """The findings on our record: others may have objects on this host too."""
    return [finding for finding in answer.json["findings"] if finding["run"] is not None]


def test_leaks_are_exit_status_3(one_leak: Record, capsys: pytest.CaptureFixture[str]) -> None:
    answer = inside(capsys, "audit", "--format", "json")
    assert answer.code == 3
    jsonschema.validate(answer.json, AUDIT)
    assert (answer.json["summary"]["leaked"], answer.json["summary"]["kept"]) == (1, 1)
    assert [(f["verdict"], f["intended"]) for f in recorded(answer)] == [("leaked", False), ("kept", True)]
    keys = [tuple(map(finding.get, ("family", "kind", "name", "id"))) for finding in answer.json["findings"]]
    assert len(keys) == len(set(keys)), "nothing is judged twice"
    assert inside(capsys, "audit", "--format", "json", "--exit-zero").code == 0


def test_as_a_table_with_what_to_do(one_leak: Record, capsys: pytest.CaptureFixture[str]) -> None:
    answer = inside(capsys, "audit")
    rows = [line.split() for line in answer.out.splitlines()]
    assert rows[0][:4] == ["VERDICT", "OBJECT", "DECLARED", "RUN"]
    assert [row[0] for row in rows if "pipeline." in " ".join(row)] == ["leaked", "kept"], "what matters comes first"
    assert {row[0] for row in rows[1:]} <= {"leaked", "orphan", "kept", "live"}, "the rest is counted"
    assert answer.err.startswith("1 leaked, ")
    assert "help: `orchestra clean` removes what leaked\n" in answer.err


def test_junit_into_a_file(one_leak: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = inside(capsys, "audit", "--format", "junit", "-o", str(tmp_path / "audit.xml"))
    assert (answer.code, answer.out, answer.err) == (3, "", "")
    suite = ET.parse(tmp_path / "audit.xml").getroot()
    ours = [case for case in suite if (case.get("classname") or "").startswith("pipeline.")]
    assert (len(ours), suite.get("failures")) == (2, "1")


@pytest.mark.root
@pytest.mark.slow
def test_an_empty_host_and_one_full_of_others(home: Path) -> None:
    """What a person reads: words without an empty table; then what matters, the rest counted until asked for."""

    def scene() -> list[list[Any]]:
        make_private_ipc()
        answers = [orchestra("audit", home=home)]
        for number in range(300):
            Path(f"/dev/shm/other.{number}").write_bytes(b"x")
        Path("/dev/shm/libpod_lock").write_bytes(b"x")
        answers += [orchestra("audit", *options, home=home) for options in ((), ("--all",), ("--format", "json"))]
        return [[answer.code, answer.out, answer.err] for answer in answers]

    empty, brief, everything, as_json = in_child(scene)
    assert empty[:2] == [0, ""]
    assert empty[2].startswith("there are no IPC objects here\n")
    assert brief[:2] == [0, ""]
    assert "nothing leaked, nothing was kept\n" in brief[2]
    assert "also here: 300 unknown, 1 foreign; `orchestra audit --all` lists them\n" in brief[2]
    lines = everything[1].splitlines()
    assert lines[0].split() == ["VERDICT", "OBJECT", "OWNER", "SIZE", "HELD", "BY", "EVIDENCE"]
    assert [line.split()[0] for line in lines[1:]] == ["unknown"] * 300 + ["foreign"]
    assert "nobody holds it between two commands" in lines[-1]
    assert json.loads(as_json[1])["summary"]["unknown"] == 300


def test_what_could_not_be_seen_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gaps = inside(capsys, "audit", "--format", "json").json["gaps"]
    err = inside(capsys, "audit").err
    assert [line for line in err.splitlines() if line.startswith("not seen: ")] == [f"not seen: {gap}" for gap in gaps]
