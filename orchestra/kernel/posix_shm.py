"""POSIX shared memory: a file in /dev/shm. Created by posix_ipc, allocated and filled here.

posix_ipc only opens, exclusively and with size 0: its own sizing would truncate (an existing object also to less) and
leave pages unallocated. O_CREAT never meets an existing object, which fs.protected_regular would refuse even to root.
"""

from __future__ import annotations

from typing import ClassVar

from orchestra.kernel import nodes
from orchestra.kernel.api import kernel_call
from orchestra.kernel.borrowed import errno_restored
from orchestra.kinds import Access, Family, Handle, Kind, Listing, ObjectRef, Spec, Stat


class PosixShm:
    """Adapter of POSIX segments."""

    family: ClassVar[Family] = Family.POSIX
    kind: ClassVar[Kind] = Kind.SEGMENT

    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create."""
        import posix_ipc

        path = nodes.shm_path(spec.ref)
        with kernel_call(spec.ref, f"shm_open({spec.name}, O_CREAT|O_EXCL, {spec.mode:#o})"), errno_restored():
            # The mode is narrow until the owner is right.
            fd = posix_ipc.SharedMemory(spec.name, posix_ipc.O_CREX, mode=0o600).fd
        return nodes.finished(fd, path, spec, nodes.allocate, nodes.fill)

    def open(self, ref: ObjectRef, access: Access, /) -> int | None:
        """See Adapter.open. Write access is read-write: mmap of a write-only descriptor is refused."""
        return nodes.open_path(ref, nodes.shm_path(ref), access)

    def stat(self, ref: ObjectRef, /) -> Stat | None:
        """See Adapter.stat."""
        found = nodes.stat_path(ref, nodes.shm_path(ref))
        return nodes.stat_from(ref, found) if found else None

    def remove(self, ref: ObjectRef, /) -> bool:
        """See Adapter.remove. Processes that have it open or mapped keep it."""
        import posix_ipc

        return nodes.unlink_posix(ref, "shm_unlink", posix_ipc.unlink_shared_memory)

    def link(self, ref: ObjectRef, name: str, /) -> ObjectRef:
        """See Linkable.link."""
        target = ObjectRef(self.family, self.kind, name=name)
        return nodes.link_path(ref, nodes.shm_path(ref), nodes.shm_path(target), target)

    def list(self) -> Listing:
        """All segments in this mount namespace's /dev/shm; folders in it are not POSIX objects."""
        return nodes.list_shm(self.kind, self.stat)
