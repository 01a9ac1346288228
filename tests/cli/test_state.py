"""What a command knows of the instances on record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra.cli.state import State, open_state
from orchestra.errors import NotFound, UsageError
from orchestra.ledger.rows import ProcessRow
from tests.cli.conftest import Record


def state(record: Record) -> State:
    return State(record.places, record.ledger)


def test_the_newest_run_stands_for_its_instance(record: Record) -> None:
    record.run("r1", "pipeline", state="failed")
    record.run("r2", "ring")
    record.run("r3", "pipeline")
    found = state(record).instances
    assert [(name, item.row.run, item.state) for name, item in found.items()] == [
        ("pipeline", "r3", "down"),
        ("ring", "r2", "down"),
    ]


@pytest.mark.parametrize(
    ("recorded", "ended", "locked", "live", "shown"),
    [
        ("up", False, True, True, "up"),
        ("starting", False, True, True, "starting"),
        ("up", False, False, False, "crashed"),
        ("stopping", False, False, False, "crashed"),
        ("crashed", True, False, False, "crashed"),
        ("down", True, True, False, "down"),  # being finished, or the next run begins
        ("failed", True, False, False, "failed"),
    ],
)
def test_a_lock_says_what_is_live_and_nothing_else(
    recorded: str,
    ended: bool,
    locked: bool,
    live: bool,
    shown: str,
    record: Record,
    hold_lock: Callable[[str], None],
) -> None:
    record.run("r1", "pipeline", state=recorded, ended_at=1.0 if ended else None)
    if locked:
        hold_lock("pipeline")
    item = state(record).instances["pipeline"]
    assert (item.live, item.state) == (live, shown)


def test_an_instance_by_name_by_file_and_by_folder(record: Record, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    record.run("r1", "pipeline", file=str(tmp_path / "deep" / "orchestra.yaml"))
    record.run("r2", "ring", file=str(tmp_path / "ring.yaml"))
    known = state(record)
    assert known.choose("pipeline").row.run == "r1"
    assert known.choose("deep/").row.run == "r1"
    assert known.choose("./ring.yaml").row.run == "r2"
    assert known.choose(None, file="ring.yaml").row.run == "r2"
    assert known.choose(None, name="ring").row.run == "r2"


def test_contradictions_and_unknown_names(record: Record) -> None:
    record.run("r1", "pipeline")
    known = state(record)
    with pytest.raises(UsageError, match="name an instance"):
        known.choose("pipeline", name="other")
    with pytest.raises(UsageError, match="name a file"):
        known.choose("./a.yaml", file="b.yaml")
    with pytest.raises(NotFound, match="there is no instance `nobody`"):
        known.choose("nobody")
    with pytest.raises(NotFound, match="nothing has been started from that file"):
        known.choose("./a.yaml")


def test_looking_makes_nothing(home: Path) -> None:
    with open_state() as known:
        assert known.instances == {}
    assert not home.exists()


def test_processes_come_in_the_order_of_the_file(record: Record) -> None:
    record.run("r1", "pipeline")
    record.processes("r1", *(ProcessRow("", name, n, "exited") for name in ("a", "b", "z") for n in (1, 2)))
    assert [row.process for row in state(record).processes("r1")] == ["a", "a", "b", "b", "z", "z"]
    plan = record.places.run_folder("r1") / "plan.json"
    plan.write_text('{"processes": [{"name": "z"}, {"name": "a"}]}')
    assert list(state(record).replicas("r1").items()) == [("z", 2), ("a", 2), ("b", 2)]
    for broken in ("", "[]", '{"processes": 1}', '{"processes": ["z"]}'):
        plan.write_text(broken)
        assert list(state(record).replicas("r1")) == ["a", "b", "z"]
