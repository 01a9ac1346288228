"""Objects as the inventory shows them, made of words."""

from __future__ import annotations

import os
from typing import Any

from orchestra.kernel.inventory import Place, Seen
from orchestra.kernel.procfs import SysvQueue, SysvSegment, SysvSet
from orchestra.kinds import Family, Kind

HERE = Place("boot", 4026531839, 27)


def file_seen(name: str = "/board", family: Family = Family.POSIX, kind: Kind = Kind.SEGMENT, **changes: Any) -> Seen:
    """Something in /dev/shm, or a queue."""
    raw = os.stat_result((0o100600, 7, 27, 1, 0, 0, 4096, 0, 1000, 1000))
    return Seen(family, kind, name, None, None, 0o600, 0, 0, 4096, None, 1000.0, 27, 7, raw)._replace(**changes)


def segment_seen(**changes: Any) -> Seen:
    """A System V segment; changes of its row go by the names of SysvSegment."""
    row = SysvSegment(1, 5, 0o600, 56, 100, 0, 0, 0, 0, 0, 0, 0, 0, 1000, 0, 0)._replace(**changes)
    return Seen(
        Family.SYSV, Kind.SEGMENT, None, row.id, row.key, row.mode & 0o777, row.uid, row.gid, row.size, None,
        row.ctime, None, None, row,
    )  # fmt: skip


def queue_seen(**changes: Any) -> Seen:
    """A System V queue."""
    row = SysvQueue(1, 5, 0o600, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1000)._replace(**changes)
    return Seen(
        Family.SYSV, Kind.QUEUE, None, row.id, row.key, row.mode & 0o777, row.uid, row.gid, None, None, row.ctime, None,
        None, row,
    )  # fmt: skip


def set_seen(**changes: Any) -> Seen:
    """A System V semaphore set."""
    row = SysvSet(1, 5, 0o600, 1, 0, 0, 0, 0, 0, 1000)._replace(**changes)
    return Seen(
        Family.SYSV, Kind.SEMAPHORE, None, row.id, row.key, row.mode & 0o777, row.uid, row.gid, None, row.nsems,
        row.ctime, None, None, row,
    )  # fmt: skip
