"""What becomes of objects: every policy, and a ledger or an object that does not cooperate."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import LedgerError
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Kind, OnDown
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState, RunRow
from orchestra.objects import LiveObject, reuse_or_create
from orchestra.runplan import ObjectPlan
from orchestra.supervisor import teardown

RUN = RunRow("r", "t", "test", "/f", "/", "starting", 1.0, "boot", 0)


class Scene:
    """A ledger with objects of one run; what was said; clean at the end."""

    def __init__(self, folder: Path, name: Callable[[], str]) -> None:
        self.folder, self.name = folder, name
        self.ledger = Ledger.open(folder / "ledger.db")
        self.ledger.begin_run(RUN)
        self.said: list[str] = []
        self.made: list[LiveObject] = []

    def make(self, key: str, run: RunRow = RUN, **changes: Any) -> LiveObject:
        plan = ObjectPlan(key, **{"family": Family.POSIX, "kind": Kind.SEGMENT, "size": 4096, **changes})
        made = reuse_or_create(self.ledger, plan, run, folder=self.folder)
        self.made.append(made)
        return made

    def say(self, event: str, **fields: Any) -> None:
        self.said.append(f"{event} {fields.get('object', fields.get('reason'))}")

    def down(self, *, failed: bool = False, leak: bool = False) -> teardown.Result:
        return teardown.apply_on_down(self.ledger, "r", failed=failed, leak=leak, say=self.say)

    def states(self) -> dict[str, ObjectState]:
        return {row.key: row.state for row in self.ledger.objects(run="r")}

    def close(self) -> None:
        for thing in self.made:
            adapter_for(thing.plan.family, thing.plan.kind).remove(thing.handle.ref)
        self.ledger.close()


@pytest.fixture
def scene(tmp_path: Path, ipc_name: Callable[[], str]) -> Iterator[Scene]:
    made = Scene(tmp_path, ipc_name)
    yield made
    made.close()


def test_the_last_made_goes_first(scene: Scene) -> None:
    for key in ("a", "b", "c"):
        scene.make(key)
    result = scene.down()
    assert scene.said == ["object.removed c", "object.removed b", "object.removed a"]
    assert (result.removed, result.left, result.complete) == (3, [], True)
    assert set(scene.states().values()) == {ObjectState.REMOVED}


@pytest.mark.parametrize(
    ("policy", "failed", "kept"),
    [
        (OnDown.REMOVE, True, False),
        (OnDown.KEEP, False, True),
        (OnDown.KEEP_ON_FAILURE, False, False),
        (OnDown.KEEP_ON_FAILURE, True, True),
    ],
)
def test_on_down(scene: Scene, policy: OnDown, failed: bool, kept: bool) -> None:
    scene.make("a", on_down=policy)
    result = scene.down(failed=failed)
    assert scene.said == ["object.kept a" if kept else "object.removed a"]
    assert result.complete
    assert [item["kept"] for item in result.left] == ([True] if kept else [])


def test_only_some_of_them(scene: Scene) -> None:
    scene.make("a", on_down=OnDown.KEEP)
    numbers = [scene.make(key).row.recorded for key in ("b", "c")]
    teardown.apply_on_down(scene.ledger, "r", failed=False, leak=False, say=scene.say, only=[numbers[1]])
    assert scene.states() == {"a": ObjectState.LIVE, "b": ObjectState.LIVE, "c": ObjectState.REMOVED}


def test_leak_keeps_everything_but_what_has_no_name(scene: Scene) -> None:
    scene.make("a")
    scene.make("b", family=Family.MEMFD)
    result = scene.down(leak=True)
    assert [item["object"] for item in result.left] == ["a"]
    rows = {row.key: row for row in scene.ledger.objects(run="r")}
    assert rows["a"].state is ObjectState.KEPT
    assert rows["a"].by_hand_leak
    assert rows["b"].state is not ObjectState.KEPT
    for fd in scene.made[1].handle.fds:
        os.close(fd)


def test_somebody_else_s_is_never_touched(scene: Scene) -> None:
    name = scene.name()
    path = Path("/dev/shm") / name.lstrip("/")
    path.write_bytes(b"\0" * 4096)
    try:
        scene.make("a", name=name, external=True)
        assert scene.down().complete
        assert scene.said == []
        assert path.exists()
    finally:
        path.unlink(missing_ok=True)


def test_an_object_that_is_gone_is_said_to_be(scene: Scene) -> None:
    made = scene.make("a")
    adapter_for(Family.POSIX, Kind.SEGMENT).remove(made.handle.ref)
    assert scene.down().complete
    assert scene.said == ["object.gone a"]


def test_an_object_that_was_replaced_by_a_stranger_s_stays(scene: Scene) -> None:
    made = scene.make("a", name=scene.name())
    path = Path("/dev/shm") / str(made.handle.ref.name).lstrip("/")
    path.unlink()
    path.write_bytes(b"mine")
    try:
        scene.down()
        assert path.read_bytes() == b"mine"
        assert scene.said == ["object.gone a"]
    finally:
        path.unlink()


def test_undo_gives_back_what_was_taken_over(scene: Scene) -> None:
    first = scene.make("a", on_down=OnDown.KEEP)
    scene.down()
    run = RunRow("r2", "t", "test", "/f", "/", "starting", time.time(), "boot", 0)
    scene.ledger.begin_run(run)
    again = scene.make("a", run, on_down=OnDown.KEEP)
    scene.make("b", run, on_down=OnDown.KEEP)
    assert again.reused
    scene.said.clear()
    result = teardown.undo(scene.ledger, "r2", reused=frozenset({again.row.recorded}), say=scene.say)
    assert scene.said == ["object.removed b", "object.kept a"]
    assert result.complete
    third = scene.make("a", run, on_down=OnDown.KEEP)
    assert third.reused
    assert third.handle.identity == first.handle.identity


def test_a_ledger_that_fails_leaves_the_objects_and_says_so(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.make("a")

    def refuse(*_: object, **__: object) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(teardown, "remove_recorded", refuse)
    result = scene.down()
    assert scene.said == ["object.left a"]
    assert not result.complete
    assert result.left[0]["why"] == "the disk is full"
    monkeypatch.setattr(scene.ledger, "objects", refuse)
    assert not scene.down().complete
    assert scene.said[-1] == "ledger.unwritable the disk is full"


def test_an_object_that_went_is_not_said_to_be_there_because_the_ledger_was_full(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = scene.make("one"), scene.make("two")

    def full(*_: Any, **__: Any) -> None:
        raise LedgerError("no space is left for the ledger")

    monkeypatch.setattr(Ledger, "settle", full)
    result = scene.down()
    assert (result.removed, result.left, result.complete, result.finished) == (2, [], True, False)
    assert scene.said[0] == "ledger.unwritable no space is left for the ledger"
    assert scene.said[1:] == ["object.removed two", "object.removed one"]
    for thing in (one, two):
        assert adapter_for(thing.plan.family, thing.plan.kind).stat(thing.handle.ref) is None
