from __future__ import annotations

import pytest

from orchestra.audit.notes import notes
from orchestra.kernel.pressure import Pressure
from orchestra.kinds import Family, Kind

QUEUES = (Family.POSIX, Kind.QUEUE)


def test_limits_that_are_nearly_reached() -> None:
    assert notes({QUEUES: 79}, Pressure(queues_max=100), ours=False) == ()
    (note,) = notes({QUEUES: 80}, Pressure(queues_max=100), ours=False)
    assert note == "80 of 100 POSIX queues (fs.mqueue.queues_max) are in use: making more fails with ENOSPC"
    full = Pressure(msgmni=1, shmmni=1, semmni=1)
    used = {(Family.SYSV, kind): 1 for kind in (Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE)}
    assert [note.split(" (")[1].split(")")[0] for note in notes(used, full, ours=False)] == [
        "kernel.msgmni", "kernel.shmmni", "kernel.sem",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pressure", "words"),
    [
        (Pressure(shm_bytes=(60 << 20, 64 << 20)), "60 MiB of 64 MiB on /dev/shm are in use"),
        (Pressure(shm_inodes=(90, 100)), "90 of 100 files on /dev/shm are in use"),
        (Pressure(ends_with_users=True), "kernel.shm_rmid_forced is 1"),
    ],
)
def test_what_is_said(pressure: Pressure, words: str) -> None:
    (note,) = notes({}, pressure, ours=False)
    assert words in note


def test_a_session_manager_is_named_only_where_there_is_something_to_lose() -> None:
    removing = Pressure(logind_removes=True)
    assert notes({}, removing, ours=False) == ()
    (note,) = notes({}, removing, ours=True)
    assert "RemoveIPC=no" in note


def test_nothing_to_say() -> None:
    assert notes({}, Pressure(), ours=True) == ()
    assert notes({}, Pressure(queues_max=0, shm_bytes=(1, 100), shm_inodes=(1, 100)), ours=True) == ()
