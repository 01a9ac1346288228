"""Adapters over a kernel in memory, for tests of what stands above them. They pass the same conformance suite.

`FakeHost` is the kernel: its objects can be looked at, its clock is a counter, its next calls can be made to fail.
Segments and queues are backed by memfds, so a descriptor that was opened read-only really is. Memfds and anonymous
pipes leave nothing on a host, so their fakes are the real adapters.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar, Final, Self

from orchestra.errors import KernelError, LimitReached
from orchestra.kernel import nodes
from orchestra.kernel.api import Adapter, translate
from orchestra.kernel.libc import reopen
from orchestra.kinds import OBJECT_KINDS, Access, Family, Handle, Identity, Kind, Listing, ObjectRef, Spec, Stat

_REAL: Final = ((Family.MEMFD, Kind.SEGMENT), (Family.ANONYMOUS, Kind.PIPE))
_UNLISTED: Final = (Family.FILE, Family.FIFO)
_WITH_DESCRIPTOR: Final = ((Family.POSIX, Kind.QUEUE), (Family.POSIX, Kind.SEGMENT), (Family.FILE, Kind.SEGMENT))
_Fields = dict[str, int | str | list[int]]
_PREFIX: Final = {Kind.QUEUE: "msg", Kind.SEGMENT: "shm", Kind.SEMAPHORE: "sem"}


@dataclass(slots=True)
class FakeObject:
    """One object of the fake kernel. `number` is its inode or its System V id."""

    spec: Spec
    number: int
    born: int
    uid: int
    gid: int
    creator: int
    names: set[str] = field(default_factory=set)
    fd: int = -1  # memfd with the content of a segment
    key: int = 0
    cpid: int = 0
    attached: int = 0  # tests set it: a removed segment then stays, marked
    marked: bool = False


class FakeHost:
    """The kernel that the fakes of one test share. Close it (or use it in `with`) to free what it holds."""

    def __init__(self, *, uid: int = 0, gid: int = 0, space: int | None = None) -> None:
        self.uid, self.gid = uid, gid  # who "we" are; 0 may do everything
        self.space = space  # bytes left for POSIX segments; None = plenty
        self.msg_max, self.msgsize_max, self.msgmnb, self.semvmx = 10, 8192, 16384, 32767
        self.boot_id, self.ipc_ns, self.st_dev = "00000000-fake-boot", 4026531839, 42
        self.objects: list[FakeObject] = []
        self._numbers = {kind: count(0, 32769) for kind in Kind}  # 0 is a valid id
        self._inodes, self._clock = count(100), count(1_000)
        self._refusals: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for item in list(self.objects):
            self.drop(item)

    def refuse(self, method: str, number: int) -> None:
        """Make the next call of an adapter's `method` ("create", "remove" …) fail with this errno."""
        self._refusals.setdefault(method, []).append(number)

    def check(self, method: str, ref: ObjectRef) -> None:
        """Raise what was ordered by `refuse`."""
        if self._refusals.get(method):
            raise error(self._refusals[method].pop(0), ref, method)

    def add(self, spec: Spec) -> FakeObject:
        """Put a new object in."""
        number = next(self._numbers[spec.kind] if spec.family is Family.SYSV else self._inodes)
        made = FakeObject(
            spec,
            number,
            born=next(self._clock),
            uid=self.uid if spec.owner is None else spec.owner,
            gid=self.gid if spec.group is None else spec.group,
            creator=self.uid,
            names={spec.name} if spec.name else set(),
            key=spec.key or 0,
            cpid=os.getpid(),
        )
        if spec.kind is Kind.SEGMENT or (spec.family, spec.kind) in _WITH_DESCRIPTOR:
            made.fd = os.memfd_create("fake", os.MFD_CLOEXEC)
        self.objects.append(made)
        return made

    def drop(self, item: FakeObject) -> None:
        """Take an object out."""
        self.objects.remove(item)
        if item.fd >= 0:
            os.close(item.fd)
        if self.space is not None and item.spec.family is Family.POSIX:
            self.space += item.spec.size or 0

    def find(self, ref: ObjectRef) -> FakeObject | None:
        """Return what an address leads to."""
        for item in self.objects:
            if (item.spec.family, item.spec.kind) != (ref.family, ref.kind):
                continue
            if ref.family is not Family.SYSV:
                if ref.name in item.names:
                    return item
            elif ref.id == item.number if ref.id is not None else (ref.key and ref.key == item.key):
                return item
        return None


def fake_adapters(host: FakeHost) -> dict[tuple[Family, Kind], Adapter]:
    """Return all ten kinds over one fake kernel."""
    from orchestra.kernel.registry import adapter_for

    made: dict[tuple[Family, Kind], Adapter] = {}
    for family, kind in OBJECT_KINDS:
        if (family, kind) in _REAL:
            made[family, kind] = adapter_for(family, kind)
        else:
            has_file = family in _UNLISTED or (family is Family.POSIX and kind is not Kind.QUEUE)
            base = FakeFile if has_file else FakeAdapter
            made[family, kind] = type(base.__name__, (base,), {"family": family, "kind": kind})(host)
    return made


