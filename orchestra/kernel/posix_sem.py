"""POSIX named semaphores: a 32-byte file `sem.NAME` in /dev/shm. Created here, unlinked by posix_ipc.

sem_open(3) makes `sem.XXXXXX` and links it to its name; a SIGKILL in between leaves a file that nobody can attribute.
So the file is made under its own name and initialised by sem_init(3) in a shared mapping, which writes what sem_open
would. Of other creators the maps show a deleted file although the semaphore lives: match by inode, never by path.
A semaphore has no descriptor to hand on.
"""

from __future__ import annotations

import os
from typing import ClassVar

from orchestra.kernel import libc, nodes
from orchestra.kernel.api import kernel_call
from orchestra.kinds import Access, Family, Handle, Kind, Listing, ObjectRef, Spec, Stat


class PosixSem:
    """Adapter of POSIX semaphores."""

    family: ClassVar[Family] = Family.POSIX
    kind: ClassVar[Kind] = Kind.SEMAPHORE

    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create."""
        path = nodes.shm_path(spec.ref)
        with kernel_call(spec.ref, f"open({path}, O_CREAT|O_EXCL, {spec.mode:#o})"):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | nodes.NOFOLLOW, 0o600)
        return nodes.finished(fd, path, spec, _initialise)

    def open(self, ref: ObjectRef, access: Access, /) -> None:  # noqa: ARG002 the protocol's
        """See Adapter.open. Whatever the access, sem_open(3) needs to read and to write the file."""
        path = nodes.shm_path(ref)
        with kernel_call(ref, f"open({path}, O_RDWR)"):
            os.close(os.open(path, os.O_RDWR | nodes.NOFOLLOW))

    def stat(self, ref: ObjectRef, /) -> Stat | None:
        """See Adapter.stat. Value and waiters only where the file may be read."""
        path = nodes.shm_path(ref)
        found = nodes.stat_path(ref, path)
        if found is None:
            return None
        shown = nodes.stat_from(ref, found)
        return shown._replace(members=1, fields={**shown.fields, **_value(path, found)})

    def remove(self, ref: ObjectRef, /) -> bool:
        """See Adapter.remove. Processes that have it open go on using it."""
        import posix_ipc

        return nodes.unlink_posix(ref, "sem_unlink", posix_ipc.unlink_semaphore)

    def link(self, ref: ObjectRef, name: str, /) -> ObjectRef:
        """See Linkable.link."""
        target = ObjectRef(self.family, self.kind, name=name)
        return nodes.link_path(ref, nodes.shm_path(ref), nodes.shm_path(target), target)

    def list(self) -> Listing:
        """All files `sem.*` in this mount namespace's /dev/shm."""
        return nodes.list_shm(self.kind, self.stat)


def _initialise(fd: int, spec: Spec) -> None:
    value = spec.values[0] if spec.values else 0
    with kernel_call(spec.ref, f"posix_fallocate({libc.SEM_SIZE})"):
        os.posix_fallocate(fd, 0, libc.SEM_SIZE)
    with kernel_call(spec.ref, f"sem_init({spec.name}, {value})"):
        libc.sem_init(fd, value)


def _value(path: str, seen: libc.FileStat) -> dict[str, int]:
    """Read the count as sem_getvalue(3) does: struct new_sem of 64-bit glibc has it in the first word, waiters next.

    Opening the file leaves the semaphore alone; sem_open would map it. An empty or cut file has no value.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | nodes.NOFOLLOW)
    except OSError:
        return {}
    try:
        data = os.read(fd, 8)
        if len(data) < 8 or os.fstat(fd).st_ino != seen.st_ino:
            return {}
    finally:
        os.close(fd)
    return {"sem_getvalue": int.from_bytes(data[:4], "little"), "nwaiters": int.from_bytes(data[4:], "little")}
