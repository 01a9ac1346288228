"""What is on the host, told by tools that are not ours: ls, ipcs, and posix_ipc for queues."""

from __future__ import annotations

import os
import subprocess

import posix_ipc

from orchestra.kinds import Family, Kind

_LETTER = {Kind.QUEUE: "-q", Kind.SEGMENT: "-m", Kind.SEMAPHORE: "-s"}


def exists(family: Family, kind: Kind, name: str) -> bool:
    """Whether something has this POSIX name or path."""
    if family is not Family.POSIX:
        return os.path.lexists(name)
    if kind is not Kind.QUEUE:
        prefix = "sem." if kind is Kind.SEMAPHORE else ""
        return prefix + name[1:] in os.listdir("/dev/shm")
    try:
        posix_ipc.MessageQueue(name).close()
    except posix_ipc.ExistentialError:
        return False
    except posix_ipc.PermissionsError:
        return True
    return True


def sysv(kind: Kind) -> dict[int, int]:
    """Return the System V objects of a kind: id to unsigned key, as `ipcs` shows them."""
    done = subprocess.run(["ipcs", _LETTER[kind]], capture_output=True, text=True, check=True, timeout=20)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("0x")]
    return {int(row[1]): int(row[0], 16) for row in rows}
