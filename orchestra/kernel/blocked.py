"""Whether a process is blocked on one IPC object, by what its threads wait for in the kernel (proc_pid_syscall(5)).

A call says what it waits on by its first argument: a System V id, a descriptor, or, for a futex, an address, which a
mapping of the process leads to its object: that is how a POSIX semaphore is waited for, and a mutex in a segment. An
open of a FIFO waits for the other side: there the path is read from the process's memory.
Only processes of the same user can be looked into, or any with CAP_SYS_PTRACE.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from orchestra.kernel import host, procfs
from orchestra.kinds import Family, Identity, Kind

_AT_FDCWD = 0xFFFFFFFFFFFFFF9C  # -100 as an unsigned long; the kernel looks at 32 bits of it
_PATH_MAX = 4096

# How the first argument names the object. Numbers: arch/x86/entry/syscalls/syscall_64.tbl (read, write, readv, writev,
# flock, fcntl, mq_timedsend, mq_timedreceive) and include/uapi/asm-generic/unistd.h, which arm64 uses.
_X86_64 = {
    **dict.fromkeys((0, 1, 19, 20, 73, 72, 242, 243), "descriptor"),
    **dict.fromkeys((69, 70), "queue"),
    **dict.fromkeys((65, 220), "set"),
    202: "address", 2: "path", 257: "path at",
}  # fmt: skip
_GENERIC = {
    **dict.fromkeys((63, 64, 65, 66, 32, 25, 182, 183), "descriptor"),
    **dict.fromkeys((188, 189), "queue"),
    **dict.fromkeys((192, 193), "set"),
    98: "address", 56: "path at",
}  # fmt: skip
_CALLS = _X86_64 if os.uname().machine == "x86_64" else _GENERIC


def is_blocked_on(pid: int, identity: Identity, root: str = procfs.PROC) -> bool:
    """Whether a thread of `pid` waits in a call on the object; False for a process that is gone.

    Raises PermissionError for a process that we may not look into.
    """
    try:
        return any(_is_on(pid, how, arguments, identity, root) for how, arguments in _waits(pid, root))
    except (FileNotFoundError, ProcessLookupError):
        return False


def _waits(pid: int, root: str) -> Iterator[tuple[str, list[int]]]:
    """Yield how and on what each blocked thread waits: the arguments of its call."""
    for thread in os.listdir(f"{root}/{pid}/task"):
        with suppress(FileNotFoundError, ProcessLookupError):
            words = procfs.read_text(f"{root}/{pid}/task/{thread}/syscall").split()
            if len(words) > 2 and words[0].isdigit() and int(words[0]) in _CALLS:
                yield _CALLS[int(words[0])], [int(word, 16) for word in words[1:3]]


def _is_on(pid: int, how: str, arguments: list[int], identity: Identity, root: str) -> bool:
    first = arguments[0]
    if identity.family is Family.SYSV and identity.kind is not Kind.SEGMENT:
        wanted = "queue" if identity.kind is Kind.QUEUE else "set"
        return how == wanted and first == identity.id and host.ipc_namespace_of(pid, root) == identity.ipc_ns
    match how:
        case "descriptor":
            return _leads_to(f"{root}/{pid}/fd/{first}", identity)
        case "address":
            return _is_mapped_at(pid, first, identity, root)
        case "path":
            return identity.family is Family.FIFO and _leads_to(_path(pid, _AT_FDCWD, first, root), identity)
        case "path at":
            return identity.family is Family.FIFO and _leads_to(_path(pid, first, arguments[1], root), identity)
    return False


def _leads_to(path: str, identity: Identity) -> bool:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return (found.st_dev, found.st_ino) == (identity.st_dev, identity.st_ino)


def _is_mapped_at(pid: int, address: int, identity: Identity, root: str) -> bool:
    for mapping in procfs.maps_of(pid, root):
        if mapping.start <= address < mapping.end:
            if identity.family is Family.SYSV:
                is_ours = host.ipc_namespace_of(pid, root) == identity.ipc_ns
                return is_ours and mapping.path.startswith("/SYSV") and mapping.inode == identity.id
            return mapping.inode == identity.st_ino  # btrfs and overlayfs show another device in maps
    return False


def _path(pid: int, folder: int, address: int, root: str) -> str:
    """Return the path that a call of the process was given, as we can open it."""
    with open(f"{root}/{pid}/mem", "rb", buffering=0) as memory:
        text = b""
        while b"\0" not in text and len(text) < _PATH_MAX:  # up to the end of a page: the next may not be there
            position = address + len(text)
            text += os.pread(memory.fileno(), _PATH_MAX - position % _PATH_MAX, position) or b"\0"
    name = os.fsdecode(text.partition(b"\0")[0])
    is_cwd = folder & 0xFFFFFFFF == _AT_FDCWD & 0xFFFFFFFF
    base = f"{root}/{pid}/cwd" if is_cwd else f"{root}/{pid}/fd/{folder}"
    return f"{root}/{pid}/root{name}" if name.startswith("/") else f"{base}/{name}"
