"""What the three System V kinds share: addressing by id or key, identity, permissions, stat without read permission.

An object is made with mode 0600, prepared, and only then given its owner and mode by IPC_SET (umask plays no part).
So the creator can always fill it, and nobody else sees it half made.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import ClassVar

from orchestra.errors import KernelError
from orchestra.kernel import host, libc
from orchestra.kernel.api import kernel_call
from orchestra.kinds import Access, Family, Handle, Identity, Kind, Listing, ObjectRef, Spec, Stat

CREATION_MODE = 0o600
_GONE = (errno.EINVAL, errno.EIDRM, errno.ENOENT)
_CAP_IPC_OWNER = 15
# An id holds the index in its low 15 bits, in the low 24 with `ipcmni_extend` (ipc/util.h).
_INDEX_MASKS = (0x7FFF, 0xFFFFFF)


class SysvAdapter(ABC):
    """Open, stat, remove and list of one System V kind; a subclass adds how to create it."""

    family: ClassVar[Family] = Family.SYSV
    kind: ClassVar[Kind]
    prefix: ClassVar[str]  # of the C names: "msg", "shm", "sem"
    stat_any: ClassVar[int]

    @abstractmethod
    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create."""

    @abstractmethod
    def _get(self, key: int) -> int:
        """Return the id behind a key by the *get call with no flags, which anybody may make. Raises OSError."""

    @abstractmethod
    def _ctl_stat(self, number: int, command: int) -> tuple[int, libc.Fields]:
        """IPC_STAT or *_STAT_ANY. Raises OSError."""

    @abstractmethod
    def _ctl_remove(self, number: int) -> None:
        """IPC_RMID. Raises OSError."""

    @abstractmethod
    def _ids(self) -> Sequence[int]:
        """Return all ids in /proc/sysvipc. Raises OSError."""

    def _extra(self, number: int, fields: libc.Fields) -> dict[str, int | str | list[int]]:  # noqa: ARG002
        """Return more fields for Stat, as far as the object may be read."""
        return {}

    def open(self, ref: ObjectRef, access: Access, /) -> None:
        """See Adapter.open. There is no descriptor: the mode is checked as the kernel will at the first use."""
        found = self._read(ref)
        with kernel_call(ref, f"{self.prefix}get"):
            if found is None:
                raise OSError(errno.EIDRM if ref.id is not None else errno.ENOENT, "gone")
            if not may_use(found[1], self.prefix, access):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def stat(self, ref: ObjectRef, /) -> Stat | None:
        """See Adapter.stat. Never attaches."""
        found = self._read(ref)
        if found is None:
            return None
        number, fields = found
        mode = fields[f"{self.prefix}_perm.mode"]
        return Stat(
            ref=ObjectRef(self.family, self.kind, id=number, key=fields[f"{self.prefix}_perm.key"]),
            identity=self.identity(number, fields),
            mode=mode & 0o777,
            uid=fields[f"{self.prefix}_perm.uid"],
            gid=fields[f"{self.prefix}_perm.gid"],
            size=fields.get("shm_segsz", fields.get("msg_qbytes")),
            marked=self.kind is Kind.SEGMENT and bool(mode & libc.SHM_DEST),
            attached=fields.get("shm_nattch"),
            members=fields.get("sem_nsems"),
            fields={**fields, **self._extra(number, fields)},
        )

    def remove(self, ref: ObjectRef, /) -> bool:
        """See Adapter.remove. Queues and sets go at once and wake whoever waits (EIDRM); a segment that is still
        attached is marked, and a marked one counts as already gone.
        """
        found = self._read(ref)
        if found is None:
            return False
        number, fields = found
        if self.kind is Kind.SEGMENT and fields["shm_perm.mode"] & libc.SHM_DEST:
            return False
        with kernel_call(ref, f"{self.prefix}ctl({number}, IPC_RMID)"):
            try:
                self._ctl_remove(number)
            except OSError as err:
                if err.errno in _GONE:
                    return False
                raise
        return True

    def list(self) -> Listing:
        """All objects of this kind in this IPC namespace, whoever owns them."""
        try:
            numbers = self._ids()
        except OSError as err:
            return Listing((), complete=False, why=f"/proc/sysvipc/{self.prefix} cannot be read: {err.strerror}")
        seen = (self.stat(ObjectRef(self.family, self.kind, id=number)) for number in numbers)
        return Listing(tuple(found for found in seen if found is not None))

    def identity(self, number: int, fields: libc.Fields) -> Identity:
        """Return what proves that two sightings are one object: ids come round again, so boot and namespace count."""
        return Identity(
            self.family,
            self.kind,
            boot_id=host.boot_id(),
            ipc_ns=host.ipc_namespace(),
            id=number,
            key=fields[f"{self.prefix}_perm.key"],
            cuid=fields[f"{self.prefix}_perm.cuid"],
            cgid=fields[f"{self.prefix}_perm.cgid"],
            size=fields.get("shm_segsz"),
            nsems=fields.get("sem_nsems"),
            cpid=fields.get("shm_cpid"),
        )

    def handle(self, number: int) -> Handle:
        """Return the handle of a fresh object. Raises OSError."""
        fields = self._ctl_stat(number, libc.IPC_STAT)[1]
        ref = ObjectRef(self.family, self.kind, id=number, key=fields[f"{self.prefix}_perm.key"])
        return Handle(ref, self.identity(number, fields))

    @contextmanager
    def undone_on_error(self, number: int) -> Iterator[None]:
        """Remove the half-made object when the block fails; the first error is the one that leaves."""
        try:
            yield
        except BaseException:
            with suppress(OSError):
                self._ctl_remove(number)
            raise

    def _read(self, ref: ObjectRef) -> tuple[int, libc.Fields] | None:
        """Return id and structure, None when it is gone. Needs no permission: *_STAT_ANY where IPC_STAT is refused."""
        number = self._find(ref)
        if number is None:
            return None
        with kernel_call(ref, f"{self.prefix}ctl({number}, IPC_STAT)"):
            try:
                return number, self._ctl_stat(number, libc.IPC_STAT)[1]
            except OSError as err:
                if err.errno in _GONE:
                    return None
                if err.errno != errno.EACCES:
                    raise
        with kernel_call(ref, f"{self.prefix}ctl({number}, {self.prefix.upper()}_STAT_ANY)"):
            fields = self._read_any(number)
            return None if fields is None else (number, fields)

    def _read_any(self, number: int) -> libc.Fields | None:
        refused: OSError | None = None
        for mask in _INDEX_MASKS:
            try:
                found, fields = self._ctl_stat(number & mask, self.stat_any)
            except OSError as err:
                refused = None if err.errno in _GONE else err
                continue
            if found == number:
                return fields
        if refused is not None:
            raise refused
        return None

    def _find(self, ref: ObjectRef) -> int | None:
        if ref.id is not None:
            return ref.id
        if not ref.key:  # 0 is IPC_PRIVATE: as an argument of *get it always means a new object
            raise KernelError(f"{ref} has neither an id nor a key that leads to it")
        with kernel_call(ref, f"{self.prefix}get({ref.key:#x}, 0)"):
            try:
                return self._get(ref.key)
            except OSError as err:
                if err.errno in _GONE:
                    return None
                raise


