"""What only System V segments have: attachments, and a removal that waits for the last of them."""

from __future__ import annotations

import secrets
import time

import pytest
import sysv_ipc

from orchestra.errors import LimitReached, OutOfSpace
from orchestra.kernel.sysv_shm import SysvShm
from orchestra.kinds import Family, Fill, Kind, Spec, Stat

ADAPTER = SysvShm()


def spec(**changes: object) -> Spec:
    return Spec(Family.SYSV, Kind.SEGMENT, key=secrets.randbits(31) | 1, **{"size": 4096, **changes})  # type: ignore[arg-type]


def test_looking_never_attaches() -> None:
    handle = ADAPTER.create(spec())
    try:

        def traces() -> tuple[object, ...]:
            found = ADAPTER.stat(handle.ref)
            assert isinstance(found, Stat)
            names = ("shm_nattch", "shm_lpid", "shm_atime", "shm_dtime")
            return tuple(found.fields[name] for name in names)

        ADAPTER.list()
        assert traces() == (0, 0, 0, 0), "a segment without a fill was never attached"
    finally:
        ADAPTER.remove(handle.ref)


def test_a_fill_is_attached_once_and_let_go() -> None:
    handle = ADAPTER.create(spec(fill=Fill(hex="00ff10"), mode=0o000))
    try:
        found = ADAPTER.stat(handle.ref)
        assert found is not None
        assert (found.attached, found.mode) == (0, 0)
        assert abs(int(str(found.fields["shm_dtime"])) - time.time()) < 60
    finally:
        ADAPTER.remove(handle.ref)


def test_a_marked_segment_is_still_there_without_its_key() -> None:
    made = spec(fill=Fill(text="kept"))
    handle = ADAPTER.create(made)
    segment = sysv_ipc.attach(handle.ref.id or 0)
    assert ADAPTER.remove(handle.ref) is True
    again = ADAPTER.create(made)  # the key is free at once
    try:
        found = ADAPTER.stat(handle.ref)
        assert found is not None
        assert (found.marked, found.attached, found.identity.key) == (True, 1, 0)
        assert handle.identity.is_same(found.identity)
        assert not again.identity.is_same(found.identity)
        assert ADAPTER.remove(handle.ref) is False
        assert segment.read(4) == b"kept"
    finally:
        segment.detach()
        ADAPTER.remove(again.ref)
    assert ADAPTER.stat(handle.ref) is None


def test_a_size_beyond_all_memory() -> None:
    wanted = spec(size=2**62)
    with pytest.raises((LimitReached, OutOfSpace)) as caught:
        ADAPTER.create(wanted)
    assert caught.value.hint
    assert ADAPTER.stat(wanted.ref) is None
