"""Identity: what must match before anything is called ours."""

from __future__ import annotations

import pytest

from orchestra.kinds import Family, Identity, Kind, ObjectRef

SEGMENT = Identity(
    Family.SYSV, Kind.SEGMENT, boot_id="b", ipc_ns=1, id=7, key=0x10, cuid=0, cgid=0, size=4096, cpid=100
)
BOARD = Identity(Family.POSIX, Kind.SEGMENT, st_dev=5, st_ino=9, birth_ns=123)


def test_an_object_is_itself() -> None:
    assert SEGMENT.is_same(SEGMENT)
    assert BOARD.is_same(BOARD)


def test_a_segment_marked_for_removal_keeps_its_identity_although_its_key_is_0() -> None:
    assert SEGMENT.is_same(SEGMENT._replace(key=0))


def test_a_private_segment_does_not_become_one_with_a_key() -> None:
    assert not SEGMENT._replace(key=0).is_same(SEGMENT)


@pytest.mark.parametrize(
    "change",
    [{"boot_id": "c"}, {"ipc_ns": 2}, {"id": 8}, {"key": 0x11}, {"cuid": 1}, {"cgid": 1}, {"size": 1}, {"cpid": 101}],
)
def test_a_recycled_id_is_another_object(change: dict[str, object]) -> None:
    assert not SEGMENT.is_same(SEGMENT._replace(**change))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"st_dev": 6}, {"st_ino": 10}, {"birth_ns": 124}])
def test_a_recreated_name_is_another_object(change: dict[str, object]) -> None:
    assert not BOARD.is_same(BOARD._replace(**change))  # type: ignore[arg-type]


@pytest.mark.parametrize("identity", [SEGMENT, BOARD])
def test_identity_survives_json(identity: Identity) -> None:
    assert Identity.from_json(identity.to_json()) == identity


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (ObjectRef(Family.POSIX, Kind.QUEUE, name="/jobs"), "posix-queue:/jobs"),
        (ObjectRef(Family.SYSV, Kind.SEMAPHORE, id=0), "sysv-semaphore:0"),
        (ObjectRef(Family.SYSV, Kind.SEGMENT, key=0x4F524331), "sysv-segment:0x4f524331"),
        (ObjectRef(Family.SYSV, Kind.SEGMENT, id=3, key=0x4F524331), "sysv-segment:3"),
    ],
)
def test_references_are_spelled_as_on_the_command_line(ref: ObjectRef, text: str) -> None:
    assert str(ref) == text
