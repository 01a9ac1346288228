"""What only memfds have: a label instead of a name, and other processes as the only way to them."""

from __future__ import annotations

import os

import pytest

from orchestra.errors import KernelError
from orchestra.kernel.memfd import Memfd
from orchestra.kinds import Access, Family, Fill, Handle, Kind, Spec
from tests.conformance.worlds import holding

ADAPTER = Memfd()
SPEC = Spec(Family.MEMFD, Kind.SEGMENT, name="/orct.label", size=4096, fill=Fill(text="hello"))


def close(handle: Handle) -> None:
    for fd in handle.fds:
        os.close(fd)


def test_its_label_is_what_proc_shows() -> None:
    handle = ADAPTER.create(SPEC)
    assert os.readlink(f"/proc/self/fd/{handle.fds[0]}") == "/memfd:orct.label (deleted)"
    assert not os.get_inheritable(handle.fds[0])
    close(handle)


def test_two_of_one_label_are_two() -> None:
    first, second = ADAPTER.create(SPEC), ADAPTER.create(SPEC)
    try:
        assert not first.identity.is_same(second.identity)
        for handle in (first, second):
            found = ADAPTER.stat(handle.ref)
            assert found is not None
            assert found.identity == handle.identity
    finally:
        close(first)
        close(second)


def test_it_is_reached_through_another_process_that_has_it() -> None:
    handle = ADAPTER.create(SPEC)
    with holding(lambda: None):
        close(handle)
        found = ADAPTER.stat(handle.ref)
        assert found is not None
        assert handle.identity.is_same(found.identity)
        fd = ADAPTER.open(handle.ref, Access.READ)
        assert fd is not None
        assert os.pread(fd, 5, 0) == b"hello"
        os.close(fd)
    assert ADAPTER.stat(handle.ref) is None


def test_an_improper_label() -> None:
    with pytest.raises(KernelError):
        ADAPTER.create(Spec(Family.MEMFD, Kind.SEGMENT, name="a\0b", size=1))
    with pytest.raises(KernelError):
        ADAPTER.create(Spec(Family.MEMFD, Kind.SEGMENT, name="n" * 300, size=1))
