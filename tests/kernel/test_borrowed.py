"""Errors of posix_ipc and sysv_ipc, as the libraries really raise them, get their errno back."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Iterator

import posix_ipc
import pytest
import sysv_ipc

from orchestra.kernel.borrowed import errno_restored


def number_of(call: Callable[[], object], refused: int = errno.EACCES) -> int | None:
    with pytest.raises(OSError) as caught, errno_restored(refused):
        call()
    return caught.value.errno


@pytest.fixture
def taken(ipc_name: Callable[[], str]) -> Iterator[str]:
    """A name under which a queue, a segment and a semaphore exist."""
    name = ipc_name()
    posix_ipc.MessageQueue(name, posix_ipc.O_CREX, max_messages=1, max_message_size=8).close()
    posix_ipc.SharedMemory(name, posix_ipc.O_CREX).close_fd()
    posix_ipc.Semaphore(name, posix_ipc.O_CREX).close()
    yield name
    posix_ipc.unlink_message_queue(name)
    posix_ipc.unlink_shared_memory(name)
    posix_ipc.unlink_semaphore(name)


@pytest.mark.parametrize("kind", [posix_ipc.MessageQueue, posix_ipc.SharedMemory, posix_ipc.Semaphore])
def test_existing_and_missing_names(kind: Callable[..., object], taken: str) -> None:
    assert number_of(lambda: kind(taken, posix_ipc.O_CREX)) == errno.EEXIST
    assert number_of(lambda: kind(taken + ".no")) == errno.ENOENT


@pytest.mark.parametrize(
    "unlink", [posix_ipc.unlink_message_queue, posix_ipc.unlink_shared_memory, posix_ipc.unlink_semaphore]
)
def test_unlinking_what_is_not_there(unlink: Callable[[str], None], ipc_name: Callable[[], str]) -> None:
    assert number_of(lambda: unlink(ipc_name())) == errno.ENOENT
    assert number_of(lambda: unlink("/" + "n" * 300)) in (errno.ENAMETOOLONG, errno.ENOENT)


def test_parameters_out_of_range(ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    assert number_of(lambda: posix_ipc.Semaphore(name, posix_ipc.O_CREX, initial_value=2**31)) == errno.EINVAL
    assert number_of(lambda: posix_ipc.MessageQueue(name, posix_ipc.O_CREX, max_messages=2**30)) == errno.EINVAL


def test_system_v_keys_and_ids() -> None:
    key = secrets.randbits(31) | 1
    assert number_of(lambda: sysv_ipc.MessageQueue(key)) == errno.ENOENT
    queue = sysv_ipc.MessageQueue(key, sysv_ipc.IPC_CREX)
    try:
        assert number_of(lambda: sysv_ipc.MessageQueue(key, sysv_ipc.IPC_CREX)) == errno.EEXIST
    finally:
        queue.remove()
    gone = queue.id
    removals = (sysv_ipc.remove_message_queue, sysv_ipc.remove_shared_memory, sysv_ipc.remove_semaphore)
    assert number_of(lambda: removals[0](gone)) == errno.ENOENT
    for remove in removals[1:]:
        assert number_of(lambda remove=remove: remove(2**31 - 1)) == errno.ENOENT  # type: ignore[misc]


def test_a_refusal_is_what_the_caller_says_it_is() -> None:
    def refuse() -> None:
        raise sysv_ipc.PermissionsError("no")

    assert number_of(refuse) == errno.EACCES
    assert number_of(refuse, errno.EPERM) == errno.EPERM


@pytest.mark.parametrize(
    ("raised", "number"),
    [
        (OSError("This process already has the maximum number of files open"), errno.EMFILE),
        (OSError("The system limit on the total number of open files has been reached"), errno.ENFILE),
        (OSError("Insufficient space for a new queue"), errno.ENOSPC),
        (OSError("The system limit for message queues has been reached"), errno.ENOSPC),
        (ValueError("The name is too long"), errno.ENAMETOOLONG),
        (MemoryError("Not enough memory"), errno.ENOMEM),
        (posix_ipc.BusyError("words nobody foresaw"), 0),
        (OSError(errno.EIO, "Input/output error"), errno.EIO),
    ],
)
def test_words_that_are_hard_to_provoke(raised: Exception, number: int) -> None:
    def fail() -> None:
        raise raised

    assert number_of(fail) == number


def test_other_exceptions_pass() -> None:
    with pytest.raises(KeyError), errno_restored():
        raise KeyError("x")
    with pytest.raises(KeyboardInterrupt), errno_restored():
        raise KeyboardInterrupt
