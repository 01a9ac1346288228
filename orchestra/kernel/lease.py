"""Does anybody at all have a file of /dev/shm open or mapped? A write lease tells, where a pass over /proc cannot.

The kernel grants F_SETLEASE(F_WRLCK) only while the opener's is the one reference (fcntl(2), "Leases"): holders in
other namespaces, processes that may not be looked into and descriptors under way in a socket count as well. It is not
invisible: an open with O_NONBLOCK that falls between the two calls fails with EAGAIN. So it is asked about few files,
never about queues, whose openers often do not want to block.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from contextlib import suppress

from orchestra.kernel import nodes


def is_held(path: str, dev: int | None, ino: int | None) -> bool | None:
    """Return whether anybody holds the very file (dev, ino) at `path`; None when that cannot be told.

    None for: another file there by now, somebody else's file, a file system without leases. Needs the file's owner or
    CAP_LEASE. Leaves the file as it was.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | nodes.NOFOLLOW)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != (dev, ino):
            return None
        granted = take(fd)
        if granted:
            give_back(fd)
        return None if granted is None else not granted
    finally:
        os.close(fd)


def take(fd: int) -> bool | None:
    """Return whether a write lease was granted: False when somebody has the file open, None when none can be had here.

    Whoever opens the file from now on makes the kernel send us SIGURG, which is ignored by default, and waits.
    """
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as err:
        return False if err.errno == errno.EAGAIN else None
    return True


def give_back(fd: int) -> None:
    """Let whoever waits for the file go on."""
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
