"""posix_ipc and sysv_ipc raise their own errors, without errno: here they become the OSError of the failed call.

Both libraries are imported where they are used and nowhere else, so that a command that creates nothing loads neither.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

# posix_ipc 1.3.2 (src/posix_ipc_module.c) and sysv_ipc 1.2.0 (src/*.c): exception class, words in it, errno.
# The first line that fits wins; ExistentialError stands for both EEXIST and "not there".
_MEANINGS: tuple[tuple[str, str, int], ...] = (
    ("ExistentialError", "already exists", errno.EEXIST),
    ("ExistentialError", "", errno.ENOENT),
    ("MemoryError", "", errno.ENOMEM),
    ("ValueError", "too long", errno.ENAMETOOLONG),
    ("ValueError", "", errno.EINVAL),
    ("OSError", "This process already has the maximum number of files", errno.EMFILE),
    ("OSError", "total number of open files", errno.ENFILE),
    ("OSError", "Insufficient space for a new queue", errno.ENOSPC),
    ("OSError", "system limit for message queues", errno.ENOSPC),
)


@contextmanager
def errno_restored(refused: int = errno.EACCES) -> Iterator[None]:
    """Turn any exception of the two libraries into the OSError it stands for.

    `refused` is the errno behind a PermissionsError: sysv_ipc uses it for EACCES and, when removing, for EPERM.
    """
    try:
        yield
    except (OSError, ValueError, MemoryError) as err:
        if isinstance(err, OSError) and err.errno:
            raise
        raise _as_oserror(err, refused) from err
    except Exception as err:
        if type(err).__module__ not in ("posix_ipc", "sysv_ipc"):
            raise
        raise _as_oserror(err, refused) from err


def _as_oserror(err: Exception, refused: int) -> OSError:
    name, words = type(err).__name__, str(err)
    if name == "PermissionsError":
        return PermissionError(refused, os.strerror(refused))
    for kind, part, number in _MEANINGS:
        if kind == name and part in words:
            return OSError(number, os.strerror(number))
    return OSError(0, words)
