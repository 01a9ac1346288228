"""What only System V queues have: a capacity in bytes, and readers that wake when it goes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
import sysv_ipc

from orchestra.kernel.sysv_mq import SysvMq
from orchestra.kinds import Family, Handle, Kind, Spec

ADAPTER = SysvMq()


@pytest.fixture
def queue() -> Iterator[Handle]:
    handle = ADAPTER.create(Spec(Family.SYSV, Kind.QUEUE, key=secrets.randbits(31) | 1, capacity=100))
    yield handle
    ADAPTER.remove(handle.ref)


def test_the_capacity_is_a_limit(queue: Handle) -> None:
    seen = sysv_ipc.MessageQueue(queue.ref.key)
    assert seen.max_size == 100
    seen.send(b"x" * 100)
    with pytest.raises(sysv_ipc.BusyError):
        seen.send(b"x", block=False)
    found = ADAPTER.stat(queue.ref)
    assert found is not None
    assert (found.fields["msg_qnum"], found.fields["msg_cbytes"], found.size) == (1, 100, 100)
    assert found.fields["msg_lspid"] != 0


def test_without_a_capacity_the_host_s_default_holds() -> None:
    handle = ADAPTER.create(Spec(Family.SYSV, Kind.QUEUE, key=secrets.randbits(31) | 1))
    try:
        with open("/proc/sys/kernel/msgmnb") as file:
            found = ADAPTER.stat(handle.ref)
            assert found is not None
            assert found.size == int(file.read())
    finally:
        ADAPTER.remove(handle.ref)


def test_looking_leaves_no_trace(queue: Handle) -> None:
    before = ADAPTER.stat(queue.ref)
    ADAPTER.list()
    assert ADAPTER.stat(queue.ref) == before
