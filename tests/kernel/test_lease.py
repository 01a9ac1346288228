"""A lease tells whether anybody has a file open or mapped, without a look at any process."""

from __future__ import annotations

import mmap
import os
import socket
from collections.abc import Callable

import pytest

from orchestra.kernel.lease import is_held
from tests.conformance.worlds import holding, in_child


@pytest.fixture
def path(ipc_name: Callable[[], str]):  # type: ignore[no-untyped-def]
    path = "/dev/shm" + ipc_name()
    with open(path, "wb") as file:
        file.write(bytes(4096))
    yield path
    os.unlink(path)


def held(path: str) -> bool | None:
    found = os.stat(path)
    return is_held(path, found.st_dev, found.st_ino)


def test_nobody_holds_it_and_it_stays_as_it_was(path: str) -> None:
    before = os.stat(path)
    assert held(path) is False
    after = os.stat(path)
    assert (after.st_mtime_ns, after.st_ctime_ns, after.st_size) == (before.st_mtime_ns, before.st_ctime_ns, 4096)
    assert held(path) is False


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
def test_a_descriptor_holds_it(path: str, flags: int) -> None:
    fd = os.open(path, flags)
    assert held(path) is True
    os.close(fd)
    assert held(path) is False


def test_a_mapping_of_another_process_holds_it_when_the_descriptor_is_closed(path: str) -> None:
    def hold() -> mmap.mmap:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)

    with holding(hold):
        assert held(path) is True
    assert held(path) is False


def test_a_descriptor_under_way_in_a_socket_holds_it(path: str) -> None:
    """No pass over /proc could see that."""
    one, other = socket.socketpair()
    with one, other:
        fd = os.open(path, os.O_RDONLY)
        socket.send_fds(one, [b"x"], [fd])
        os.close(fd)
        assert held(path) is True
    assert held(path) is False


def test_another_file_of_that_name_is_no_answer(path: str) -> None:
    assert is_held(path, os.stat(path).st_dev, 1) is None
    assert is_held(path + ".none", 1, 1) is None


@pytest.mark.root
def test_somebody_elses_file_is_no_answer(path: str) -> None:
    os.chmod(path, 0o644)
    assert in_child(lambda: held(path), as_nobody=True) is None
