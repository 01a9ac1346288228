"""Processes as the supervisor and the guardian need them: parentage, names, signals that cannot hit a stranger."""

from __future__ import annotations

import os
import select
import signal

from orchestra.kernel import libc
from orchestra.kernel.libc import is_subreaper, reopen, set_pdeathsig, set_subreaper
from orchestra.kernel.procfs import children, descendants, environ_of, start_time

__all__ = [
    "children", "descendants", "environ_of", "has_exited", "is_running", "is_subreaper", "open_process", "reopen",
    "send_signal", "set_comm", "set_pdeathsig", "set_subreaper", "start_time",
]  # fmt: skip


def set_comm(name: str) -> None:
    """Set the name that `ps -o comm` shows, cut to 15 bytes (PR_SET_NAME)."""
    libc.set_name(name)


def open_process(pid: int, started: int | None = None) -> int | None:
    """Return a pidfd of `pid`, or None when it is gone, or is another process than the one that began at `started`.

    The start time is read after the pidfd exists: from then on the number cannot go to a stranger unseen.
    Raises OSError when there are no descriptors left.
    """
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if started is not None and start_time(pid) != started:
        os.close(fd)
        return None
    return fd


def has_exited(pidfd: int) -> bool:
    """Whether the process has ended, reaped or not. Never blocks."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def send_signal(pidfd: int, number: int) -> bool:
    """Send a signal; False when the process is gone. Raises PermissionError for somebody else's process."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def is_running(pid: int, started: int | None) -> bool:
    """Whether the process that began at `started` still runs; a zombie does not. Without a start time: never."""
    if started is None:
        return False
    fd = open_process(pid, started)
    if fd is None:
        return False
    try:
        return not has_exited(fd)
    finally:
        os.close(fd)
