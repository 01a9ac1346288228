"""What private namespaces hold is looked at from inside (tests/scenarios/test_isolation.py has real ones)."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestra.audit import boxed
from orchestra.audit.classify import Classified, Verdict
from orchestra.audit.report import Finding
from orchestra.errors import PermissionRefused
from orchestra.kernel.host import boot_id
from orchestra.kinds import Family, Holders, Kind
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectRow, RunRow
from orchestra.objects import boxes

GONE = RunRow("r1", "t", "t", "/t.yaml", "/", "down", 0.0, boot_id(), 0, box_pid=2**22 - 1, box_start=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "ledger.db")


def test_a_box_that_has_ended_holds_nothing(ledger: Ledger) -> None:
    ledger.begin_run(GONE)
    assert boxed.look(ledger, lambda _run: False) == ([], ())


def test_runs_that_share_a_box_are_looked_at_in_one_visit(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    visits: list[str] = []

    def within(run: RunRow, _task: object) -> list[Finding]:
        visits.append(run.run)
        return []

    monkeypatch.setattr(boxes, "box_of", lambda run: boxes.Box(run.box_pid, run.box_start))
    monkeypatch.setattr(boxes, "within", within)
    for number, pid in enumerate((7, 7, 8, None)):
        ledger.begin_run(GONE._replace(run=f"r{number}", box_pid=pid))
    boxed.look(ledger, lambda _run: False)
    assert visits == ["r0", "r2"]
    boxed.look(ledger, lambda _run: False, run="r1")
    assert visits == ["r0", "r2", "r1"]


def test_a_box_that_cannot_be_entered_is_a_gap_and_one_that_ended_meanwhile_is_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def within(_run: RunRow, _task: object) -> list[Finding]:
        raise PermissionRefused("the namespaces cannot be entered", detail="open(…) -> EACCES")

    ledger.begin_run(GONE)
    alive = boxes.Box(7, 7)
    monkeypatch.setattr(boxes, "within", within)
    monkeypatch.setattr(boxes, "way_in", lambda _run: alive)
    expected = "the private namespace of t: the namespaces cannot be entered (open(…) -> EACCES)"
    assert boxed.look(ledger, lambda _run: False) == ([], (expected,))
    answers = iter([alive, None])
    monkeypatch.setattr(boxes, "way_in", lambda _run: next(answers))
    assert boxed.look(ledger, lambda _run: False) == ([], ())


def test_what_ended_with_its_box_at_this_moment_is_gone_and_no_error(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.begin_run(GONE)
    row = ObjectRow("r1", "t", "board", Family.POSIX, Kind.SEGMENT, 0o600, "n", 1, 1, 0, "", 1)
    finding = Finding(row, None, Holders(()), classified=Classified(Verdict.LEAKED, "made by r1"))
    assert boxed.remove(ledger, finding, lambda _ledger, _finding: None) == ""
    monkeypatch.setattr(boxes, "way_in", lambda _run: boxes.Box(2**22 - 1, 1))
    assert "cannot be entered" in (boxed.remove(ledger, finding, lambda _ledger, _finding: None) or "")
