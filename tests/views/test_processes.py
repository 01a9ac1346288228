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


def test_good_and_bad_states_differ_in_colour_and_not_only_there() -> None:
    assert processes.state_style("failed") == processes.state_style("crashed") == ("red",)
    assert processes.state_style("running") == ("green",)
    assert processes.state_style("exited") == ()
