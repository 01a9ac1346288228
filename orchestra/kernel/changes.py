"""Hearing that a file grew, from the kernel and without polling: inotify(7), one folder and one file in it.

What happened is not told, only that something did: who hears of it looks for himself. So it does not matter that
events are merged, or that some are lost when too many wait.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final, Self

from orchestra.kernel import libc

IN_MODIFY, IN_MOVED_TO, IN_CREATE = 0x2, 0x80, 0x100  # include/uapi/linux/inotify.h
_ENOUGH: Final = 64 * 1024


class Changes:
    """Readable (`fileno`) once a file was made in or moved into the folder, or the watched file was written to.

    Raises OSError: EMFILE when this user has too many of these (fs.inotify.max_user_instances), ENOENT without folder.
    """

    def __init__(self, folder: str) -> None:
        self._fd = libc.inotify_open()
        self._file: int | None = None  # number of the file's watch
        try:
            libc.inotify_watch(self._fd, folder, IN_CREATE | IN_MOVED_TO)
        except OSError:
            os.close(self._fd)
            raise

    def watch(self, fd: int | None) -> None:
        """From now on watch the file that is open as `fd`, and no other. Raises OSError."""
        before, self._file = self._file, None
        if fd is not None:
            self._file = libc.inotify_watch(self._fd, f"/proc/self/fd/{fd}", IN_MODIFY)
        if before is not None and before != self._file:
            with suppress(OSError):  # a removed file took its watch with it
                libc.inotify_forget(self._fd, before)

    def take(self) -> None:
        """Take what has been told so far."""
        with suppress(BlockingIOError):
            while os.read(self._fd, _ENOUGH):
                continue

    def fileno(self) -> int:
        """Return the descriptor, for poll."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor; all watches end."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
