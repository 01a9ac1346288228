"""Every IPC object that exists now in one place: POSIX queues, what lies in /dev/shm, the System V tables.

Facts only, as the kernel lists them: identity, shape, owner, times. Nothing is attached, received or changed, and no
queue is opened. What could not be seen is said in words (`gaps`): an empty list without gaps means that there is none.
A place is an IPC namespace together with the file system on its /dev/shm; two containers are two places.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from orchestra.kernel import host, libc, nodes, procfs
from orchestra.kernel.api import SHM_FOLDER
from orchestra.kernel.posix_mq import queue_folder
from orchestra.kinds import Family, Identity, Kind, ObjectRef

Raw: TypeAlias = "procfs.SysvQueue | procfs.SysvSegment | procfs.SysvSet | os.stat_result"
_SEMAPHORE_SHARED = (0, 128)  # `private` of sem_t: FUTEX_SHARED of glibc (nptl/sem_init.c), 0 of musl
_LIMIT_OF_FOLDERS = 10_000  # below /dev/shm: a bind mount of something huge must not stop the scan


class Place(NamedTuple):
    """Where objects are: `ipc_ns` and `shm_dev` tell two places apart, `shm` is the path that leads to /dev/shm."""

    boot_id: str
    ipc_ns: int
    shm_dev: int | None  # st_dev of the file system on /dev/shm, None when there is none
    shm: str = SHM_FOLDER
    queue_dev: int | None = None  # st_dev of the queue file system, None where it could not be had
    pid: int | None = None  # a process through which a place that is not ours was reached


class Seen(NamedTuple):
    """One object. POSIX and files have `dev` and `ino`, System V has `id` and `key`; the rest is None.

    `name` is "/name" for POSIX, an absolute path (as its own processes see it) for what else lies in /dev/shm.
    `raw` is the row of /proc/sysvipc or the os.stat_result that this was read from.
    """

    family: Family
    kind: Kind
    name: str | None
    id: int | None  # 0 is a valid id
    key: int | None  # unsigned
    mode: int  # permission bits
    uid: int
    gid: int
    size: int | None  # bytes: segments and files; None for queues and semaphores
    members: int | None  # of a System V set
    ctime: float  # seconds since the epoch; moves with chmod, IPC_SET, SETVAL
    dev: int | None
    ino: int | None
    raw: Raw

    @property
    def ref(self) -> ObjectRef:
        """How to address it."""
        return ObjectRef(self.family, self.kind, name=self.name, id=self.id, key=self.key)

    @property
    def attached(self) -> int | None:
        """shm_nattch of a System V segment: mappings, not processes."""
        return self.raw.nattch if isinstance(self.raw, procfs.SysvSegment) else None

    @property
    def marked(self) -> bool:
        """Whether it is a System V segment that dies with its last detach (SHM_DEST)."""
        return isinstance(self.raw, procfs.SysvSegment) and bool(self.raw.mode & libc.SHM_DEST)

    @property
    def last_used(self) -> float:
        """The latest moment that the kernel has on record: created, changed, sent, received, attached, written."""
        raw = self.raw
        if isinstance(raw, procfs.SysvQueue):
            return max(raw.ctime, raw.stime, raw.rtime)
        if isinstance(raw, procfs.SysvSegment):
            return max(raw.ctime, raw.atime, raw.dtime)
        if isinstance(raw, procfs.SysvSet):
            return max(raw.ctime, raw.otime)
        return max(raw.st_ctime, raw.st_mtime)

    def identity(self, place: Place) -> Identity:
        """Return what proves that a later sighting is this object. POSIX ones without birth time: see `born`."""
        if self.id is None:
            return Identity(self.family, self.kind, st_dev=self.dev, st_ino=self.ino)
        raw: Any = self.raw
        segment = isinstance(raw, procfs.SysvSegment)
        return Identity(
            self.family, self.kind, boot_id=place.boot_id, ipc_ns=place.ipc_ns, id=self.id, key=self.key,
            cuid=raw.cuid, cgid=raw.cgid, size=self.size if segment else None, nsems=self.members,
            cpid=raw.cpid if segment else None,
        )  # fmt: skip


class Inventory(NamedTuple):
    """Everything in one place at one moment. `gaps`: what could not be seen, in words."""

    place: Place
    objects: tuple[Seen, ...]
    gaps: tuple[str, ...] = ()


def take(root: str = procfs.PROC, shm: str = SHM_FOLDER) -> Inventory:
    """List all objects of the place this process is in. Never raises: what cannot be read is a gap."""
    gaps: list[str] = []
    queue_dev, named = queues(gaps)
    files = list(in_shm(shm, gaps))
    place = Place(host.boot_id(), host.ipc_namespace_of("self", root) or 0, _device(shm), shm, queue_dev)
    return Inventory(place, (*named, *files, *sysv(root, gaps)), tuple(gaps))


def sysv(root: str, gaps: list[str]) -> Iterator[Seen]:
    """Yield the three System V tables of the namespace that `root` shows."""
    yield from _table(lambda: procfs.sysv_queues(root), _queue, "msg", gaps)
    yield from _table(lambda: procfs.sysv_segments(root), _segment, "shm", gaps)
    yield from _table(lambda: procfs.sysv_sets(root), _set, "sem", gaps)


def _table(read: Callable[[], list[Any]], make: Callable[[Any], Seen], name: str, gaps: list[str]) -> Iterable[Seen]:
    try:
        return map(make, read())
    except OSError as err:
        gaps.append(f"System V: /proc/sysvipc/{name} cannot be read: {err.strerror}")
        return ()


# Tens of thousands of these are made in one scan: enum members are looked up once, and `_make` is the cheapest way.
_POSIX, _SYSV, _FILE = Family.POSIX, Family.SYSV, Family.FILE
_QUEUE, _SEGMENT, _SEMAPHORE = Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE


def _queue(row: procfs.SysvQueue) -> Seen:
    key, number, mode, _, _, _, _, uid, gid, _, _, _, _, ctime = row
    return Seen._make((_SYSV, _QUEUE, None, number, key, mode & 0o777, uid, gid, None, None, ctime, None, None, row))


def _segment(row: procfs.SysvSegment) -> Seen:
    key, number, mode, size, _, _, _, uid, gid, _, _, _, _, ctime, _, _ = row
    return Seen._make((_SYSV, _SEGMENT, None, number, key, mode & 0o777, uid, gid, size, None, ctime, None, None, row))


def _set(row: procfs.SysvSet) -> Seen:
    key, number, mode, members, uid, gid, _, _, _, ctime = row
    return Seen._make(
        (_SYSV, _SEMAPHORE, None, number, key, mode & 0o777, uid, gid, None, members, ctime, None, None, row)
    )


# POSIX ------------------------------------------------------------------------------------------------------------


def queues(gaps: list[str]) -> tuple[int | None, list[Seen]]:
    """Return st_dev of this IPC namespace's queue file system and its queues; None where it cannot be had."""
    try:
        with queue_folder() as folder:
            return os.fstat(folder).st_dev, list(queues_in(folder))
    except OSError:
        gaps.append(
            "POSIX queues: no queue file system is mounted, so only queues that a process we may look into has open "
            "can be seen (root sees all; or: mount -t mqueue none /dev/mqueue)"
        )
        return None, []


