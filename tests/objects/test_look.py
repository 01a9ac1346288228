from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import KernelError, PermissionRefused
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Identity, Kind, Listing, ObjectRef, Stat
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectRow, ObjectState
from orchestra.objects import KERNEL, World
from orchestra.objects.look import claims, folder_of, sightings
from tests.support.rows import BOOT, NAMESPACE, object_row


class Shown:
    """An adapter that shows what a test put there."""

    def __init__(self, *stats: Stat, refusal: KernelError | None = None) -> None:
        self.stats, self.refusal = stats, refusal
        self.asked: list[ObjectRef] = []

    def stat(self, ref: ObjectRef) -> Stat | None:
        self.asked.append(ref)
        if self.refusal is not None:
            raise self.refusal
        return next((each for each in self.stats if ref.id in (None, each.identity.id)), None)

    def list(self) -> Listing:
        return Listing(self.stats)


def world(adapter: Shown, device: Callable[[str], int | None] = lambda _: 26) -> World:
    found: Any = adapter
    return replace(KERNEL, adapter=lambda *_: found, device=device)


def private(number: int, **changes: Any) -> Stat:
    """A private segment, such as the row below announced."""
    own = {"id": number, "key": 0, "cuid": 1000, "cpid": 4711, **changes}
    made = own.pop("made", 1000)
    marked = own.pop("marked", False)
    identity = Identity(Family.SYSV, Kind.SEGMENT, **own)
    ref = ObjectRef(Family.SYSV, Kind.SEGMENT, id=number)
    return Stat(ref, identity, 0o600, 1000, 100, marked=marked, fields={"shm_ctime": made})


@pytest.fixture
def announced() -> ObjectRow:
    return object_row(Family.SYSV, Kind.SEGMENT, ipc_key=0)


def test_an_object_with_an_id_is_looked_at_by_id_only() -> None:
    shown = Shown(private(3))
    row = object_row(Family.SYSV, Kind.SEGMENT, id=0, state=ObjectState.LIVE)
    assert sightings(row, world(shown))[0].stat is None
    assert shown.asked == [ObjectRef(Family.SYSV, Kind.SEGMENT, id=0)]


def test_an_announced_key_is_looked_at_by_key() -> None:
    shown = Shown()
    sightings(object_row(Family.SYSV, Kind.QUEUE), world(shown))
    assert shown.asked == [ObjectRef(Family.SYSV, Kind.QUEUE, key=0x1234ABCD)]


def test_an_announced_private_object_is_sought_among_all(announced: ObjectRow) -> None:
    strangers = [
        private(1, key=5), private(2, cuid=1001), private(3, cpid=1), private(4, made=990), private(5, made=1011),
        private(6, marked=True),
    ]  # fmt: skip
    (seen,) = sightings(announced, world(Shown(*strangers)))
    assert seen.stat is None
    (seen,) = sightings(announced, world(Shown(*strangers, private(7))))
    assert seen.stat is not None
    assert seen.stat.identity.id == 7


def test_an_id_that_another_row_has_on_record_is_not_taken_for_it(announced: ObjectRow) -> None:
    claimed = {("segment", BOOT, NAMESPACE, 7)}
    assert sightings(announced, world(Shown(private(7))), claimed)[0].stat is None
    assert sightings(announced._replace(boot_id="other"), world(Shown(private(7))), claimed)[0].stat is not None


def test_two_private_objects_that_fit_cannot_be_told_apart(announced: ObjectRow) -> None:
    (seen,) = sightings(announced, world(Shown(private(7), private(8))))
    assert "2 private objects fit" in seen.refused


def test_a_refusal_of_the_kernel_is_part_of_the_sighting() -> None:
    refused = Shown(refusal=PermissionRefused("could not use it"))
    for row in (object_row(), object_row(Family.SYSV, Kind.QUEUE), object_row(Family.SYSV, Kind.QUEUE, id=3)):
        assert [seen.refused for seen in sightings(row, world(refused))] == ["could not use it"]


def test_another_kind_of_file_is_not_a_refusal(tmp_path: Path) -> None:
    row = object_row(Family.FILE, Kind.SEGMENT, name=str(tmp_path))
    (seen,) = sightings(row, KERNEL)
    assert (seen.refused, "is a folder" in seen.other) == ("", True)
    assert seen.device == tmp_path.parent.stat().st_dev


def test_every_name_is_looked_at_with_the_device_of_its_folder() -> None:
    asked: list[str] = []

    def device(folder: str) -> int | None:
        asked.append(folder)
        return None

    row = object_row(wanted_name="/board", state=ObjectState.LIVE)
    seen = sightings(row, world(Shown(), device))
    assert [each.name for each in seen] == [row.name, "/board"]
    assert asked == ["/dev/shm"]


def test_what_has_no_name_gives_one_empty_sighting() -> None:
    (seen,) = sightings(object_row(Family.ANONYMOUS, Kind.PIPE), world(Shown()))
    assert (seen.stat, seen.name) == (None, None)


def test_the_folder_of_a_name() -> None:
    assert folder_of(object_row()) == "/dev/shm"
    assert folder_of(object_row(Family.FIFO, Kind.PIPE, name="/a/b")) == "/a"
    assert folder_of(object_row(Family.POSIX, Kind.QUEUE)) is None
    assert folder_of(object_row(Family.SYSV, Kind.QUEUE)) is None


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "record.db") as ledger:
        yield ledger


def test_claims_are_the_ids_of_rows_that_are_not_settled(ledger: Ledger) -> None:
    for number, state in enumerate(ObjectState):
        ledger.intend(object_row(Family.SYSV, Kind.SEGMENT, id=number, state=state))
    ledger.intend(object_row())
    names = [
        state for state in ObjectState if ("segment", BOOT, NAMESPACE, list(ObjectState).index(state)) in claims(ledger)
    ]
    assert names == [ObjectState.INTENDED, ObjectState.LIVE, ObjectState.KEPT, ObjectState.BORROWED]


def test_looking_never_attaches(tmp_path: Path) -> None:
    """nattch, lpid and the times of a segment stay as they are."""
    from orchestra.kinds import Spec

    adapter = adapter_for(Family.SYSV, Kind.SEGMENT)
    handle = adapter.create(Spec(Family.SYSV, Kind.SEGMENT, key=0, size=4096))
    try:
        before = adapter.stat(handle.ref)
        row = object_row(Family.SYSV, Kind.SEGMENT, id=handle.identity.id, state=ObjectState.LIVE)
        sightings(row, KERNEL)
        assert adapter.stat(handle.ref) == before
    finally:
        adapter.remove(handle.ref)
