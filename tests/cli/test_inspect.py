"""inspect: declared objects, and any other by its address."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestra.kinds import Family, Handle, Kind, Spec
from orchestra.ledger.rows import ObjectState, ProcessRow
from tests.cli.conftest import Record
from tests.support.cli import inside


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
