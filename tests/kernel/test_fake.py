"""What the fake kernel offers to tests beyond the protocol (the protocol itself: tests/conformance)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from orchestra.errors import KernelError, LimitReached, ObjectExists, OutOfSpace, PermissionRefused
from orchestra.kernel.api import Linkable
from orchestra.kernel.fake import FakeHost, fake_adapters
from orchestra.kinds import OBJECT_KINDS, Access, Family, Kind, Spec

SEGMENT = Spec(Family.POSIX, Kind.SEGMENT, name="/a", size=4096)
PAIR = (Family.POSIX, Kind.SEGMENT)


def test_it_has_all_ten_kinds() -> None:
    with FakeHost() as host:
        assert list(fake_adapters(host)) == list(OBJECT_KINDS)
        assert all((a.family, a.kind) == pair for pair, a in fake_adapters(host).items())


def test_calls_fail_when_ordered_to_and_only_then() -> None:
    with FakeHost() as host:
        adapter = fake_adapters(host)[PAIR]
        host.refuse("create", errno.ENOSPC)
        host.refuse("create", errno.EEXIST)
        for expected in (OutOfSpace, ObjectExists):
            with pytest.raises(expected):
                adapter.create(SEGMENT)
        handle = adapter.create(SEGMENT)
        calls: dict[str, Callable[[], object]] = {
            "stat": lambda: adapter.stat(handle.ref),
            "remove": lambda: adapter.remove(handle.ref),
            "open": lambda: adapter.open(handle.ref, Access.READ),
        }
        for method, call in calls.items():
            host.refuse(method, errno.EACCES)
            with pytest.raises(PermissionRefused):
                call()
        host.refuse("link", errno.EPERM)
        assert isinstance(adapter, Linkable)
        with pytest.raises(PermissionRefused):
            adapter.link(handle.ref, "/b")


def test_space_is_used_and_given_back() -> None:
    with FakeHost(space=5000) as host:
        adapter = fake_adapters(host)[PAIR]
        handle = adapter.create(SEGMENT)
        with pytest.raises(OutOfSpace):
            adapter.create(Spec(*PAIR, name="/b", size=4096))
        assert host.space == 904
        adapter.remove(handle.ref)
        assert host.space == 5000


def test_an_attached_segment_is_marked_not_removed() -> None:
    with FakeHost() as host:
        adapter = fake_adapters(host)[Family.SYSV, Kind.SEGMENT]
        handle = adapter.create(Spec(Family.SYSV, Kind.SEGMENT, key=7, size=64))
        host.objects[0].attached = 1
        assert [adapter.remove(handle.ref), adapter.remove(handle.ref)] == [True, False]
        found = adapter.stat(handle.ref)
        assert found is not None
        assert (found.marked, found.attached, found.ref.key) == (True, 1, 0)
        assert handle.identity.is_same(found.identity)


def test_limits_of_the_fake_kernel() -> None:
    with FakeHost() as host:
        adapters = fake_adapters(host)
        for spec in (
            Spec(Family.POSIX, Kind.QUEUE, name="/q", max_messages=11),
            Spec(Family.POSIX, Kind.QUEUE, name="/q", message_size=8193),
            Spec(Family.SYSV, Kind.QUEUE, capacity=16385),
            Spec(Family.SYSV, Kind.SEGMENT, size=0),
        ):
            with pytest.raises(LimitReached):
                adapters[spec.family, spec.kind].create(spec)
        assert host.objects == []


def test_another_user_is_refused() -> None:
    with FakeHost(uid=0) as host:
        adapter = fake_adapters(host)[PAIR]
        handle = adapter.create(SEGMENT)
        host.uid = 1000
        with pytest.raises(PermissionRefused):
            adapter.open(handle.ref, Access.READ)
        with pytest.raises(PermissionRefused):
            adapter.remove(handle.ref)
        assert adapter.stat(handle.ref) is not None


def test_closing_it_leaves_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    with FakeHost() as host:
        fake_adapters(host)[PAIR].create(SEGMENT)
        with pytest.raises(KernelError):
            fake_adapters(host)[PAIR].create(Spec(*PAIR, size=1))
    assert os.listdir("/proc/self/fd") == before
