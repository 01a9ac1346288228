"""What the three System V kinds share: permission arithmetic, ownership, ids beyond the first 32768."""

from __future__ import annotations

import os

import pytest

from orchestra.kernel import host, libc, sysv
from orchestra.kernel.registry import adapter_for
from orchestra.kernel.sysv_sem import SysvSem
from orchestra.kinds import Access, Family, Kind, ObjectRef, Spec

ME, MY_GROUP, OTHER = os.geteuid(), os.getegid(), 54321


def fields(mode: int, uid: int = ME, gid: int = MY_GROUP, cuid: int = OTHER, cgid: int = OTHER) -> libc.Fields:
    return {
        "msg_perm.mode": mode,
        "msg_perm.uid": uid,
        "msg_perm.gid": gid,
        "msg_perm.cuid": cuid,
        "msg_perm.cgid": cgid,
    }


@pytest.mark.parametrize(
    ("perm", "expected"),
    [
        (fields(0o400), [True, False, False]),
        (fields(0o200), [False, True, False]),
        (fields(0o600), [True, True, True]),
        (fields(0o066), [False, False, False]),  # the owner's bits count for the owner, even if others may more
        (fields(0o600, uid=OTHER, cuid=ME), [True, True, True]),
        (fields(0o640, uid=OTHER), [True, False, False]),
        (fields(0o620, uid=OTHER, gid=OTHER, cgid=MY_GROUP), [False, True, False]),
        (fields(0o604, uid=OTHER, gid=OTHER), [True, False, False]),
        (fields(0o660, uid=OTHER, gid=OTHER), [False, False, False]),
    ],
)
def test_the_kernel_s_permission_rule(perm: libc.Fields, expected: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "has_capability", lambda _: False)
    assert [sysv.may_use(perm, "msg", access) for access in (Access.READ, Access.WRITE, Access.READ_WRITE)] == expected


def test_a_capability_overrides_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "has_capability", lambda number: number == 15)
    assert sysv.may_use(fields(0o000), "msg", Access.READ_WRITE)


def test_ownership_is_set_only_where_it_differs() -> None:
    made = fields(0o600)
    spec = Spec(Family.SYSV, Kind.QUEUE)
    assert sysv.ownership(spec, "msg", made) is None
    wider = Spec(Family.SYSV, Kind.QUEUE, mode=0o640, group=7)
    assert sysv.ownership(wider, "msg", made) == {"uid": ME, "gid": 7, "mode": 0o640}


@pytest.mark.parametrize("number", [40_001, (5 << 15) + 9, (5 << 24) + 40_001])
def test_the_index_of_an_id_is_found_in_both_layouts(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The id's index has 15 bits, or 24 on a host that was booted with `ipcmni_extend`."""
    wide = number & 0xFFFFFF if number >> 24 or number == 40_001 else number & 0x7FFF
    perm = {f"sem_perm.{name}": 0 for name in ("key", "uid", "gid", "cuid", "cgid", "mode")}
    asked = []

    def refuse_stat(_: object, index: int, command: int) -> tuple[int, libc.Fields]:
        if command == libc.IPC_STAT:
            raise PermissionError(13, "no")
        asked.append(index)
        return (number if index == wide else index), {**perm, "sem_nsems": 1}

    monkeypatch.setattr(SysvSem, "_ctl_stat", refuse_stat)
    monkeypatch.setattr(SysvSem, "_extra", lambda *_: {})
    found = SysvSem().stat(ObjectRef(Family.SYSV, Kind.SEMAPHORE, id=number))
    assert found is not None
    assert found.ref.id == number
    assert asked[-1] == wide


def test_an_index_that_leads_to_another_object_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def another(_: object, index: int, command: int) -> tuple[int, libc.Fields]:
        if command == libc.IPC_STAT:
            raise PermissionError(13, "no")
        return index, {}

    monkeypatch.setattr(SysvSem, "_ctl_stat", another)
    assert SysvSem().stat(ObjectRef(Family.SYSV, Kind.SEMAPHORE, id=(1 << 25) + 3)) is None


@pytest.mark.parametrize("kind", [Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE])
def test_an_id_wins_over_a_key(kind: Kind) -> None:
    adapter = adapter_for(Family.SYSV, kind)
    spec = Spec(Family.SYSV, kind, key=0, size=64, values=(1,))
    first, second = adapter.create(spec), adapter.create(spec)
    try:
        found = adapter.stat(ObjectRef(Family.SYSV, kind, id=second.ref.id, key=12345))
        assert found is not None
        assert found.identity == second.identity
    finally:
        assert adapter.remove(first.ref)
        assert adapter.remove(second.ref)
