"""System V message queues. Made and removed by sysv_ipc; all fields and the capacity go through msgctl."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import ClassVar

from orchestra.errors import LimitReached
from orchestra.kernel import host, libc, procfs, sysv
from orchestra.kernel.api import kernel_call
from orchestra.kernel.borrowed import errno_restored
from orchestra.kinds import Handle, Kind, Spec


class SysvMq(sysv.SysvAdapter):
    """Adapter of System V queues."""

    kind: ClassVar[Kind] = Kind.QUEUE
    prefix: ClassVar[str] = "msg"
    stat_any: ClassVar[int] = libc.MSG_STAT_ANY

    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create."""
        import sysv_ipc

        key = spec.key or libc.IPC_PRIVATE
        with kernel_call(spec.ref, f"msgget({key:#x}, IPC_CREAT|IPC_EXCL)"), errno_restored():
            made = sysv_ipc.MessageQueue(libc.signed_key(key), sysv_ipc.IPC_CREX, mode=sysv.CREATION_MODE)
        with self.undone_on_error(made.id):
            with kernel_call(spec.ref, f"msgctl({made.id}, IPC_STAT)"):
                handle = self.handle(made.id)
            _set(spec, made.id)  # last: the final mode may deny even us to look
            return handle

    def _get(self, key: int) -> int:
        return libc.msgget(key, 0)

    def _ctl_stat(self, number: int, command: int) -> tuple[int, libc.Fields]:
        return libc.msg_stat(number, command)

    def _ctl_remove(self, number: int) -> None:
        import sysv_ipc

        with errno_restored(refused=errno.EPERM):
            sysv_ipc.remove_message_queue(number)

    def _ids(self) -> Sequence[int]:
        return [row.id for row in procfs.sysv_queues()]


def _set(spec: Spec, number: int) -> None:
    """Give the queue its capacity, owner and mode in one IPC_SET."""
    with kernel_call(spec.ref, f"msgctl({number}, IPC_STAT)"):
        fields = libc.msg_stat(number)[1]
    capacity = fields["msg_qbytes"] if spec.capacity is None else spec.capacity
    owned = sysv.ownership(spec, "msg", fields)
    if owned is None and capacity == fields["msg_qbytes"]:
        return
    owned = owned or {"uid": fields["msg_perm.uid"], "gid": fields["msg_perm.gid"], "mode": spec.mode}
    call = f"msgctl({number}, IPC_SET, msg_qbytes {capacity}, mode {spec.mode:#o})"
    with kernel_call(spec.ref, call):
        try:
            libc.msg_set(number, **owned, qbytes=capacity)
        except PermissionError as err:  # we made it, so only the capacity can be refused: msgctl(2)
            raise LimitReached(
                f"{spec.ref} asks for a capacity of {capacity} bytes, more than this host allows",
                detail=f"{call} -> EPERM",
                hint=f"kernel.msgmnb is {host.sysctl('kernel.msgmnb')} bytes; more needs CAP_SYS_RESOURCE.",
            ) from err
