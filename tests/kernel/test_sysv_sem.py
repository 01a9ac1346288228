"""What only System V sets have: members, waiters on each, and values that are set all at once."""

from __future__ import annotations

import os
import secrets
import select

import sysv_ipc

from orchestra.kernel.sysv_sem import SysvSem
from orchestra.kinds import Family, Kind, Spec, Stat
from tests.conformance.worlds import holding

ADAPTER = SysvSem()


def test_waiters_and_the_last_operator_are_shown_per_member() -> None:
    key = secrets.randbits(31) | 1
    handle = ADAPTER.create(Spec(Family.SYSV, Kind.SEMAPHORE, key=key, values=(0, 5)))

    def look() -> Stat:
        found = ADAPTER.stat(handle.ref)
        assert found is not None
        return found

    try:
        assert look().fields["sem_otime"] == 0, "no semop yet: the test for a set that is still being made"
        assert look().fields["sempid"] == [os.getpid(), os.getpid()]
        poll = select.poll()
        with holding(lambda: sysv_ipc.Semaphore(key).acquire(), blocks=True):
            shown = any(look().fields["semncnt"] == [1, 0] or poll.poll(10) for _ in range(1000))
            assert shown
            assert look().fields["semzcnt"] == [0, 0]
            assert look().fields["semval"] == [0, 5]
        assert (look().members, look().size) == (2, None)
    finally:
        ADAPTER.remove(handle.ref)


def test_a_set_without_values_has_one_member_of_zero() -> None:
    handle = ADAPTER.create(Spec(Family.SYSV, Kind.SEMAPHORE, key=0))
    try:
        found = ADAPTER.stat(handle.ref)
        assert found is not None
        assert found.fields["semval"] == [0]
    finally:
        ADAPTER.remove(handle.ref)
