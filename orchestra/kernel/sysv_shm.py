"""System V shared memory. Made by shmget directly; sysv_ipc attaches to fill it, and removes it.

sysv_ipc's own constructor attaches right after shmget, with a blank in every byte, and where the attach fails it
leaves a segment behind that nobody has the id of. Stat never attaches: that would move nattch, lpid and atime.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import ClassVar

from orchestra.kernel import libc, nodes, procfs, sysv
from orchestra.kernel.api import kernel_call
from orchestra.kernel.borrowed import errno_restored
from orchestra.kinds import Handle, Kind, Spec


class SysvShm(sysv.SysvAdapter):
    """Adapter of System V segments. The kernel reserves their memory at shmget, and zeroes it."""

    kind: ClassVar[Kind] = Kind.SEGMENT
    prefix: ClassVar[str] = "shm"
    stat_any: ClassVar[int] = libc.SHM_STAT_ANY

    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create."""
        key, size = spec.key or libc.IPC_PRIVATE, spec.size or 0
        flags = libc.IPC_CREAT | libc.IPC_EXCL | sysv.CREATION_MODE
        words = "IPC_CREAT|IPC_EXCL"
        if spec.huge_pages is not None:
            flags |= libc.SHM_HUGETLB | libc.huge_flag(spec.huge_pages)
            words += f"|SHM_HUGETLB, {spec.huge_pages}"
        with kernel_call(spec.ref, f"shmget({key:#x}, {size}, {words})"):
            number = libc.shmget(key, size, flags)
        with self.undone_on_error(number):
            if spec.lock:
                with kernel_call(spec.ref, f"shmctl({number}, SHM_LOCK)"):
                    libc.shm_lock(number)
            _fill(spec, number)
            with kernel_call(spec.ref, f"shmctl({number}, IPC_SET, mode {spec.mode:#o})"):
                handle = self.handle(number)
                owned = sysv.ownership(spec, "shm", libc.shm_stat(number)[1])
                if owned is not None:
                    libc.shm_set(number, **owned)
                return handle

    def _get(self, key: int) -> int:
        return libc.shmget(key, 0, 0)

    def _ctl_stat(self, number: int, command: int) -> tuple[int, libc.Fields]:
        return libc.shm_stat(number, command)

    def _ctl_remove(self, number: int) -> None:
        import sysv_ipc

        with errno_restored(refused=errno.EPERM):
            sysv_ipc.remove_shared_memory(number)

    def _ids(self) -> Sequence[int]:
        return [row.id for row in procfs.sysv_segments()]


def _fill(spec: Spec, number: int) -> None:
    if spec.fill is None:
        return
    import sysv_ipc

    with kernel_call(spec.ref, f"shmat({number})"), errno_restored():
        segment = sysv_ipc.attach(number)
    try:
        offset = 0
        for chunk in nodes.fill_chunks(spec):
            segment.write(chunk, offset)
            offset += len(chunk)
    finally:
        segment.detach()
