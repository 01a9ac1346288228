"""What only POSIX semaphores have: a file format, waiters, a temporary file of the C library."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path

import posix_ipc
import pytest

from orchestra.errors import KernelError, PermissionRefused
from orchestra.kernel.posix_sem import PosixSem
from orchestra.kinds import Access, Family, Kind, ObjectRef, Spec
from tests.conformance.worlds import holding, in_child

ADAPTER = PosixSem()


def spec(name: str, value: int = 2, mode: int = 0o600) -> Spec:
    return Spec(Family.POSIX, Kind.SEMAPHORE, name=name, values=(value,), mode=mode)


def value_of(ref: ObjectRef) -> object:
    found = ADAPTER.stat(ref)
    assert found is not None
    return found.fields.get("sem_getvalue")


def test_the_value_is_the_one_that_posix_ipc_reads(ipc_name: Callable[[], str]) -> None:
    handle = ADAPTER.create(spec(ipc_name(), 2))
    try:
        semaphore = posix_ipc.Semaphore(handle.ref.name)
        for expected in (2, 1, 0):
            assert (semaphore.value, value_of(handle.ref)) == (expected, expected)
            if expected:
                semaphore.acquire()
        semaphore.close()
        found = ADAPTER.stat(handle.ref)
        assert found is not None
        assert (found.members, found.fields["nwaiters"]) == (1, 0)
    finally:
        ADAPTER.remove(handle.ref)


def test_waiters_are_counted(ipc_name: Callable[[], str]) -> None:
    handle = ADAPTER.create(spec(ipc_name(), 0))
    poll = select.poll()

    def shown() -> list[object]:
        found = ADAPTER.stat(handle.ref)
        assert found is not None
        return [found.fields["nwaiters"], found.fields["sem_getvalue"]]

    try:
        with holding(lambda: posix_ipc.Semaphore(handle.ref.name).acquire(), blocks=True):
            assert any(shown() == [1, 0] or poll.poll(10) for _ in range(1000))
    finally:
        ADAPTER.remove(handle.ref)


def test_the_same_name_for_a_segment_and_a_semaphore(ipc_name: Callable[[], str]) -> None:
    from orchestra.kernel.posix_shm import PosixShm

    name = ipc_name()
    semaphore = ADAPTER.create(spec(name))
    segment = PosixShm().create(Spec(Family.POSIX, Kind.SEGMENT, name=name, size=64))
    try:
        assert name in [seen.ref.name for seen in ADAPTER.list().stats]
        names = [seen.ref.name for seen in PosixShm().list().stats]
        assert name in names
        assert f"/sem.{name[1:]}" not in names, "a semaphore's file is no segment"
    finally:
        assert ADAPTER.remove(semaphore.ref)
        assert PosixShm().remove(segment.ref)


def test_the_temporary_name_of_the_c_library_is_gone(ipc_name: Callable[[], str]) -> None:
    handle = ADAPTER.create(spec(ipc_name()))
    found = ADAPTER.stat(handle.ref)
    ADAPTER.remove(handle.ref)
    assert found is not None
    assert found.fields["st_nlink"] == 1


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_file_that_is_no_semaphore_has_no_value(content: bytes, ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    path = Path(f"/dev/shm/sem.{name[1:]}")
    path.write_bytes(content)
    try:
        assert value_of(ObjectRef(Family.POSIX, Kind.SEMAPHORE, name=name)) is None
    finally:
        path.unlink()


def test_opening_needs_reading_and_writing(ipc_name: Callable[[], str]) -> None:
    def try_it() -> bool:
        handle = ADAPTER.create(spec(ipc_name(), mode=0o400))
        try:
            ADAPTER.open(handle.ref, Access.READ)
        except PermissionRefused:
            return True
        finally:
            ADAPTER.remove(handle.ref)
        return os.getuid() == 0

    assert in_child(try_it, as_nobody=True)


def test_a_link_put_in_the_way_is_not_followed(ipc_name: Callable[[], str], tmp_path: Path) -> None:
    name = ipc_name()
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    path = Path(f"/dev/shm/sem.{name[1:]}")
    path.symlink_to(target)
    ref = ObjectRef(Family.POSIX, Kind.SEMAPHORE, name=name)
    try:
        for call in (ADAPTER.stat, ADAPTER.remove, lambda r: ADAPTER.open(r, Access.READ)):
            with pytest.raises(KernelError):
                call(ref)
        with pytest.raises(KernelError):
            ADAPTER.create(spec(name))
        assert target.read_bytes() == b"precious"
    finally:
        path.unlink()