def error(number: int, ref: ObjectRef, call: str) -> KernelError:
    """Return the error that an errno of a call on `ref` becomes."""
    return translate(OSError(number, os.strerror(number)), ref, call)


class FakeAdapter:
    """One kind over the fake kernel."""

    family: ClassVar[Family]
    kind: ClassVar[Kind]

    def __init__(self, host: FakeHost) -> None:
        self.host = host

    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create."""
        self.host.check("create", spec.ref)
        if spec.family is not Family.SYSV and not (spec.name or "").strip("/"):
            raise KernelError(f"{spec.ref} has no proper name")
        if (spec.name or spec.key) and self.host.find(spec.ref) is not None:
            raise error(errno.EEXIST, spec.ref, "create(O_CREAT|O_EXCL)")
        self._check_limits(spec)
        content = b"".join(nodes.fill_chunks(spec))
        if self.host.space is not None and self.family is Family.POSIX and self.kind is Kind.SEGMENT:
            if (spec.size or 0) > self.host.space:
                raise error(errno.ENOSPC, spec.ref, f"posix_fallocate({spec.size})")
            self.host.space -= spec.size or 0
        made = self.host.add(spec)
        if made.fd >= 0:
            os.truncate(made.fd, spec.size or 0)
            os.pwrite(made.fd, content, 0)
        ref = (
            spec.ref
            if self.family is not Family.SYSV
            else ObjectRef(self.family, self.kind, None, made.number, made.key)
        )
        return Handle(ref, self._identity(made))

    def open(self, ref: ObjectRef, access: Access, /) -> int | None:
        """See Adapter.open."""
        self.host.check("open", ref)
        item = self._get(ref)
        if not self._may(item, Access.READ_WRITE if self._is_posix_semaphore() else access):
            raise error(errno.EACCES, ref, f"open({access})")
        if (self.family, self.kind) not in _WITH_DESCRIPTOR:
            return None
        return reopen(item.fd, access)

    def stat(self, ref: ObjectRef, /) -> Stat | None:
        """See Adapter.stat."""
        self.host.check("stat", ref)
        self._check_address(ref)
        item = self.host.find(ref)
        return None if item is None else self._stat(item, ref.name)

    def remove(self, ref: ObjectRef, /) -> bool:
        """See Adapter.remove."""
        self.host.check("remove", ref)
        self._check_address(ref)
        item = self.host.find(ref)
        if item is None or item.marked:
            return False
        if self.host.uid not in (0, item.uid, item.creator):
            raise error(errno.EPERM if self.family is Family.SYSV else errno.EACCES, ref, "remove")
        if item.attached:
            item.marked, item.key = True, 0
            return True
        item.names.discard(ref.name or "")
        if not item.names:
            self.host.drop(item)
        return True

    def list(self) -> Listing:
        """See Adapter.list."""
        if self.family in _UNLISTED:
            return Listing((), complete=False, why="nothing lists them")
        return Listing(tuple(self._all()))

    def _all(self) -> Iterator[Stat]:
        for item in self.host.objects:
            if (item.spec.family, item.spec.kind) == (self.family, self.kind):
                if not item.names:
                    yield self._stat(item, None)
                for name in sorted(item.names):
                    yield self._stat(item, name)

    def _get(self, ref: ObjectRef) -> FakeObject:
        self._check_address(ref)
        item = self.host.find(ref)
        if item is None:
            raise error(errno.ENOENT, ref, "open")
        return item

    def _check_address(self, ref: ObjectRef) -> None:
        if ref.id is None and not ref.key if self.family is Family.SYSV else not ref.name:
            raise KernelError(f"{ref} has no address")

    def _is_posix_semaphore(self) -> bool:
        return (self.family, self.kind) == (Family.POSIX, Kind.SEMAPHORE)

    def _may(self, item: FakeObject, access: Access) -> bool:
        wanted = (4 if access is not Access.WRITE else 0) | (2 if access is not Access.READ else 0)
        shift = 6 if self.host.uid == item.uid else 3 if self.host.gid == item.gid else 0
        return self.host.uid == 0 or not wanted & ~(item.spec.mode >> shift)

    def _check_limits(self, spec: Spec) -> None:
        host, ref = self.host, spec.ref
        sysv = self.family is Family.SYSV
        top = host.semvmx if sysv else 2**31 - 1
        messages, size = spec.max_messages, spec.message_size
        checks: Sequence[tuple[bool, str, int]] = (
            ((messages or 1) > host.msg_max or (size or 1) > host.msgsize_max, "mq_open", errno.EINVAL),
            (sysv and self.kind is Kind.SEGMENT and not spec.size, "shmget", errno.EINVAL),
            (any(not 0 <= value <= top for value in spec.values), "semctl" if sysv else "sem_init",
             errno.ERANGE if sysv else errno.EINVAL),
        )  # fmt: skip
        if (spec.capacity or 0) > host.msgmnb:
            raise LimitReached(f"{ref} asks for a capacity of {spec.capacity} bytes, more than this host allows")
        for failed, call, number in checks:
            if failed:
                raise error(number, ref, call)

    def _identity(self, item: FakeObject) -> Identity:
        host = self.host
        if self.family is not Family.SYSV:
            birth = None if self.kind is Kind.QUEUE else item.born
            return Identity(self.family, self.kind, st_dev=host.st_dev, st_ino=item.number, birth_ns=birth)
        segment, semaphore = self.kind is Kind.SEGMENT, self.kind is Kind.SEMAPHORE
        return Identity(
            self.family, self.kind, host.boot_id, host.ipc_ns, item.number, item.key, item.creator, 0,
            size=item.spec.size if segment else None,
            nsems=len(item.spec.values or (0,)) if semaphore else None,
            cpid=item.cpid if segment else None,
        )  # fmt: skip

    def _stat(self, item: FakeObject, name: str | None) -> Stat:
        spec, sysv = item.spec, self.family is Family.SYSV
        size = spec.size
        if self.kind is Kind.QUEUE:
            size = (
                (spec.capacity or self.host.msgmnb) if sysv else (spec.max_messages or 10) * (spec.message_size or 8192)
            )
        return Stat(
            ref=ObjectRef(self.family, self.kind, name, item.number if sysv else None, item.key if sysv else None),
            identity=self._identity(item),
            mode=spec.mode,
            uid=item.uid,
            gid=item.gid,
            size=size,
            marked=item.marked,
            attached=item.attached if sysv and self.kind is Kind.SEGMENT else None,
            members=len(spec.values or (0,)) if self.kind is Kind.SEMAPHORE else None,
            fields=self._sysv_fields(item) if sysv else self._node_fields(item),
        )

    def _sysv_fields(self, item: FakeObject) -> _Fields:
        prefix, spec = _PREFIX[self.kind], item.spec
        mode = spec.mode | (0o1000 if item.marked else 0)
        perm = {
            "key": item.key,
            "uid": item.uid,
            "gid": item.gid,
            "cuid": item.creator,
            "cgid": 0,
            "mode": mode,
            "seq": 0,
        }
        fields: _Fields = {f"{prefix}_perm.{name}": number for name, number in perm.items()}
        values = list(spec.values or (0,))
        nothing = [0] * len(values)
        own: dict[Kind, _Fields] = {
            Kind.QUEUE: {"msg_qnum": 0, "msg_cbytes": 0, "msg_qbytes": spec.capacity or self.host.msgmnb,
                         "msg_lspid": 0, "msg_lrpid": 0, "msg_stime": 0, "msg_rtime": 0, "msg_ctime": item.born},
            Kind.SEGMENT: {"shm_segsz": spec.size or 0, "shm_nattch": item.attached, "shm_cpid": item.cpid,
                           "shm_lpid": 0, "shm_atime": 0, "shm_dtime": 0, "shm_ctime": item.born},
            Kind.SEMAPHORE: {"sem_nsems": len(values), "sem_otime": 0, "sem_ctime": item.born, "semval": values,
                             "sempid": nothing, "semncnt": nothing, "semzcnt": nothing},
        }  # fmt: skip
        return {**fields, **own[self.kind]}

    def _node_fields(self, item: FakeObject) -> _Fields:
        spec = item.spec
        fields: _Fields = {
            "st_dev": self.host.st_dev, "st_ino": item.number, "st_mode": spec.mode, "st_nlink": len(item.names),
            "st_uid": item.uid, "st_gid": item.gid, "st_size": spec.size or 0, "st_ctime": item.born,
        }  # fmt: skip
        if self.kind is Kind.QUEUE:
            fields |= {"mq_flags": 0, "mq_maxmsg": spec.max_messages or 10, "mq_msgsize": spec.message_size or 8192,
                       "mq_curmsgs": 0}  # fmt: skip
        if self.kind is Kind.SEMAPHORE:
            fields |= {"sem_getvalue": spec.values[0] if spec.values else 0, "nwaiters": 0}
        return fields


class FakeFile(FakeAdapter):
    """A kind whose name is a file."""

    def link(self, ref: ObjectRef, name: str, /) -> ObjectRef:
        """See Linkable.link."""
        self.host.check("link", ref)
        target = ObjectRef(self.family, self.kind, name=name)
        if self.host.find(target) is not None:
            raise error(errno.EEXIST, target, f"link({name})")
        self._get(ref).names.add(name)
        return target
