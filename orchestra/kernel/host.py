"""Which host and which namespace we are in, and what the kernel says about itself in /proc/sys."""

from __future__ import annotations

import os
from functools import cache

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@cache
def boot_id() -> str:
    """Return the id that the kernel makes up at each boot; "" where /proc does not show it."""
    try:
        with open(_BOOT_ID, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def ipc_namespace() -> int:
    """Return the inode of this process's IPC namespace (not cached: unshare changes it); 0 when not shown."""
    return ipc_namespace_of("self") or 0


def ipc_namespace_of(pid: int | str, root: str = "/proc") -> int | None:
    """Return the inode of a process's IPC namespace, None when we may not look or it is gone."""
    try:
        return os.stat(f"{root}/{pid}/ns/ipc").st_ino
    except OSError:
        return None


def sysctl(name: str, root: str = "/proc") -> str | None:
    """Return the text of a kernel setting, e.g. `fs.mqueue.msg_max`; None when it cannot be read."""
    try:
        with open(f"{root}/sys/{name.replace('.', '/')}", encoding="utf-8") as file:
            return " ".join(file.read().split())
    except OSError:
        return None


def sysctl_number(name: str, index: int = 0, root: str = "/proc") -> int | None:
    """Return one number of a setting; `kernel.sem` holds four."""
    words = (sysctl(name, root) or "").split()
    return int(words[index]) if len(words) > index and words[index].isdigit() else None


def capabilities(root: str = "/proc") -> int | None:
    """Return this process's effective capabilities as bits by their numbers, capabilities(7); None when not shown."""
    try:
        with open(f"{root}/self/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("CapEff:"):
                    return int(line.split()[1], 16)
    except OSError:
        return None
    return None


def has_capability(number: int, root: str = "/proc") -> bool:
    """Whether a capability (capabilities(7)) is in this process's effective set."""
    return bool((capabilities(root) or 0) >> number & 1)
