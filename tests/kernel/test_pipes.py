"""What only pipes have: two ends, and in a FIFO's case a path that must not be opened just to look."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from orchestra.errors import ObjectGone, PermissionRefused
from orchestra.kernel.pipes import AnonymousPipe, Fifo
from orchestra.kinds import Access, Family, Kind, Spec
from tests.conformance.worlds import in_child


def test_the_handle_holds_the_reading_and_the_writing_end() -> None:
    handle = AnonymousPipe().create(Spec(Family.ANONYMOUS, Kind.PIPE))
    reading, writing = handle.fds
    os.write(writing, b"hello")
    assert os.read(reading, 9) == b"hello"
    assert not os.get_inheritable(reading)
    assert not os.get_inheritable(writing)
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)


@pytest.mark.parametrize("access", [Access.READ, Access.WRITE])
def test_a_new_end_has_just_the_access_asked_for(access: Access) -> None:
    adapter = AnonymousPipe()
    handle = adapter.create(Spec(Family.ANONYMOUS, Kind.PIPE))
    fd = adapter.open(handle.ref, access)
    assert fd is not None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(fd, b"x") if access is Access.READ else os.read(fd, 1)
    for end in (fd, *handle.fds):
        os.close(end)


def test_checking_a_fifo_neither_waits_nor_wakes(tmp_path: Path) -> None:
    handle = Fifo().create(Spec(Family.FIFO, Kind.PIPE, name=str(tmp_path / "fifo")))
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    for access in Access:
        Fifo().open(handle.ref, access)
    assert poll.poll(0) == [], "a writer that came and went would show as a hang-up"
    os.close(reader)
    Fifo().remove(handle.ref)
    with pytest.raises(ObjectGone):
        Fifo().open(handle.ref, Access.READ)


def test_the_permission_of_a_fifo_is_that_of_the_effective_user(tmp_path: Path) -> None:
    def look() -> list[bool]:
        folder = Path("/tmp")
        handle = Fifo().create(Spec(Family.FIFO, Kind.PIPE, name=f"{folder}/orct.{os.getpid()}", mode=0o400))
        allowed = []
        for access in Access:
            try:
                Fifo().open(handle.ref, access)
                allowed.append(True)
            except PermissionRefused:
                allowed.append(False)
        Fifo().remove(handle.ref)
        return allowed

    assert in_child(look, as_nobody=True) == [True, False, False]