def ownership(spec: Spec, prefix: str, fields: libc.Fields) -> dict[str, int] | None:
    """Return uid, gid and mode for IPC_SET; None when the object already has them."""
    uid, gid = fields[f"{prefix}_perm.uid"], fields[f"{prefix}_perm.gid"]
    wanted = {
        "uid": uid if spec.owner is None else spec.owner,
        "gid": gid if spec.group is None else spec.group,
        "mode": spec.mode,
    }
    return None if wanted == {"uid": uid, "gid": gid, "mode": CREATION_MODE} else wanted


def may_use(fields: libc.Fields, prefix: str, access: Access) -> bool:
    """Whether the kernel will let us (ipcperms() in ipc/util.c): no call asks that without using the object."""
    wanted = (4 if access is not Access.WRITE else 0) | (2 if access is not Access.READ else 0)
    mode = fields[f"{prefix}_perm.mode"]
    if os.geteuid() in (fields[f"{prefix}_perm.uid"], fields[f"{prefix}_perm.cuid"]):
        mode >>= 6
    elif {fields[f"{prefix}_perm.gid"], fields[f"{prefix}_perm.cgid"]} & {os.getegid(), *os.getgroups()}:
        mode >>= 3
    return not wanted & ~mode or host.has_capability(_CAP_IPC_OWNER)
