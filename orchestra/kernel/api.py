"""The protocol of the ten adapters, and the one door from OSError to our errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Protocol

from orchestra.errors import (
    KernelError,
    LimitReached,
    ObjectExists,
    ObjectGone,
    OutOfSpace,
    PermissionRefused,
)
from orchestra.kinds import Access, Family, Handle, Kind, Listing, ObjectRef, Spec, Stat


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
        """Return a close-on-exec descriptor opened with exactly `access`, or None where the kind has none.

        Kinds without a descriptor check the permission instead. Raises ObjectGone, PermissionRefused.
        """

    def stat(self, ref: ObjectRef, /) -> Stat | None:
        """None when the object is gone: an answer, not an error. Never disturbs the object (no attach)."""

    def remove(self, ref: ObjectRef, /) -> bool:
        """True if this call removed it (or marked it, SysV segments), False if it was already gone."""

    def list(self) -> Listing:
        """All objects of this kind that can be seen."""


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
    errno.EMFILE: (
        LimitReached,
        "For a POSIX queue this is RLIMIT_MSGQUEUE (`ulimit -q`), charged per user; else `ulimit -n`.",
    ),
    errno.ENFILE: (LimitReached, "The host has no file descriptors left (fs.file-max)."),
}


@contextmanager
def kernel_call(ref: ObjectRef, call: str) -> Iterator[None]:
    """Translate an OSError of `call` on `ref` into our tree; the original stays as `__cause__`."""
    try:
        yield
    except OSError as err:
        raise translate(err, ref, call) from err


def translate(err: OSError, ref: ObjectRef, call: str) -> KernelError:
    """Return the error of ours that stands for `err`."""
    number = err.errno or 0
    cls, hint = _BY_ERRNO.get(number, (KernelError, ""))
    words = {ObjectExists: f"{ref} already exists", ObjectGone: f"{ref} does not exist"}
    problem = words.get(cls, f"could not use {ref}: {err.strerror or number}")
    return cls(problem, detail=f"{call} -> {errno.errorcode.get(number, number)}", hint=hint)
