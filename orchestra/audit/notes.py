"""PURE: what else helps to read an audit: limits that are nearly reached, and who removes objects unasked.

Users meet ENOSPC, EMFILE or SIGBUS, never the word "leak"; and an object that is gone was not always removed by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestra.kinds import Family, Kind

if TYPE_CHECKING:
    from orchestra.kernel.pressure import Pressure

NEARLY = 0.8  # of a limit
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def notes(used: Mapping[tuple[Family, Kind], int], found: Pressure, *, ours: bool) -> tuple[str, ...]:
    """Return the notes in words. `used` counts objects of this place, `ours` says that some of them are on record."""
    words = []
    for (family, kind), limit, name in (
        ((Family.POSIX, Kind.QUEUE), found.queues_max, "POSIX queues (fs.mqueue.queues_max)"),
        ((Family.SYSV, Kind.QUEUE), found.msgmni, "System V queues (kernel.msgmni)"),
        ((Family.SYSV, Kind.SEGMENT), found.shmmni, "System V segments (kernel.shmmni)"),
        ((Family.SYSV, Kind.SEMAPHORE), found.semmni, "System V semaphore sets (kernel.sem)"),
    ):
        number = used.get((family, kind), 0)
        if limit and number >= NEARLY * limit:
            words.append(f"{number} of {limit} {name} are in use: making more fails with ENOSPC")
    words += _space(found)
    if found.ends_with_users:
        words.append("kernel.shm_rmid_forced is 1: a System V segment ends with the last process that uses it")
    if ours and found.logind_removes:
        words.append(
            "systemd-logind removes all IPC objects of this user, used or not, when the last session ends "
            "(RemoveIPC=no in logind.conf ends that)"
        )
    return tuple(words)


def _space(found: Pressure) -> list[str]:
    words = []
    if found.shm_bytes is not None and found.shm_bytes[0] >= NEARLY * found.shm_bytes[1]:
        in_use, total = map(_size, found.shm_bytes)
        words.append(f"{in_use} of {total} on /dev/shm are in use, unlinked files too: a touch beyond ends with SIGBUS")
    if found.shm_inodes is not None and found.shm_inodes[0] >= NEARLY * found.shm_inodes[1]:
        words.append(f"{found.shm_inodes[0]} of {found.shm_inodes[1]} files on /dev/shm are in use")
    return words


def _size(number: int) -> str:
    unit, rest = 0, float(number)
    while rest >= 1024 and unit < len(_UNITS) - 1:
        unit, rest = unit + 1, rest / 1024
    return f"{rest:.3g} {_UNITS[unit]}"
