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
    )


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
