"""Finding what has no name through the descriptors of processes."""

from __future__ import annotations

import os

import pytest

from orchestra.errors import ObjectGone
from orchestra.kernel import nameless
from orchestra.kinds import Family, Kind, ObjectRef
from tests.conformance.worlds import holding, in_child


def pipe_ref(fd: int) -> ObjectRef:
    return ObjectRef(Family.ANONYMOUS, Kind.PIPE, id=os.fstat(fd).st_ino)


def test_a_pipe_that_many_hold_is_listed_once() -> None:
    reading, writing = os.pipe()
    ref = pipe_ref(reading)
    with holding(lambda: None):
        listing = nameless.list_all(Family.ANONYMOUS, Kind.PIPE, "pipe:")
        assert [seen.ref for seen in listing.stats].count(ref) == 1
    os.close(reading)
    os.close(writing)
    assert nameless.stat_of(ref, "pipe:") is None


def test_a_new_end_is_opened_with_the_flags_asked_for() -> None:
    reading, writing = os.pipe()
    fd = nameless.open_any(pipe_ref(reading), "pipe:", os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, b"x")
    assert os.read(reading, 2) == b"x"
    ref = pipe_ref(reading)
    for end in (fd, reading, writing):
        os.close(end)
    with pytest.raises(ObjectGone):
        nameless.open_any(ref, "pipe:", os.O_RDONLY)


@pytest.mark.root
def test_processes_that_may_not_be_looked_into_make_the_list_incomplete() -> None:
    def look() -> list[object]:
        listing = nameless.list_all(Family.ANONYMOUS, Kind.PIPE, "pipe:")
        return [listing.complete, listing.why]

    complete, why = in_child(look, as_nobody=True)
    assert complete is False
    assert "processes of other users" in why
