"""The protocol of the ten adapters, and the one door from OSError to our errors."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Protocol, runtime_checkable

from orchestra.errors import (
    KernelError,
    LimitReached,
    ObjectExists,
    ObjectGone,
    OutOfSpace,
    PermissionRefused,
)
from orchestra.kernel.host import sysctl
from orchestra.kinds import Access, Family, Handle, Kind, Listing, ObjectRef, Spec, Stat

SHM_FOLDER = "/dev/shm"  # noqa: S108 where the C library keeps POSIX segments and semaphores


class Adapter(Protocol):
    """What every object kind can do. Methods raise subclasses of KernelError and nothing else."""

    family: ClassVar[Family]
    kind: ClassVar[Kind]

    def create(self, spec: Spec, /) -> Handle:
        """Create exclusively, with exact mode and owner, sized, allocated and filled.

        Raises ObjectExists, LimitReached, OutOfSpace, PermissionRefused. When a later step fails (ENOSPC while
        allocating), what was made is removed again before the error leaves.
        """

    def open(self, ref: ObjectRef, access: Access, /) -> int | None:
        """Return a close-on-exec descriptor opened with just `access`, or None where the kind has none.

        A segment to be written is opened read-write: mmap(2) of a write-only descriptor is refused.
        Kinds without a descriptor check the permission instead. Raises ObjectGone, PermissionRefused.
        """

    def stat(self, ref: ObjectRef, /) -> Stat | None:
        """None when the object is gone: an answer, not an error. Never disturbs the object (no attach)."""

    def remove(self, ref: ObjectRef, /) -> bool:
        """True if this call removed it (or marked it, SysV segments), False if it was already gone."""

    def list(self) -> Listing:
        """All objects of this kind that can be seen."""


@runtime_checkable
class Linkable(Protocol):
    """Kinds whose name is a file, so that an object can be made under a nonce name, recorded, and only then named."""

    def link(self, ref: ObjectRef, name: str, /) -> ObjectRef:
        """Give the object its second name by link(2). Raises ObjectExists when `name` is taken."""


_NO_SPACE_HINT = (
    "Space for shared memory is exhausted (df -h /dev/shm), or a kernel limit on the number of objects is reached "
    "(ipcs -l). `orchestra audit` lists what was left behind."
)
_BY_ERRNO: dict[int, tuple[type[KernelError], str]] = {
    errno.EEXIST: (
        ObjectExists,
        "Choose another name or key, or declare it `external: true` to use it as it is.",
    ),
    errno.EACCES: (PermissionRefused, "Check its mode and owner: `orchestra inspect` shows both."),
    errno.EPERM: (PermissionRefused, "Only the owner, the creator or root may do this."),
    errno.ENOENT: (ObjectGone, ""),
    errno.EIDRM: (ObjectGone, "It was removed while in use."),
    errno.ENOSPC: (OutOfSpace, _NO_SPACE_HINT),
    errno.ENOMEM: (OutOfSpace, _NO_SPACE_HINT),
    errno.EDQUOT: (OutOfSpace, _NO_SPACE_HINT),
    errno.EMFILE: (LimitReached, "This process has as many open files as it may (`ulimit -n`)."),
    errno.ENFILE: (LimitReached, "The host has no file descriptors left (fs.file-max)."),
    errno.ENAMETOOLONG: (KernelError, "A name holds at most 255 bytes, that of a POSIX semaphore 251."),
    errno.EROFS: (KernelError, "The file system is mounted read-only."),
}

# What an errno means depends on the call: words for the problem and a hint, in which {…} is a setting of the kernel.
_AUDIT = " `orchestra audit` lists what was left behind."
_LOCKED = ("cannot be kept in memory", "`ulimit -l` is how much this user may lock; CAP_IPC_LOCK lifts it.")
_BY_CALL: dict[tuple[str, int], tuple[type[KernelError], str, str]] = {
    ("mq_open", errno.EINVAL): (
        LimitReached,
        "asks for more messages, or longer ones, than this host allows",
        "At most {fs.mqueue.msg_max} messages (fs.mqueue.msg_max) of {fs.mqueue.msgsize_max} bytes (msgsize_max).",
    ),
    ("mq_open", errno.ENOSPC): (
        LimitReached,
        "cannot be made: this IPC namespace holds as many POSIX queues as it may",
        "fs.mqueue.queues_max is {fs.mqueue.queues_max}; unlinked queues that are still open count too." + _AUDIT,
    ),
    ("mq_open", errno.ENOSYS): (KernelError, "cannot be made: this kernel has no POSIX message queues", ""),
    ("msgget", errno.ENOSPC): (
        LimitReached,
        "cannot be made: this IPC namespace holds as many System V queues as it may",
        "kernel.msgmni is {kernel.msgmni}." + _AUDIT,
    ),
    ("shmget", errno.ENOSPC): (
        LimitReached,
        "cannot be made: System V segments are exhausted",
        "kernel.shmmni is {kernel.shmmni} segments, kernel.shmall {kernel.shmall} pages in all." + _AUDIT,
    ),
    ("shmget", errno.EINVAL): (
        LimitReached,
        "asks for a size this host does not allow",
        "At least 1 byte and at most kernel.shmmax, {kernel.shmmax} bytes.",
    ),
    ("shmget", errno.ENOMEM): (
        OutOfSpace,
        "cannot be made: there is not enough memory for it, or not enough huge pages",
        "vm.nr_hugepages is {vm.nr_hugepages}; HugePages_Free in /proc/meminfo says how many are free.",
    ),
    ("shmget", errno.EPERM): (
        PermissionRefused,
        "cannot be made of huge pages by this user",
        "It takes CAP_IPC_LOCK, or the group in vm.hugetlb_shm_group; `family: memfd` takes neither.",
    ),
    ("memfd_create", errno.ENODEV): (KernelError, "cannot be made: this host has no pages of that size", ""),
    ("memfd_create", errno.EINVAL): (KernelError, "cannot be made: this host has no pages of that size", ""),
    ("shmctl", errno.ENOMEM): (LimitReached, *_LOCKED),
    ("mlock", errno.ENOMEM): (LimitReached, *_LOCKED),
    ("mlock", errno.EAGAIN): (LimitReached, *_LOCKED),
    ("mlock", errno.EPERM): (LimitReached, *_LOCKED),
    ("semget", errno.ENOSPC): (
        LimitReached,
        "cannot be made: System V semaphores are exhausted",
        "kernel.sem is `{kernel.sem}`: per set, in all, operations, sets." + _AUDIT,
    ),
    ("semget", errno.EINVAL): (
        LimitReached,
        "asks for more semaphores in a set than this host allows",
        "kernel.sem is `{kernel.sem}`: per set, in all, operations, sets.",
    ),
    ("semctl", errno.ERANGE): (LimitReached, "has a value that is too large", "System V semaphores end at 32767."),
    ("sem_init", errno.EINVAL): (LimitReached, "has a value that is too large", "POSIX semaphores end at 2147483647."),
}


@contextmanager
def kernel_call(ref: ObjectRef, call: str) -> Iterator[None]:
    """Translate an OSError of `call` on `ref` into our tree; the original stays as `__cause__`.

    `call` is shown as the detail; the word before its bracket says which system call it was.
    """
    try:
        yield
    except OSError as err:
        raise translate(err, ref, call) from err


def translate(err: OSError, ref: ObjectRef, call: str) -> KernelError:
    """Return the error of ours that stands for `err`."""
    number = err.errno or 0
    detail = f"{call} -> {errno.errorcode.get(number, number)}"
    special = _special(ref, call.partition("(")[0], number)
    if special is not None:
        cls, words, hint = special
        return cls(f"{ref} {words}", detail=detail, hint=_filled(hint))
    cls, hint = _BY_ERRNO.get(number, (KernelError, ""))
    known = {ObjectExists: f"{ref} already exists", ObjectGone: f"{ref} does not exist"}
    problem = known.get(cls, f"could not use {ref}: {err.strerror or str(err)}")
    return cls(problem, detail=detail, hint=hint)


def _special(ref: ObjectRef, call: str, number: int) -> tuple[type[KernelError], str, str] | None:
    if call == "mq_open" and number == errno.EMFILE and _has_free_descriptor():
        # mq_overview(7): the same errno stands for RLIMIT_MSGQUEUE, which counts capacity, per user.
        hint = "`ulimit -q` is the limit in bytes, over all queues of your user, unlinked but open ones too."
        return LimitReached, "cannot be made: your user's memory for POSIX queues is used up", hint + _AUDIT
    in_shm = ref.family is Family.POSIX and ref.kind is not Kind.QUEUE
    if in_shm and number == errno.ENOENT and not os.path.isdir(SHM_FOLDER):
        return KernelError, f"cannot be used: there is no {SHM_FOLDER} here", "Mount a tmpfs there, mode 1777."
    return _BY_CALL.get((call, number))


def _filled(hint: str) -> str:
    return re.sub(r"\{([\w.]+)\}", lambda found: sysctl(found[1]) or "unknown", hint)


def _has_free_descriptor() -> bool:
    try:
        os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return False
    return True
