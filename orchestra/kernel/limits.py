"""The kernel's limits, this process's share of them, and how much is used: what a whole-file check needs to know."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from orchestra.kernel import host, procfs
from orchestra.kernel.api import SHM_FOLDER
from orchestra.kinds import KernelLimits

_CAP_SYS_RESOURCE = 24
# By their names in a topology file.
RLIMITS = {
    name.removeprefix("RLIMIT_").lower(): value
    for name, value in vars(resource).items()
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
}
_Row = TypeVar("_Row")


def read_limits(root: str = procfs.PROC, shm: str = SHM_FOLDER) -> KernelLimits:
    """Read all limits once. What cannot be read is None; nothing is raised."""
    number = partial(host.sysctl_number, root=root)
    sets = _rows(lambda: procfs.sysv_sets(root))
    return KernelLimits(
        mq_msg_max=number("fs.mqueue.msg_max"),
        mq_msgsize_max=number("fs.mqueue.msgsize_max"),
        mq_queues_max=number("fs.mqueue.queues_max"),
        rlimit_msgqueue=_rlimit_msgqueue(),
        msgmax=number("kernel.msgmax"),
        msgmnb=number("kernel.msgmnb"),
        msgmni=number("kernel.msgmni"),
        shmmax=number("kernel.shmmax"),
        shmmni=number("kernel.shmmni"),
        shmall_pages=number("kernel.shmall"),
        semmsl=number("kernel.sem", 0),
        semmns=number("kernel.sem", 1),
        semmni=number("kernel.sem", 3),
        page_size=os.sysconf("SC_PAGE_SIZE"),
        shm_free=_free_bytes(shm),
        shm_mounted=os.path.isdir(shm),
        cap_sys_resource=host.has_capability(_CAP_SYS_RESOURCE, root),
        queues_now=_posix_queues_now(),
        sysv_queues_now=_count(_rows(lambda: procfs.sysv_queues(root))),
        sysv_segments_now=_count(_rows(lambda: procfs.sysv_segments(root))),
        sysv_sets_now=_count(sets),
        sysv_semaphores_now=None if sets is None else sum(row.nsems for row in sets),
        capabilities=host.capabilities(root),
        rlimits={name: _rlimit(number_) for name, number_ in RLIMITS.items()},
        niceness=os.getpriority(os.PRIO_PROCESS, 0),
        nr_open=number("fs.nr_open"),
        processors=_processors(),
        huge_pages=_huge_pages(),
        hugetlb_shm_group=number("vm.hugetlb_shm_group"),
    )


def _rlimit(which: int) -> tuple[int, int]:
    soft, hard = resource.getrlimit(which)
    return soft, hard  # resource.RLIM_INFINITY is -1


def _processors(path: str = "/sys/devices/system/cpu/online") -> frozenset[int] | None:
    try:
        with open(path, encoding="utf-8") as file:
            spans = [span.partition("-") for span in file.read().strip().split(",")]
        return frozenset(cpu for first, _, last in spans for cpu in range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        return None


def _huge_pages(folder: str = "/sys/kernel/mm/hugepages") -> dict[int, int]:
    """Return how many huge pages could be had now, by their size in bytes: free ones, and those made on demand."""
    found: dict[int, int] = {}
    try:
        for entry in os.listdir(folder):
            size = int(entry.removeprefix("hugepages-").removesuffix("kB")) * 1024
            free, reserved, more = (
                _number_in(f"{folder}/{entry}/{name}")
                for name in ("free_hugepages", "resv_hugepages", "nr_overcommit_hugepages")
            )
            found[size] = free - reserved + more
    except (OSError, ValueError):
        pass
    return found


def _number_in(path: str) -> int:
    with open(path, encoding="utf-8") as file:
        return int(file.read())


def _rows(read: Callable[[], Sequence[_Row]]) -> Sequence[_Row] | None:
    try:
        return read()
    except OSError:
        return None


def _count(rows: Sequence[object] | None) -> int | None:
    return None if rows is None else len(rows)


def _posix_queues_now() -> int | None:
    """Named queues only: unlinked but open ones count for the kernel too, and cannot be counted."""
    from orchestra.kernel.posix_mq import queue_folder

    try:
        with queue_folder() as folder:
            return len(os.listdir(folder))
    except OSError:
        return None


def _rlimit_msgqueue() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    return None if soft == resource.RLIM_INFINITY else soft


def _free_bytes(folder: str) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    if not found.f_blocks:  # a tmpfs without a size limit shows 0 blocks
        return None
    return found.f_bavail * found.f_frsize
