"""Whether the kernel can hold what a file declares: one rule per limit, the limits passed in as data.

External objects exist already and cost nothing. Objects that are kept may exist already too, so they are not counted
on top of what is there now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from orchestra.errors import Problem
from orchestra.kinds import KernelLimits, OnDown
from orchestra.topology.loader import Loaded
from orchestra.topology.objectmodels import (
    IpcObject,
    Owned,
    PosixQueue,
    PosixSegment,
    PosixSemaphore,
    SysvQueue,
    SysvSegment,
    SysvSemaphore,
)

MESSAGES_HARD_MAX = 65536  # HARD_MSGMAX, HARD_MSGSIZEMAX of include/linux/ipc_namespace.h: no capability lifts them
MESSAGE_SIZE_HARD_MAX = 16 * 2**20
SYS_ADMIN = 21  # capabilities(7): makes namespaces
PRIORITIES = 32768  # MQ_PRIO_MAX
PER_MESSAGE = 48  # struct msg_msg on 64 bit, charged per message against RLIMIT_MSGQUEUE: mqueue_get_inode()
PER_PRIORITY = 48  # struct posix_msg_tree_node, one per message up to MQ_PRIO_MAX

Found = TypeVar("Found", bound=IpcObject)
Limit = Callable[[Loaded, KernelLimits], Iterator[Problem]]


def made(loaded: Loaded, model: type[Found]) -> list[tuple[tuple[str, str], Found]]:
    """Return the objects of one model that this run makes itself; those with errors count for nothing."""
    return [
        ((section, key), item)
        for section, key, item in loaded.topology.objects()
        if isinstance(item, model) and not item.foreign and (section, key) not in loaded.broken
    ]


def in_a_namespace(limits: KernelLimits) -> KernelLimits:
    """Return what bounds a run in an IPC namespace of its own, whose limits are raised to fit it and which is empty.

    A new namespace has the kernel's default of kernel.msgmax, whatever the host has set. Who lacks CAP_SYS_ADMIN gets
    it by way of user namespaces, in which no other capability counts for anything that is the host's.
    """
    if limits.capabilities is not None and not limits.capabilities >> SYS_ADMIN & 1:
        limits = limits._replace(capabilities=0, cap_sys_resource=False)
    return limits._replace(
        mq_msg_max=MESSAGES_HARD_MAX, mq_msgsize_max=MESSAGE_SIZE_HARD_MAX, mq_queues_max=None, queues_now=0,
        msgmax=8192, msgmnb=None, msgmni=None, sysv_queues_now=0, shmmax=None, shmmni=None, shmall_pages=None,
        sysv_segments_now=0, semmsl=None, semmns=None, semmni=None, sysv_sets_now=0, sysv_semaphores_now=0,
        shm_free=None, shm_mounted=True,
    )  # fmt: skip


def sized(number: int) -> str:
    """Return bytes in the largest unit that is exact."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= factor and number % factor == 0:
            return f"{number // factor}{unit}"
    return counted(number, "bytes")


def counted(number: int, what: str) -> str:
    """Return "2 POSIX queues", "1 POSIX queue": the last letter of the plural goes."""
    return f"{number} {what[:-1] if number == 1 else what}"


def posix_queue_shape(loaded: Loaded, limits: KernelLimits) -> Iterator[Problem]:
    """msg_max and msgsize_max bound each queue; CAP_SYS_RESOURCE lifts them to the hard limits."""
    for path, item in made(loaded, PosixQueue):
        yield from _one_bound(
            loaded, (*path, "max_messages"), item.max_messages, "messages", "fs.mqueue.msg_max",
            MESSAGES_HARD_MAX if limits.cap_sys_resource else limits.mq_msg_max,
        )  # fmt: skip
        yield from _one_bound(
            loaded, (*path, "message_size"), item.message_size, "bytes per message", "fs.mqueue.msgsize_max",
            MESSAGE_SIZE_HARD_MAX if limits.cap_sys_resource else limits.mq_msgsize_max,
        )  # fmt: skip


