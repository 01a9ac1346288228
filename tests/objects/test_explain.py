from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import KernelError
from orchestra.kernel.census import user_name
from orchestra.kinds import Family, Holder, Holders, Identity, Kind, ObjectRef, Stat
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState
from orchestra.objects import KERNEL
from orchestra.objects.explain import by_hand, describe, describe_holders, known_row, occupied
from tests.support.rows import object_plan, object_row


def _stat(family: Family, kind: Kind, **changes: Any) -> Stat:
    number = 7 if family is Family.SYSV else None
    identity = Identity(family, kind, id=number, key=0x51 if number else None, st_ino=None if number else 9)
    name = None if number else "/board"
    return Stat(ObjectRef(family, kind, name=name, id=number), identity, 0o640, 0, 0)._replace(**changes)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "record.db") as ledger:
        yield ledger


def test_one_phrase_for_each_kind() -> None:
    assert describe(_stat(Family.POSIX, Kind.SEGMENT, size=9)) == "a segment of 9 bytes, mode 0o640, owner root"
    assert describe(_stat(Family.SYSV, Kind.QUEUE, size=9)) == "a queue of 9 bytes, id 7, mode 0o640, owner root"
    assert describe(_stat(Family.SYSV, Kind.SEMAPHORE, members=3)) == (
        "a semaphore set of 3, id 7, mode 0o640, owner root"
    )
    assert describe(_stat(Family.POSIX, Kind.SEMAPHORE)) == "a semaphore, mode 0o640, owner root"
    assert describe(_stat(Family.FIFO, Kind.PIPE)) == "a FIFO, mode 0o640, owner root"


@pytest.mark.parametrize(
    ("family", "kind", "command"),
    [
        (Family.SYSV, Kind.QUEUE, "ipcrm -q 7"),
        (Family.SYSV, Kind.SEGMENT, "ipcrm -m 7"),
        (Family.SYSV, Kind.SEMAPHORE, "ipcrm -s 7"),
        (Family.POSIX, Kind.QUEUE, "rm /dev/mqueue/board"),
        (Family.POSIX, Kind.SEGMENT, "rm /dev/shm/board"),
        (Family.POSIX, Kind.SEMAPHORE, "rm /dev/shm/sem.board"),
        (Family.FILE, Kind.SEGMENT, "rm /board"),
        (Family.FIFO, Kind.PIPE, "rm /board"),
    ],
)
def test_the_command_that_removes_it_without_us(family: Family, kind: Kind, command: str) -> None:
    assert by_hand(_stat(family, kind)) == command


def test_users_without_a_name_are_numbers() -> None:
    assert user_name(0) == "root"
    assert user_name(3_999_999) == "uid 3999999"


def test_holders_that_cannot_be_found_out_are_left_out() -> None:
    def refuse(_: object) -> dict[int, Holders]:
        raise KernelError("/proc is not mounted")

    stat = _stat(Family.POSIX, Kind.SEGMENT)
    assert describe_holders(stat, replace(KERNEL, holders=refuse)) == ""
    held = Holders((Holder(5, "sh", "open"),))
    assert describe_holders(stat, replace(KERNEL, holders=lambda _: {0: held})) == "held by 5 (sh)"


def test_the_newest_open_row_of_an_object_is_found_by_identity(ledger: Ledger) -> None:
    stat = _stat(Family.POSIX, Kind.SEGMENT)
    assert known_row(ledger, stat) is None
    for run, state in (("r1", ObjectState.KEPT), ("r2", ObjectState.LIVE), ("r3", ObjectState.REMOVED)):
        ledger.intend(object_row(run=run, state=state, identity=stat.identity))
    found = known_row(ledger, stat)
    assert found is not None
    assert found.run == "r2"


def test_an_object_that_may_not_be_looked_at_is_still_in_the_way(ledger: Ledger) -> None:
    plan = object_plan(Family.POSIX, Kind.QUEUE, name="/jobs")
    ref = ObjectRef(Family.POSIX, Kind.QUEUE, name="/jobs")
    error = occupied(plan, ref, None, ledger, KERNEL)
    assert error.problem == "board: posix-queue:/jobs already exists and may not be looked at"
    assert "external: true" in error.hint
