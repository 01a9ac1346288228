"""How near this host is to the limits that people meet as ENOSPC, and who removes IPC objects on its own account."""

from __future__ import annotations

import os
from glob import glob
from typing import NamedTuple

from orchestra.kernel import host
from orchestra.kernel.api import SHM_FOLDER

_LOGIND_FILES = ("/etc/systemd/logind.conf", "/usr/lib/systemd/logind.conf")
_LOGIND_FOLDERS = ("/usr/lib/systemd/logind.conf.d", "/run/systemd/logind.conf.d", "/etc/systemd/logind.conf.d")
_FIRST_ORDINARY_UID = 1000


class Pressure(NamedTuple):
    """Limits of this IPC namespace and of /dev/shm; None = not readable. Used and total are bytes, or numbers."""

    queues_max: int | None = None
    msgmni: int | None = None
    shmmni: int | None = None
    semmni: int | None = None
    shm_bytes: tuple[int, int] | None = None  # used, total
    shm_inodes: tuple[int, int] | None = None
    ends_with_users: bool = False  # kernel.shm_rmid_forced: no System V segment outlives its users
    logind_removes: bool = False  # systemd-logind removes this user's objects when their last session ends


def read(root: str = "/proc", shm: str = SHM_FOLDER) -> Pressure:
    """Read all of it. Nothing is raised."""
    space = _space(shm)
    return Pressure(
        queues_max=host.sysctl_number("fs.mqueue.queues_max", root=root),
        msgmni=host.sysctl_number("kernel.msgmni", root=root),
        shmmni=host.sysctl_number("kernel.shmmni", root=root),
        semmni=host.sysctl_number("kernel.sem", 3, root=root),
        shm_bytes=space[0],
        shm_inodes=space[1],
        ends_with_users=host.sysctl_number("kernel.shm_rmid_forced", root=root) == 1,
        logind_removes=os.getuid() >= _FIRST_ORDINARY_UID and os.path.isdir("/run/systemd/seats") and remove_ipc(),
    )


def remove_ipc(files: tuple[str, ...] = _LOGIND_FILES, folders: tuple[str, ...] = _LOGIND_FOLDERS) -> bool:
    """Whether systemd-logind is set to remove IPC objects (RemoveIPC= of logind.conf(5), yes without a setting)."""
    main = [path for path in files if os.path.exists(path)][:1]
    setting = True
    for path in [
        *main,
        *sorted((path for folder in folders for path in glob(f"{folder}/*.conf")), key=os.path.basename),
    ]:
        for line in _lines(path):
            name, equals, value = line.strip().partition("=")
            if equals and name.strip() == "RemoveIPC":
                setting = value.strip().lower() not in ("no", "false", "0", "off", "n", "f")
    return setting


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readlines()
    except OSError:
        return []


def _space(folder: str) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Return used and total of bytes and of inodes; None for what has no limit."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None, None
    size = (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_blocks * found.f_frsize
    inodes = found.f_files - found.f_ffree, found.f_files
    return size if found.f_blocks else None, inodes if found.f_files else None
