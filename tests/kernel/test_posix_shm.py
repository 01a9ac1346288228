"""What only POSIX segments have: a shared folder with other things in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import posix_ipc
import pytest

from orchestra.errors import KernelError, ObjectExists, ShapeMismatch
from orchestra.kernel.posix_shm import PosixShm
from orchestra.kinds import Access, Family, Fill, Kind, ObjectRef, Spec

ADAPTER = PosixShm()


def spec(name: str, **changes: object) -> Spec:
    return Spec(Family.POSIX, Kind.SEGMENT, name=name, size=4096, **changes)  # type: ignore[arg-type]


def test_posix_ipc_opens_what_was_made(ipc_name: Callable[[], str]) -> None:
    handle = ADAPTER.create(spec(ipc_name(), fill=Fill(text="hello")))
    try:
        seen = posix_ipc.SharedMemory(handle.ref.name)
        assert seen.size == 4096
        assert os.pread(seen.fd, 6, 0) == b"hello\0"
        seen.close_fd()
    finally:
        ADAPTER.remove(handle.ref)


def test_a_link_in_the_shared_folder_is_never_followed(ipc_name: Callable[[], str], tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    name = ipc_name()
    path = Path("/dev/shm" + name)
    path.symlink_to(target)
    ref = ObjectRef(Family.POSIX, Kind.SEGMENT, name=name)
    try:
        with pytest.raises(ShapeMismatch, match="is a symbolic link, not posix-segment:"):
            ADAPTER.stat(ref)
        with pytest.raises(ShapeMismatch):
            ADAPTER.remove(ref)
        with pytest.raises(KernelError):
            ADAPTER.open(ref, Access.READ_WRITE)
        with pytest.raises(KernelError):
            ADAPTER.create(spec(name))
        assert name not in [seen.ref.name for seen in ADAPTER.list().stats]
        assert target.read_bytes() == b"precious"
        assert path.is_symlink()
    finally:
        path.unlink()


def test_a_folder_in_the_shared_folder(ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    path = Path("/dev/shm" + name)
    path.mkdir()
    (path / "inside").write_bytes(b"x")
    try:
        with pytest.raises(ShapeMismatch, match="is a folder"):
            ADAPTER.stat(ObjectRef(Family.POSIX, Kind.SEGMENT, name=name))
        with pytest.raises(ObjectExists):
            ADAPTER.create(spec(name))
        assert not [seen for seen in ADAPTER.list().stats if (seen.ref.name or "").startswith(name)]
    finally:
        (path / "inside").unlink()
        path.rmdir()


def test_a_removed_segment_lives_on_for_those_who_have_it_open(ipc_name: Callable[[], str]) -> None:
    handle = ADAPTER.create(spec(ipc_name(), fill=Fill(text="still here")))
    fd = ADAPTER.open(handle.ref, Access.READ)
    assert fd is not None
    ADAPTER.remove(handle.ref)
    again = ADAPTER.create(spec(handle.ref.name or ""))
    try:
        assert os.pread(fd, 10, 0) == b"still here"
        assert not again.identity.is_same(handle.identity)
    finally:
        os.close(fd)
        ADAPTER.remove(again.ref)


def test_creating_leaves_no_descriptor_open(ipc_name: Callable[[], str]) -> None:
    before = os.listdir("/proc/self/fd")
    handle = ADAPTER.create(spec(ipc_name()))
    with pytest.raises(ObjectExists):
        ADAPTER.create(spec(handle.ref.name or ""))
    ADAPTER.remove(handle.ref)
    assert os.listdir("/proc/self/fd") == before
