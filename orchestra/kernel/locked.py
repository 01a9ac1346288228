"""Segments that are kept in memory for as long as this process maps them.

A lock on memory belongs to the process that asks for it (mlock(2)), whereas `lock: true` is about an object. For a
System V segment the kernel has a lock on the object itself, which `sysv_shm` takes. For everything else somebody must
stay and hold it: the supervisor maps the segment, locks that, and lets go when the run ends. A page that is locked by
one process is in memory for all.
"""

from __future__ import annotations

import mmap
import os

from orchestra.kernel import libc
from orchestra.kernel.api import kernel_call
from orchestra.kinds import ObjectRef


class LockedSegments:
    """What this process keeps in memory, by key."""

    def __init__(self) -> None:
        self._mappings: dict[str, mmap.mmap] = {}

    def keep(self, key: str, ref: ObjectRef, fd: int) -> None:
        """Lock the whole of a segment that is open for reading and writing; the descriptor may be closed afterwards.

        An earlier one of the same key is let go. Raises LimitReached over RLIMIT_MEMLOCK.
        """
        self.release(key)
        size = os.fstat(fd).st_size
        with kernel_call(ref, f"mmap({size})"):
            mapping = mmap.mmap(fd, size)
        try:
            with kernel_call(ref, f"mlock({size} bytes)"):
                libc.mlock(mapping)
        except BaseException:
            mapping.close()
            raise
        self._mappings[key] = mapping

    def release(self, key: str) -> None:
        """Let go of one; nothing happens when it is not held."""
        mapping = self._mappings.pop(key, None)
        if mapping is not None:
            mapping.close()

    def close(self) -> None:
        """Let go of all."""
        for key in list(self._mappings):
            self.release(key)