def _one_bound(
    loaded: Loaded, path: tuple[str, ...], wanted: int, what: str, sysctl: str, bound: int | None
) -> Iterator[Problem]:
    if bound is None or wanted <= bound:
        return
    message = f"{wanted} {what}: this kernel allows {bound} ({sysctl})"
    yield loaded.marks.problem(path, "limit", message, f"Use at most {bound}, or let root raise {sysctl}.")


def queue_bytes(item: PosixQueue) -> int:
    """Return what a queue costs of RLIMIT_MSGQUEUE: its whole capacity and the kernel's own records."""
    records = item.max_messages * PER_MESSAGE + min(item.max_messages, PRIORITIES) * PER_PRIORITY
    return records + item.max_messages * item.message_size


def posix_queue_memory(loaded: Loaded, limits: KernelLimits) -> Iterator[Problem]:
    """RLIMIT_MSGQUEUE bounds the sum over all queues of a user, empty or not; no capability lifts it."""
    bound = limits.rlimit_msgqueue
    queues = made(loaded, PosixQueue)
    total = sum(queue_bytes(item) for _, item in queues)
    if bound is None or total <= bound or not queues:
        return
    path, largest = max(queues, key=lambda entry: queue_bytes(entry[1]))
    what = "this queue needs" if len(queues) == 1 else f"{len(queues)} POSIX queues need"
    message = f"{what} {total} bytes, RLIMIT_MSGQUEUE allows {bound} per user (`ulimit -q`)"
    hint = f"Even an empty queue costs max_messages * (message_size + 96) bytes; this one {queue_bytes(largest)}."
    yield loaded.marks.problem(path, "limit", message, hint, key=True)


def sysv_queue_shape(loaded: Loaded, limits: KernelLimits) -> Iterator[Problem]:
    """msgmnb bounds the capacity (CAP_SYS_RESOURCE lifts it), msgmax one message."""
    for path, item in made(loaded, SysvQueue):
        held, bound = item.bytes_held, limits.msgmnb
        if held is not None and bound is not None and held > bound and not limits.cap_sys_resource:
            key = "capacity" if item.capacity is not None else "max_messages"
            message = f"a capacity of {held} bytes: this kernel allows {bound} (kernel.msgmnb)"
            hint = f"Use at most {bound} bytes, or let root raise kernel.msgmnb."
            yield loaded.marks.problem((*path, key), "limit", message, hint)
        if item.message_size is not None:
            yield from _one_bound(
                loaded, (*path, "message_size"), item.message_size, "bytes per message", "kernel.msgmax", limits.msgmax
            )


