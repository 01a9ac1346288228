"""Which limits a private IPC namespace must have for the objects of a plan. Pure.

A new IPC namespace begins with the kernel's own defaults, whatever the host has set; only what they do not allow is
raised, since not every kernel lets an ordinary user do that.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestra.kinds import Family, Kind
from orchestra.runplan import ObjectPlan

# Defaults as in include/linux/ipc_namespace.h and the msg.h, sem.h and shm.h of include/uapi/linux.
_MSG_MAX, _MSGSIZE_MAX, _QUEUES_MAX = 10, 8192, 256
_MSGMNB, _MSGMNI, _SHMMNI = 16384, 32000, 4096
_SEMMSL, _SEMMNS, _SEMOPM, _SEMMNI = 32000, 1024000000, 500, 32000
_SPARE = 64  # objects that programs may make beyond those that are declared


def limits_for(objects: Iterable[ObjectPlan]) -> dict[str, int | str]:
    """Return settings by their dotted names, as `kernel.namespaces.make_private_ipc` takes them."""
    made = [item for item in objects if not item.external]
    queues = [item for item in made if (item.family, item.kind) == (Family.POSIX, Kind.QUEUE)]
    sysv = {kind: [item for item in made if (item.family, item.kind) == (Family.SYSV, kind)] for kind in Kind}
    wanted = {
        "fs.mqueue.msg_max": (max((item.max_messages or 0 for item in queues), default=0), _MSG_MAX),
        "fs.mqueue.msgsize_max": (max((item.message_size or 0 for item in queues), default=0), _MSGSIZE_MAX),
        "fs.mqueue.queues_max": (len(queues) + _SPARE, _QUEUES_MAX),
        "kernel.msgmnb": (max((item.capacity or 0 for item in sysv[Kind.QUEUE]), default=0), _MSGMNB),
        "kernel.msgmni": (len(sysv[Kind.QUEUE]) + _SPARE, _MSGMNI),
        "kernel.shmmni": (len(sysv[Kind.SEGMENT]) + _SPARE, _SHMMNI),
    }
    found: dict[str, int | str] = {name: need for name, (need, default) in wanted.items() if need > default}
    sets = sysv[Kind.SEMAPHORE]
    largest, number = max((len(item.values) for item in sets), default=0), len(sets) + _SPARE
    if largest > _SEMMSL or number > _SEMMNI:
        found["kernel.sem"] = f"{max(largest, _SEMMSL)} {_SEMMNS} {_SEMOPM} {max(number, _SEMMNI)}"
    return found
