"""Objects that a program makes, from the announcement to the removal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import LedgerError, ObjectExists, ObjectGone, ShapeMismatch
from orchestra.kernel.host import boot_id
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Kind, ObjectRef, Spec
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState, RunRow
from orchestra.objects import LiveObject, Outcome, adopt_recorded, announce_recorded, remove_recorded
from orchestra.runplan import ObjectPlan
from tests.support.rows import run_row

NUMBER = os.getpid()
NAME = f"/orct.adopt-{NUMBER}"
KEY = 0x4F500000 ^ NUMBER

PLANS = [
    ObjectPlan("x", Family.POSIX, Kind.QUEUE, name=NAME, max_messages=2, message_size=8, made_by="maker"),
    ObjectPlan("x", Family.POSIX, Kind.SEGMENT, name=NAME, size=4096, made_by="maker"),
    ObjectPlan("x", Family.POSIX, Kind.SEMAPHORE, name=NAME, made_by="maker"),
    ObjectPlan("x", Family.SYSV, Kind.QUEUE, ipc_key=KEY, made_by="maker"),
    ObjectPlan("x", Family.SYSV, Kind.SEGMENT, ipc_key=KEY, size=4096, made_by="maker"),
    ObjectPlan("x", Family.SYSV, Kind.SEMAPHORE, ipc_key=KEY, values=(1, 2), made_by="maker"),
    ObjectPlan("x", Family.FIFO, Kind.PIPE, name="fifo", made_by="maker"),
    ObjectPlan("x", Family.FILE, Kind.SEGMENT, name="file", size=64, made_by="maker"),
]


class Bench:
    """A run in a ledger, and a program that makes objects."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger.open(folder / "ledger.db")
        self.run: RunRow = run_row("r", instance="orct", boot_id=boot_id())
        self.ledger.begin_run(self.run)
        self.made: list[ObjectRef] = []

    def announce(self, plan: ObjectPlan) -> LiveObject:
        return announce_recorded(self.ledger, plan, self.run, folder=self.folder)

    def adopt(self, thing: LiveObject) -> LiveObject:
        return adopt_recorded(self.ledger, thing, self.run, folder=self.folder)

    def make(self, plan: ObjectPlan, **changes: Any) -> ObjectRef:
        """What the program does."""
        spec = Spec(
            plan.family, plan.kind, name=plan.name, key=plan.ipc_key, max_messages=plan.max_messages,
            message_size=plan.message_size, size=plan.size, values=plan.values or (0,),
        )._replace(**changes)  # fmt: skip
        self.made.append(adapter_for(plan.family, plan.kind).create(spec).ref)
        return self.made[-1]

    def states(self) -> list[ObjectState]:
        return [row.state for row in self.ledger.objects(run="r")]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for ref in bench.made:
        adapter_for(ref.family, ref.kind).remove(ref)
    bench.ledger.close()


@pytest.fixture(params=PLANS, ids=lambda plan: f"{plan.family}-{plan.kind}")
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectPlan:
    plan: ObjectPlan = request.param
    return plan if plan.name in (None, NAME) else plan._replace(name=str(tmp_path / str(plan.name)))


def test_announced_adopted_and_removed_as_ours(bench: Bench, plan: ObjectPlan) -> None:
    thing = bench.announce(plan)
    assert bench.states() == [ObjectState.INTENDED]
    assert (thing.handle.ref.name, thing.handle.ref.key) == (plan.name, plan.ipc_key)
    with pytest.raises(ObjectGone, match="maker was to make"):
        bench.adopt(thing)
    ref = bench.make(plan)
    adopted = bench.adopt(thing)
    assert bench.states() == [ObjectState.LIVE]
    assert adopted.row.identity == adapter_for(plan.family, plan.kind).stat(ref).identity  # type: ignore[union-attr]
    assert bench.adopt(adopted) is adopted
    assert remove_recorded(bench.ledger, adopted.row).outcome is Outcome.REMOVED
    assert adapter_for(plan.family, plan.kind).stat(ref) is None


def test_what_was_only_announced_is_never_removed(bench: Bench, plan: ObjectPlan) -> None:
    thing = bench.announce(plan)
    ref = bench.make(plan)
    removal = remove_recorded(bench.ledger, thing.row)
    assert removal.outcome is Outcome.REFUSED
    assert removal.why == "maker of run r was to make it and was never seen to have done so"
    assert adapter_for(plan.family, plan.kind).stat(ref) is not None


def test_what_is_there_at_the_start_is_in_the_way(bench: Bench, plan: ObjectPlan) -> None:
    bench.make(plan)
    with pytest.raises(ObjectExists, match="already exists"):
        bench.announce(plan)
    assert bench.states() == []


def test_another_one_in_its_place_is_adopted_anew(bench: Bench, plan: ObjectPlan) -> None:
    thing = bench.announce(plan)
    ref = bench.make(plan)
    first = bench.adopt(thing)
    keep = os.open(str(ref.name), os.O_RDONLY | os.O_NONBLOCK) if plan.family in (Family.FIFO, Family.FILE) else -1
    adapter_for(plan.family, plan.kind).remove(ref)
    bench.make(plan)
    second = bench.adopt(first)
    if second is not first:  # an inode may be the very same again
        assert bench.states() == [ObjectState.GONE, ObjectState.LIVE]
        assert second.row.number != first.row.number
    else:
        assert plan.family is not Family.SYSV
    assert remove_recorded(bench.ledger, second.row).outcome is Outcome.REMOVED
    if keep >= 0:
        os.close(keep)


def test_one_of_another_shape_is_refused_and_ours_to_remove(bench: Bench) -> None:
    plan = PLANS[1]
    thing = bench.announce(plan)
    bench.make(plan, size=8192)
    with pytest.raises(ShapeMismatch, match="size is 8192, declared 4096"):
        bench.adopt(thing)
    assert bench.states() == [ObjectState.LIVE]
    assert remove_recorded(bench.ledger, bench.ledger.objects()[0]).outcome is Outcome.REMOVED


def test_a_folder_in_the_way_and_a_row_that_vanished(bench: Bench, tmp_path: Path) -> None:
    plan = PLANS[6]._replace(name=str(tmp_path))
    with pytest.raises(ObjectExists):
        bench.announce(plan)
    thing = bench.announce(PLANS[1])
    bench.make(PLANS[1])
    bench.ledger.close()
    with pytest.raises(LedgerError):
        bench.adopt(thing)
    bench.ledger = Ledger.open(tmp_path / "ledger.db")
