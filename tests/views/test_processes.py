from __future__ import annotations

from orchestra.ledger.rows import ProcessRow
from orchestra.views import processes

ROW = ProcessRow("r1", "worker", 2, "running", pid=7, restarts=1, started_at=1_790_000_000.0, reason="x")


def test_the_answer_has_just_the_documented_keys() -> None:
    (content,) = processes.answer([processes.row_content(ROW)])
    assert tuple(content) == processes.KEYS
    assert content["name"] == "worker"
    assert content["started_at"] == "2026-09-21T14:13:20.000000Z"
    assert content["ended_at"] is None


def test_keys_of_a_newer_supervisor_are_left_out_and_missing_ones_are_null() -> None:
    (content,) = processes.answer([{"name": "a", "later": 1}])
    assert tuple(content) == processes.KEYS
    assert content["pid"] is None


def test_the_table_shows_a_signal_where_there_is_no_exit_code() -> None:
    rows = [processes.row_content(ROW), {**processes.row_content(ROW), "exit_code": 0}, {"signal": "SIGKILL"}]
    lines = processes.table(rows, now=1_790_000_001).splitlines()
    assert [line.split()[4] for line in lines] == ["EXIT", "-", "0", "SIGKILL"]


def test_why_something_failed_is_a_column_where_anything_has_a_why() -> None:
    well = {**processes.row_content(ROW), "reason": ""}
    failed = {**well, "state": "failed", "reason": "it exited with code 3\nits last words"}
    assert "REASON" not in processes.table([well], now=1_790_000_001)
    header, first, second = processes.table([well, failed], now=1_790_000_001).splitlines()
    assert header.endswith("REASON")
    assert first.endswith("-")
    assert second.endswith("it exited with code 3")
    long = processes.table([{**failed, "reason": "so " * 80}], now=1_790_000_001, width=100)
    assert max(map(len, long.splitlines())) <= 100
    assert processes.answer([well, failed])[0]["reason"] is None
    assert processes.answer([well, failed])[1]["reason"] == failed["reason"]


def test_good_and_bad_states_differ_in_colour_and_not_only_there() -> None:
    assert processes.state_style("failed") == processes.state_style("crashed") == ("red",)
    assert processes.state_style("running") == ("green",)
    assert processes.state_style("exited") == ()