def sysv_segment_shape(loaded: Loaded, limits: KernelLimits) -> Iterator[Problem]:
    """shmmax bounds one segment, shmall the pages of all."""
    segments = made(loaded, SysvSegment)
    for path, item in segments:
        if item.size is not None and limits.shmmax is not None and item.size > limits.shmmax:
            message = f"{sized(item.size)}: this kernel allows {sized(limits.shmmax)} per segment (kernel.shmmax)"
            yield loaded.marks.problem((*path, "size"), "limit", message)
    pages = sum(-(-(item.size or 0) // limits.page_size) for _, item in segments)
    if segments and limits.shmall_pages is not None and pages > limits.shmall_pages:
        needed = counted(pages, "pages")
        message = f"System V segments of {needed}: this kernel allows {limits.shmall_pages} in all (kernel.shmall)"
        yield loaded.marks.problem(segments[0][0], "limit", message, key=True)


def semaphore_sets(loaded: Loaded, limits: KernelLimits) -> Iterator[Problem]:
    """semmsl bounds one set, semvmx one value, semmns the semaphores of all sets."""
    sets = made(loaded, SysvSemaphore)
    for path, item in sets:
        members = item.members
        if limits.semmsl is not None and len(members) > limits.semmsl:
            message = f"{len(members)} semaphores: this kernel allows {limits.semmsl} in a set (kernel.sem, SEMMSL)"
            yield loaded.marks.problem((*path, "values"), "limit", message)
        for index, value in enumerate(members):
            if value > limits.semvmx:
                at = (*path, "value") if item.values is None else (*path, "values", index)
                message = f"a value of {value}: System V semaphores count up to {limits.semvmx}"
                yield loaded.marks.problem(at, "limit", message, "`family: posix` counts up to 2147483647.")
    total, bound = sum(len(item.members) for _, item in sets), limits.semmns
    there = limits.sysv_semaphores_now or 0
    new = sum(len(item.members) for _, item in sets if item.on_down is OnDown.REMOVE)
    if sets and bound is not None and _too_many(total, new, there, bound):
        message = f"{counted(total, 'semaphores')}{_beside(there)}: this kernel allows {bound} (kernel.sem, SEMMNS)"
        yield loaded.marks.problem(sets[0][0], "limit", message, _AUDIT, key=True)


def _too_many(number: int, new: int, now: int, bound: int) -> bool:
    """Whether so many are too many; `new` of them are made on top of what is there now."""
    return number > bound or (new > 0 and new + now > bound)


def _beside(now: int | None) -> str:
    return f" beside {now} that exist already" if now else ""


_AUDIT = "`orchestra audit` lists what exists, and what was left behind."


def numbers_of_objects(loaded: Loaded, limits: KernelLimits) -> Iterator[Problem]:
    """How many of a kind may exist at once."""
    kinds: tuple[tuple[type[Owned], str, int | None, int | None, str], ...] = (
        (SysvQueue, "System V queues", limits.msgmni, limits.sysv_queues_now, "kernel.msgmni"),
        (SysvSegment, "System V segments", limits.shmmni, limits.sysv_segments_now, "kernel.shmmni"),
        (SysvSemaphore, "System V semaphore sets", limits.semmni, limits.sysv_sets_now, "kernel.sem, SEMMNI"),
    )
    if not limits.cap_sys_resource:
        queues = (PosixQueue, "POSIX queues", limits.mq_queues_max, limits.queues_now, "fs.mqueue.queues_max")
        kinds = (queues, *kinds)
    for model, what, bound, now, sysctl in kinds:
        objects = made(loaded, model)
        new = sum(1 for _, item in objects if item.on_down is OnDown.REMOVE)
        if objects and bound is not None and _too_many(len(objects), new, now or 0, bound):
            message = f"{counted(len(objects), what)}{_beside(now)}: this kernel allows {bound} ({sysctl})"
            yield loaded.marks.problem(objects[0][0], "limit", message, _AUDIT, key=True)


def shared_memory_file_system(loaded: Loaded, limits: KernelLimits) -> Iterator[Problem]:
    """POSIX segments and semaphores are files on /dev/shm: it must be there, and have room for all of them."""
    segments, semaphores = made(loaded, PosixSegment), made(loaded, PosixSemaphore)
    paths = [path for path, _ in (*segments, *semaphores)]
    if not paths:
        return
    if not limits.shm_mounted:
        what = "POSIX shared memory" if segments else "a POSIX semaphore"
        hint = "Mount a tmpfs there (mode 1777), or use `family: sysv`."
        yield loaded.marks.problem(
            paths[0], "no_dev_shm", f"{what} needs /dev/shm, and this host has none", hint, key=True
        )
        return
    page = limits.page_size
    new = [
        *(((*path, "size"), -(-(item.size or 0) // page) * page, item) for path, item in segments),
        *((path, page, item) for path, item in semaphores),
    ]
    new = [entry for entry in new if entry[2].on_down is OnDown.REMOVE]
    needed = sum(size for _, size, _ in new)
    if limits.shm_free is None or needed <= limits.shm_free:
        return
    largest = max(new, key=lambda entry: entry[1])[0]
    what = "this needs" if len(new) == 1 else f"{len(new)} POSIX segments and semaphores need"
    message = f"{what} {sized(needed)}, and /dev/shm has {sized(limits.shm_free)} free"
    yield loaded.marks.problem(largest, "limit", message, f"See `df -h /dev/shm`. {_AUDIT}")


LIMITS: tuple[Limit, ...] = (
    posix_queue_shape,
    posix_queue_memory,
    sysv_queue_shape,
    sysv_segment_shape,
    semaphore_sets,
    numbers_of_objects,
    shared_memory_file_system,
)
