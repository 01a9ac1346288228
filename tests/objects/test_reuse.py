from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import ObjectExists, ObjectGone, ShapeMismatch
from orchestra.kernel.host import boot_id
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import OBJECT_KINDS, Access, Family, Fill, Kind, ObjectRef, OnDown, Spec
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState, RunRow
from orchestra.objects import LiveObject, Outcome, find_kept, keep_recorded, remove_recorded, reuse_or_create
from orchestra.objects.names import NAMELESS_FAMILIES
from orchestra.runplan import ObjectPlan
from tests.support import witness
from tests.support.rows import object_plan, run_row

LASTING = [pair for pair in OBJECT_KINDS if pair[0] not in NAMELESS_FAMILIES]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        yield ledger
        for row in ledger.objects():
            remove_recorded(ledger, row)


class Runs:
    """Runs of one instance, one after the other."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger, self.folder, self.count = ledger, folder, 0
        self.current = self.next()

    def next(self) -> RunRow:
        self.count += 1
        self.current = run_row(f"r{self.count}", instance="orct", boot_id=boot_id())
        self.ledger.begin_run(self.current)
        return self.current

    def use(self, plan: ObjectPlan) -> LiveObject:
        return reuse_or_create(self.ledger, plan, self.current, folder=self.folder)


@pytest.fixture
def runs(ledger: Ledger, tmp_path: Path) -> Runs:
    return Runs(ledger, tmp_path)


@pytest.fixture
def foreign() -> Iterator[Callable[..., ObjectRef]]:
    made: list[ObjectRef] = []

    def make(family: Family, kind: Kind, **spec: object) -> ObjectRef:
        made.append(adapter_for(family, kind).create(Spec(family, kind, **spec)).ref)  # type: ignore[arg-type]
        return made[-1]

    yield make
    for ref in made:
        adapter_for(ref.family, ref.kind).remove(ref)


def _plan(family: Family, kind: Kind, tmp_path: Path, **changes: Any) -> ObjectPlan:
    if family is Family.FILE:
        changes = {"name": str(tmp_path / "journal"), **changes}
    return object_plan(family, kind, **{"on_down": OnDown.KEEP, **changes})


# Kept objects


@pytest.mark.parametrize(("family", "kind"), LASTING)
def test_a_kept_object_is_used_again_by_the_next_run(
    ledger: Ledger, runs: Runs, tmp_path: Path, family: Family, kind: Kind
) -> None:
    plan = _plan(family, kind, tmp_path)
    first = runs.use(plan)
    keep_recorded(ledger, first.row, "on_down: keep", by_hand=False)
    runs.next()
    kept = find_kept(ledger, plan, "orct")
    assert kept is not None
    assert kept.number == first.row.number
    again = runs.use(plan)
    assert again.reused
    assert again.handle.identity == first.handle.identity
    assert (again.row.run, again.row.state, again.row.name, again.row.id, again.row.ipc_key, again.row.nonce) == (
        "r2", ObjectState.LIVE, first.row.name, first.row.id, first.row.ipc_key, first.row.nonce,
    )  # fmt: skip
    assert again.binding(Access.READ, 5) == first.binding(Access.READ, 5)
    old = ledger.object(first.row.recorded)
    assert old is not None
    assert (old.state, old.why) == (ObjectState.GONE, "taken over by run r2")
    assert remove_recorded(ledger, again.row).outcome is Outcome.REMOVED


def test_a_kept_segment_is_not_filled_again(ledger: Ledger, runs: Runs) -> None:
    plan = object_plan(Family.POSIX, Kind.SEGMENT, fill=Fill(text="first"))
    first = runs.use(plan)
    path = f"/dev/shm{first.row.name}"
    with open(path, "r+b") as file:
        file.write(b"later")
    keep_recorded(ledger, first.row, "", by_hand=False)
    runs.next()
    runs.use(plan)
    with open(path, "rb") as file:
        assert file.read(5) == b"later"


def test_what_leak_left_is_not_used_again(ledger: Ledger, runs: Runs) -> None:
    plan = object_plan(Family.POSIX, Kind.SEGMENT)
    first = runs.use(plan)
    keep_recorded(ledger, first.row, "--leak", by_hand=True)
    runs.next()
    assert find_kept(ledger, plan, "orct") is None
    second = runs.use(plan)
    assert not second.reused
    assert second.row.name != first.row.name
    old = ledger.object(first.row.recorded)
    assert old is not None
    assert old.state is ObjectState.KEPT


def test_what_leak_left_under_an_explicit_name_is_in_the_way(
    ledger: Ledger, runs: Runs, ipc_name: Callable[[], str]
) -> None:
    plan = object_plan(Family.POSIX, Kind.SEGMENT, name=ipc_name())
    keep_recorded(ledger, runs.use(plan).row, "--leak", by_hand=True)
    runs.next()
    with pytest.raises(ObjectExists, match="kept on purpose by run r1"):
        runs.use(plan)


@pytest.mark.parametrize(("family", "kind"), LASTING)
def test_a_kept_object_that_is_gone_is_made_anew(
    ledger: Ledger, runs: Runs, tmp_path: Path, family: Family, kind: Kind
) -> None:
    plan = _plan(family, kind, tmp_path)
    first = runs.use(plan)
    keep_recorded(ledger, first.row, "", by_hand=False)
    adapter_for(family, kind).remove(ObjectRef(family, kind, name=first.row.name, id=first.row.id))
    runs.next()
    second = runs.use(plan)
    assert not second.reused
    old = ledger.object(first.row.recorded)
    assert old is not None
    assert (old.state, old.why) == (ObjectState.GONE, "it is not there any more")


def test_a_stranger_in_the_place_of_a_kept_object_is_not_used(
    ledger: Ledger, runs: Runs, foreign: Callable[..., ObjectRef]
) -> None:
    plan = object_plan(Family.POSIX, Kind.SEGMENT)
    first = runs.use(plan)
    keep_recorded(ledger, first.row, "", by_hand=False)
    os.unlink(f"/dev/shm{first.row.name}")
    foreign(Family.POSIX, Kind.SEGMENT, name=first.row.name, size=4096)
    runs.next()
    assert find_kept(ledger, plan, "orct") is None
    second = runs.use(plan)
    assert second.row.name != first.row.name
    old = ledger.object(first.row.recorded)
    assert old is not None
    assert "another object by now" in old.why


def test_a_kept_object_of_another_shape_is_an_error_that_names_its_run(ledger: Ledger, runs: Runs) -> None:
    first = runs.use(object_plan(Family.SYSV, Kind.SEGMENT))
    keep_recorded(ledger, first.row, "", by_hand=False)
    runs.next()
    with pytest.raises(ShapeMismatch) as caught:
        runs.use(object_plan(Family.SYSV, Kind.SEGMENT, size=8192, mode=0o640))
    assert f"board: sysv-segment:{first.row.id} is not what the file declares" in caught.value.problem
    assert "size is 4096, declared 8192; mode is 0o600, declared 0o640" in caught.value.problem
    assert "orchestra clean --kept --run r1" in caught.value.hint
    old = ledger.object(first.row.recorded)
    assert old is not None
    assert old.state is ObjectState.KEPT


def test_a_kept_object_of_another_shape_is_made_anew_on_request(ledger: Ledger, runs: Runs) -> None:
    first = runs.use(object_plan(Family.SYSV, Kind.SEGMENT))
    keep_recorded(ledger, first.row, "", by_hand=False)
    plan = object_plan(Family.SYSV, Kind.SEGMENT, size=8192)
    second = reuse_or_create(ledger, plan, runs.next(), folder=runs.folder, recreate=True)
    assert (second.reused, second.size) == (False, 8192)
    old = ledger.object(first.row.recorded)
    assert old is not None
    assert old.state is ObjectState.REMOVED
    keep_recorded(ledger, second.row, "", by_hand=False)
    assert reuse_or_create(ledger, plan, runs.next(), folder=runs.folder, recreate=True).reused


@pytest.mark.parametrize(
    "other",
    [
        object_plan(Family.POSIX, Kind.SEGMENT, key="other"),
        object_plan(Family.POSIX, Kind.SEMAPHORE),
        object_plan(Family.SYSV, Kind.SEGMENT),
    ],
    ids=["key", "kind", "family"],
)
def test_only_the_same_object_of_the_file_is_used_again(ledger: Ledger, runs: Runs, other: ObjectPlan) -> None:
    keep_recorded(ledger, runs.use(object_plan(Family.POSIX, Kind.SEGMENT)).row, "", by_hand=False)
    runs.next()
    assert not runs.use(other).reused


def test_a_derived_object_is_not_used_for_an_explicit_one(
    ledger: Ledger, runs: Runs, ipc_name: Callable[[], str]
) -> None:
    keep_recorded(ledger, runs.use(object_plan(Family.POSIX, Kind.SEGMENT)).row, "", by_hand=False)
    runs.next()
    assert not runs.use(object_plan(Family.POSIX, Kind.SEGMENT, name=ipc_name())).reused


def test_a_kept_object_of_another_instance_is_not_used(ledger: Ledger, runs: Runs, tmp_path: Path) -> None:
    plan = object_plan(Family.POSIX, Kind.SEGMENT)
    keep_recorded(ledger, runs.use(plan).row, "", by_hand=False)
    other = run_row("o1", instance="orct-other", boot_id=boot_id())
    ledger.begin_run(other)
    assert not reuse_or_create(ledger, plan, other, folder=tmp_path).reused


# External objects


@pytest.mark.parametrize(
    ("family", "kind", "spec"),
    [
        (Family.POSIX, Kind.QUEUE, {"max_messages": 2, "message_size": 64}),
        (Family.POSIX, Kind.SEGMENT, {"size": 4096}),
        (Family.POSIX, Kind.SEMAPHORE, {"values": (3,)}),
    ],
)
def test_an_external_object_is_borrowed_and_never_removed(
    ledger: Ledger, runs: Runs, foreign: Callable[..., ObjectRef], ipc_name: Callable[[], str],
    family: Family, kind: Kind, spec: dict[str, object],
) -> None:  # fmt: skip
    name = ipc_name()
    foreign(family, kind, name=name, mode=0o644, **spec)
    live = runs.use(object_plan(family, kind, name=name, external=True))
    assert (live.row.state, live.row.name, live.row.mode) == (ObjectState.BORROWED, name, 0o644)
    assert live.binding(Access.READ, None).name == name
    refused = remove_recorded(ledger, live.row)
    assert (refused.outcome, refused.why) == (
        Outcome.REFUSED,
        "it was there before the run: orchestra did not make it",
    )
    keep_recorded(ledger, live.row, "--leak", by_hand=True)
    row = ledger.object(live.row.recorded)
    assert row is not None
    assert row.state is ObjectState.BORROWED
    assert witness.exists(family, kind, name)


@pytest.mark.parametrize("kind", [Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE])
def test_an_external_system_v_object_is_found_by_its_key(
    runs: Runs, foreign: Callable[..., ObjectRef], kind: Kind
) -> None:
    key = 0x7E0B0000 + os.getpid()
    ref = foreign(Family.SYSV, kind, key=key, size=4096 if kind is Kind.SEGMENT else None, values=(0, 0))
    live = runs.use(object_plan(Family.SYSV, kind, ipc_key=key, external=True))
    binding = live.binding(Access.READ, None)
    assert (binding.id, binding.ipc_key) == (ref.id, key)


def test_an_external_object_that_is_missing(runs: Runs, ipc_name: Callable[[], str]) -> None:
    with pytest.raises(ObjectGone, match="is declared external and does not exist"):
        runs.use(object_plan(Family.POSIX, Kind.QUEUE, name=ipc_name(), external=True))


def test_an_external_object_of_another_shape(
    runs: Runs, foreign: Callable[..., ObjectRef], ipc_name: Callable[[], str]
) -> None:
    name = ipc_name()
    foreign(Family.POSIX, Kind.SEGMENT, name=name, size=100)
    with pytest.raises(ShapeMismatch, match="size is 100, declared 4096"):
        runs.use(object_plan(Family.POSIX, Kind.SEGMENT, name=name, external=True))
    unstated = runs.use(object_plan(Family.POSIX, Kind.SEGMENT, name=name, external=True, size=None))
    assert unstated.size == 100


# Files


def test_an_existing_file_is_opened_as_it_is_and_stays(ledger: Ledger, runs: Runs, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"theirs" + bytes(4090))
    plan = object_plan(Family.FILE, Kind.SEGMENT, name=str(path), fill=Fill(text="ours"))
    live = runs.use(plan)
    assert live.row.state is ObjectState.BORROWED
    assert remove_recorded(ledger, live.row).outcome is Outcome.REFUSED
    assert path.read_bytes()[:6] == b"theirs"


def test_an_existing_file_of_another_size(runs: Runs, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"short")
    with pytest.raises(ShapeMismatch, match="size is 5, declared 4096") as caught:
        runs.use(object_plan(Family.FILE, Kind.SEGMENT, name=str(path)))
    assert "used as it is" in caught.value.hint
    assert path.read_bytes() == b"short"


def test_a_folder_in_the_place_of_a_file(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(ShapeMismatch, match="is a folder"):
        runs.use(object_plan(Family.FILE, Kind.SEGMENT, name=str(tmp_path)))


def test_a_file_that_an_earlier_run_made_and_kept_is_ours_to_remove(ledger: Ledger, runs: Runs, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    plan = object_plan(Family.FILE, Kind.SEGMENT, name=str(path), on_down=OnDown.KEEP)
    keep_recorded(ledger, runs.use(plan).row, "", by_hand=False)
    runs.next()
    live = runs.use(plan._replace(on_down=OnDown.REMOVE))
    assert (live.row.state, live.row.on_down) == (ObjectState.LIVE, OnDown.REMOVE)
    assert remove_recorded(ledger, live.row).outcome is Outcome.REMOVED
    assert not path.exists()


def test_a_file_put_in_the_place_of_a_kept_one_is_borrowed(ledger: Ledger, runs: Runs, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    plan = object_plan(Family.FILE, Kind.SEGMENT, name=str(path))
    keep_recorded(ledger, runs.use(plan).row, "", by_hand=False)
    other = tmp_path / "other"
    other.write_bytes(bytes(4096))
    other.rename(path)
    runs.next()
    live = runs.use(plan)
    assert live.row.state is ObjectState.BORROWED
    assert remove_recorded(ledger, live.row).outcome is Outcome.REFUSED
    assert path.exists()
