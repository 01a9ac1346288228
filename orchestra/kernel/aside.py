"""A name in /dev/shm moved aside, so that what it leads to can be compared while nobody can change that any more.

Between "is it still that object?" and unlink(2) a name can be given to another object. A name of our own cannot: so
the name is moved first (renameat2(2), which replaces nothing), what was caught is compared, and it is removed under
that name; or it gets its name back, when it is another object. For a few microseconds that one is without its name.

The new name says what happened: the old one, a mark, eight random digits. Who is cut off in between leaves it so, and
`put_back_all` gives it the old name again. POSIX queues cannot be renamed.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from contextlib import suppress

from orchestra.kernel import lease, libc
from orchestra.kernel.api import SHM_FOLDER

_MARK = "~orchestra."
_MOVED = re.compile(rf"(.+){re.escape(_MARK)}[0-9a-f]{{8}}", re.DOTALL)
_LONGEST = 255  # bytes of a file's name, NAME_MAX of every file system that matters
# A file system without RENAME_NOREPLACE, a kernel or a filter of system calls without renameat2.
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES)


def move(path: str) -> str | None:
    """Give a file a name of our own beside its old one; return the new path, None where that cannot be done.

    Raises FileNotFoundError when nothing has the name.
    """
    folder, name = os.path.split(path)
    moved = f"{name}{_MARK}{secrets.token_hex(4)}"
    if len(os.fsencode(moved)) > _LONGEST:
        return None
    try:
        libc.rename_exclusively(path, f"{folder}/{moved}")
    except OSError as err:
        if err.errno in _CANNOT:
            return None
        raise
    return f"{folder}/{moved}"


def put_back(moved: str) -> bool:
    """Give back the old name; False when something else has it by now, or there is nothing to name."""
    with suppress(OSError):
        libc.rename_exclusively(moved, original(moved) or moved)
        return True
    return False


def original(moved: str) -> str | None:
    """Return the name or path that was moved aside to this one; None for any other name."""
    found = _MOVED.fullmatch(moved)
    return found[1] if found else None


def put_back_all(folder: str = SHM_FOLDER) -> list[str]:
    """Name again what an interrupted removal left aside, and return the names; what somebody holds is left alone.

    A removal that is under way holds what it moved.
    """
    named: list[str] = []
    try:
        names = [name for name in os.listdir(folder) if _MARK in name]
    except OSError:
        return named
    for name in names:
        path, old = f"{folder}/{name}", original(name)
        if old is None:
            continue
        with suppress(OSError):
            found = os.lstat(path)
            if lease.is_held(path, found.st_dev, found.st_ino) is False and put_back(path):
                named.append(f"{folder}/{old}")
    return named
