"""System V semaphore sets. Made by semget and SETALL directly (sysv_ipc makes single semaphores), removed by it."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import ClassVar

from orchestra.errors import LimitReached
from orchestra.kernel import libc, procfs, sysv
from orchestra.kernel.api import kernel_call
from orchestra.kernel.borrowed import errno_restored
from orchestra.kinds import Handle, Kind, Spec

VALUE_MAX = 32767  # SEMVMX, include/uapi/linux/sem.h


class SysvSem(sysv.SysvAdapter):
    """Adapter of System V semaphore sets, one value per member."""

    kind: ClassVar[Kind] = Kind.SEMAPHORE
    prefix: ClassVar[str] = "sem"
    stat_any: ClassVar[int] = libc.SEM_STAT_ANY

    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create. All values are set in one call, before anybody else may use the set."""
        key, values = spec.key or libc.IPC_PRIVATE, spec.values or (0,)
        if not all(0 <= value <= VALUE_MAX for value in values):  # an unsigned short would wrap at 65536
            raise LimitReached(f"{spec.ref} has a value outside 0 to {VALUE_MAX}", detail=f"SETALL {list(values)}")
        with kernel_call(spec.ref, f"semget({key:#x}, {len(values)}, IPC_CREAT|IPC_EXCL)"):
            number = libc.semget(key, len(values), libc.IPC_CREAT | libc.IPC_EXCL | sysv.CREATION_MODE)
        with self.undone_on_error(number), kernel_call(spec.ref, f"semctl({number}, SETALL, IPC_SET)"):
            libc.sem_set_values(number, values)
            handle = self.handle(number)
            owned = sysv.ownership(spec, "sem", libc.sem_stat(number)[1])
            if owned is not None:
                libc.sem_set(number, **owned)
            return handle

    def _get(self, key: int) -> int:
        return libc.semget(key, 0, 0)

    def _ctl_stat(self, number: int, command: int) -> tuple[int, libc.Fields]:
        return libc.sem_stat(number, command)

    def _ctl_remove(self, number: int) -> None:
        import sysv_ipc

        with errno_restored(refused=errno.EPERM):
            sysv_ipc.remove_semaphore(number)

    def _ids(self) -> Sequence[int]:
        return [row.id for row in procfs.sysv_sets()]

    def _extra(self, number: int, fields: libc.Fields) -> dict[str, int | str | list[int]]:
        """Values, last operator, and waiters per member, where the set may be read."""
        members = range(fields["sem_nsems"])
        try:
            return {
                "semval": libc.sem_values(number, len(members)),
                "sempid": [libc.sem_query(number, index, libc.GETPID) for index in members],
                "semncnt": [libc.sem_query(number, index, libc.GETNCNT) for index in members],
                "semzcnt": [libc.sem_query(number, index, libc.GETZCNT) for index in members],
            }
        except OSError:  # not readable, or removed meanwhile
            return {}