def queues_in(folder: int) -> Iterator[Seen]:
    """Yield the queues of an open queue file system."""
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                yield node(_POSIX, _QUEUE, f"/{entry.name}", entry.stat(follow_symlinks=False))
            except OSError:
                continue  # unlinked since


def in_shm(folder: str, gaps: list[str]) -> Iterator[Seen]:
    """Yield what lies in a /dev/shm, ours or another process's, folders and their content too."""
    try:
        with os.scandir(folder) as entries:
            yield from _files(entries, folder, folder, gaps, [0])
    except FileNotFoundError:
        gaps.append(f"POSIX segments and semaphores: there is no {folder} here")
    except OSError as err:
        gaps.append(f"POSIX segments and semaphores: {folder} cannot be read: {err.strerror}")


def _files(
    entries: Iterable[os.DirEntry[str]], folder: str, top: str, gaps: list[str], count: list[int]
) -> Iterator[Seen]:
    nested = folder is not top
    for entry in entries:
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # removed since
        name = entry.name
        if stat.S_ISREG(found.st_mode):
            if nested:
                yield node(_FILE, _SEGMENT, _shown(entry.path, top), found)
            elif name.startswith(nodes.SEMAPHORE_PREFIX) and _looks_like_semaphore(entry.path, found):
                yield node(_POSIX, _SEMAPHORE, f"/{name[len(nodes.SEMAPHORE_PREFIX) :]}", found)
            else:
                yield node(_POSIX, _SEGMENT, f"/{name}", found)
        elif stat.S_ISDIR(found.st_mode):
            yield node(_FILE, Kind.FOLDER, _shown(entry.path, top), found)
            yield from _inside(entry.path, top, gaps, count)
        elif stat.S_ISFIFO(found.st_mode):
            yield node(Family.FIFO, Kind.PIPE, _shown(entry.path, top), found)
        else:
            yield node(_FILE, Kind.OTHER, _shown(entry.path, top), found)


