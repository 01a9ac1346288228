"""What only POSIX queues have: notifications, directions, queues without a name."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator

import posix_ipc
import pytest

from orchestra.kernel.posix_mq import PosixMq, open_queues
from orchestra.kinds import Access, Family, Handle, Kind, Spec
from tests.conformance.worlds import holding, in_child

ADAPTER = PosixMq()


@pytest.fixture
def queue(ipc_name: Callable[[], str]) -> Iterator[Handle]:
    handle = ADAPTER.create(Spec(Family.POSIX, Kind.QUEUE, name=ipc_name(), max_messages=4, message_size=16))
    yield handle
    ADAPTER.remove(handle.ref)


def name_of(handle: Handle) -> str:
    assert handle.ref.name is not None
    return handle.ref.name


def test_posix_ipc_sees_what_was_declared(queue: Handle) -> None:
    seen = posix_ipc.MessageQueue(name_of(queue))
    assert (seen.max_messages, seen.max_message_size, seen.current_messages) == (4, 16, 0)
    seen.send(b"hello", priority=3)
    seen.close()
    found = ADAPTER.stat(queue.ref)
    assert found is not None
    assert (found.fields["mq_curmsgs"], found.size) == (1, 64)


@pytest.mark.parametrize(
    ("access", "may_send"), [(Access.READ, False), (Access.WRITE, True), (Access.READ_WRITE, True)]
)
def test_a_descriptor_goes_in_its_direction_only(queue: Handle, access: Access, may_send: bool) -> None:
    import ctypes  # noqa: TID251 no library sends through a bare descriptor

    fd = ADAPTER.open(queue.ref, access)
    assert fd is not None
    library = ctypes.CDLL(None, use_errno=True)
    sent = library.mq_send(fd, b"x", 1, 0)
    number = ctypes.get_errno()
    os.close(fd)
    assert (sent == 0) is may_send
    assert may_send or number == errno.EBADF


def test_looking_at_a_queue_leaves_another_s_notification_armed(queue: Handle) -> None:
    def arm() -> posix_ipc.MessageQueue:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        armed = posix_ipc.MessageQueue(name_of(queue))
        armed.request_notification(signal.SIGUSR1)
        return armed

    with holding(arm):
        for _ in range(3):
            assert ADAPTER.stat(queue.ref) is not None
            ADAPTER.list()
        ours = posix_ipc.MessageQueue(name_of(queue))
        with pytest.raises(posix_ipc.BusyError):
            ours.request_notification(signal.SIGUSR2)
        ours.close()


def test_an_unlinked_queue_is_seen_through_its_descriptor(queue: Handle) -> None:
    fd = ADAPTER.open(queue.ref, Access.READ)
    assert fd is not None
    try:
        (named,) = [seen for seen in open_queues(os.getpid()) if seen.ref == queue.ref]
        assert queue.identity.is_same(named.identity)
        assert named.fields["st_nlink"] == 1
        ADAPTER.remove(queue.ref)
        (unlinked,) = [seen for seen in open_queues(os.getpid()) if seen.ref == queue.ref]
        assert queue.identity.is_same(unlinked.identity)
        assert unlinked.fields["st_nlink"] == 0
    finally:
        os.close(fd)
    assert queue.ref not in [seen.ref for seen in open_queues(os.getpid())]


def test_other_descriptors_are_no_queues() -> None:
    fd = os.open("/proc", os.O_RDONLY)  # its link has one slash, as a queue's has
    try:
        assert "/proc" not in [seen.ref.name for seen in open_queues(os.getpid())]
    finally:
        os.close(fd)


def test_creating_leaves_no_descriptor_open(ipc_name: Callable[[], str]) -> None:
    before = os.listdir("/proc/self/fd")
    handle = ADAPTER.create(Spec(Family.POSIX, Kind.QUEUE, name=ipc_name(), max_messages=1, message_size=8))
    ADAPTER.stat(handle.ref)
    ADAPTER.list()
    ADAPTER.remove(handle.ref)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.root
def test_without_any_view_only_queues_that_somebody_has_open_are_listed(queue: Handle) -> None:
    def look() -> list[bool]:
        listing = ADAPTER.list()
        return [listing.complete, queue.ref in [seen.ref for seen in listing.stats]]

    assert in_child(look) == [True, True]
    assert in_child(look, as_nobody=True) == [False, False]