def _inside(folder: str, top: str, gaps: list[str], count: list[int]) -> Iterator[Seen]:
    count[0] += 1
    if count[0] > _LIMIT_OF_FOLDERS:
        if count[0] == _LIMIT_OF_FOLDERS + 1:
            gaps.append(f"{_shown(folder, top)}: more than {_LIMIT_OF_FOLDERS} folders; the rest was not looked into")
        return
    try:
        with os.scandir(folder) as entries:
            yield from _files(entries, folder, top, gaps, count)
    except FileNotFoundError:
        return
    except OSError as err:
        gaps.append(f"{_shown(folder, top)} cannot be looked into: {err.strerror}")


def _shown(path: str, top: str) -> str:
    return SHM_FOLDER + path[len(top) :]


def _looks_like_semaphore(path: str, found: os.stat_result) -> bool:
    """Whether it is a sem_t: value and waiters, the word for "shared", then nothing. Unreadable ones count."""
    if found.st_size != libc.SEM_SIZE:
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | nodes.NOFOLLOW)
    except OSError:
        return True
    try:
        content = os.read(fd, libc.SEM_SIZE)
    except OSError:
        return True
    finally:
        os.close(fd)
    return int.from_bytes(content[8:12], "little") in _SEMAPHORE_SHARED and not any(content[12:])


def node(family: Family, kind: Kind, name: str | None, found: os.stat_result) -> Seen:
    """Return what was found as an object that is an inode."""
    mode, ino, dev, _, uid, gid, size, _, _, _ = found
    return Seen._make(
        (
            family, kind, name, None, None, mode & 0o777, uid, gid, size if kind is _SEGMENT else None, None,
            found.st_ctime, dev, ino, found,
        )
    )  # fmt: skip


def path_of(seen: Seen, place: Place) -> str:
    """Return the file behind what lies in /dev/shm, also where that is another process's."""
    name = seen.name or ""
    if seen.family is not Family.POSIX:
        return place.shm + name.removeprefix(SHM_FOLDER)
    return f"{place.shm}/{nodes.SEMAPHORE_PREFIX if seen.kind is Kind.SEMAPHORE else ''}{name[1:]}"


def sighted(family: Family, kind: Kind, name: str | None, inode: tuple[int, int], found: os.stat_result | None) -> Seen:
    """Return what is known through its holders only. Without `found` its owner, mode and times are not known."""
    if family is Family.POSIX and name is not None:
        name = "/" + name.rpartition("/")[2]
        if kind is Kind.SEMAPHORE:
            name = "/" + name[1:].removeprefix(nodes.SEMAPHORE_PREFIX)
    if found is not None:
        return node(family, kind, name, found)
    unknown = os.stat_result((0, inode[1], inode[0], 0, -1, -1, 0, 0, 0, 0))
    return node(family, kind, name, unknown)._replace(size=None)


def born(seen: Seen, path: str) -> Identity | None:
    """Return the identity of a file with its birth time, None when another one has the name by now."""
    with suppress(OSError):
        found = libc.statx(path)
        if (found.st_dev, found.st_ino) == (seen.dev, seen.ino):
            return Identity(seen.family, seen.kind, st_dev=seen.dev, st_ino=seen.ino, birth_ns=found.birth_ns)
    return None


def _device(folder: str) -> int | None:
    try:
        return os.stat(folder).st_dev
    except OSError:
        return None
