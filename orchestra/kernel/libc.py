"""Every raw system call of the project: ctypes signatures, constants with their source, and plain results.

What the standard library, posix_ipc and sysv_ipc can do is done with them; this is the rest: the *ctl calls of
System V with all their fields, whole semaphore sets, mq_getattr on any descriptor, birth times, file system types,
a detached mount of the queue file system, namespaces, prctl. Functions raise OSError and nothing else.

Numbers are those of 64-bit Linux (include/uapi/linux/{ipc,msg,sem,shm,mqueue,stat,mount,prctl}.h). The library is
loaded by CDLL(None), which is the C library that Python itself runs on.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat
import struct
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_uint, c_ulong, c_ushort, c_void_p
from typing import Any, NamedTuple

from orchestra.kinds import Access

IPC_PRIVATE, IPC_CREAT, IPC_EXCL = 0, 0o1000, 0o2000
IPC_SET, IPC_STAT = 1, 2
MSG_STAT_ANY, SHM_STAT_ANY, SEM_STAT_ANY = 13, 15, 20  # Linux 4.17: any object, no read permission needed
GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL = 11, 12, 13, 14, 15, 16, 17
SHM_DEST, SHM_LOCKED = 0o1000, 0o2000  # bits of shm_perm.mode
SHM_LOCK, SHM_HUGETLB, MFD_HUGETLB, HUGE_SHIFT = 11, 0o4000, 4, 26  # the base-2 logarithm of the page size goes there
MQUEUE_MAGIC = 0x19800202  # statfs f_type of the queue file system
AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_STATX_DONT_SYNC = -100, 0x100, 0x1000, 0x4000
STATX_BASIC_STATS, STATX_BTIME = 0x7FF, 0x800
SEM_SIZE = 32  # sizeof(sem_t) on 64-bit glibc and musl, and of every sem.* file
PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 1, 15, 36, 37
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same number on every architecture
_RENAMEAT2 = 316 if os.uname().machine == "x86_64" else 276  # musl has had no function for it until lately
_RENAME_NOREPLACE = 1
_FSOPEN_CLOEXEC, _FSCONFIG_CMD_CREATE, _FSMOUNT_CLOEXEC = 1, 6, 1
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 2, 0x40, 0x80, 0x100, 0x200
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
_CAPABILITY_VERSION_3 = 0x20080522

_LIBC: Any = ctypes.CDLL(None, use_errno=True)
# Before glibc 2.34 the queue calls live in librt.
_RT: Any = _LIBC if hasattr(_LIBC, "mq_open") else ctypes.CDLL("librt.so.1", use_errno=True)


def _checked(result: int, _function: object, _arguments: object) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _declare(library: Any, name: str, restype: Any, *argtypes: Any) -> Callable[..., int]:
    function = getattr(library, name)
    function.restype, function.argtypes, function.errcheck = restype, argtypes, _checked
    return function  # type: ignore[no-any-return]


class _MqAttr(ctypes.Structure):
    _fields_ = [(name, c_long) for name in ("mq_flags", "mq_maxmsg", "mq_msgsize", "mq_curmsgs")]
    _fields_ += [("_reserved", c_long * 4)]


class _IpcPerm(ctypes.Structure):
    _fields_ = [
        ("key", c_int), ("uid", c_uint), ("gid", c_uint), ("cuid", c_uint), ("cgid", c_uint), ("mode", c_uint),
        ("seq", c_ushort), ("_pad", c_ushort), ("_unused", c_ulong * 2),
    ]  # fmt: skip


class _MsqidDs(ctypes.Structure):
    _fields_ = [
        ("msg_perm", _IpcPerm), ("msg_stime", c_long), ("msg_rtime", c_long), ("msg_ctime", c_long),
        ("msg_cbytes", c_ulong), ("msg_qnum", c_ulong), ("msg_qbytes", c_ulong),
        ("msg_lspid", c_int), ("msg_lrpid", c_int), ("_unused", c_ulong * 2),
    ]  # fmt: skip


class _ShmidDs(ctypes.Structure):
    _fields_ = [
        ("shm_perm", _IpcPerm), ("shm_segsz", c_size_t),
        ("shm_atime", c_long), ("shm_dtime", c_long), ("shm_ctime", c_long),
        ("shm_cpid", c_int), ("shm_lpid", c_int), ("shm_nattch", c_ulong), ("_unused", c_ulong * 2),
    ]  # fmt: skip


def _semid_fields() -> list[tuple[str, Any]]:
    # arch/x86/include/uapi/asm/sembuf.h keeps the padding of its 32-bit form; everybody else has none.
    times: list[tuple[str, Any]] = [("sem_otime", c_long), ("sem_ctime", c_long)]
    if os.uname().machine in ("x86_64", "i686"):
        times = [("sem_otime", c_long), ("_pad1", c_ulong), ("sem_ctime", c_long), ("_pad2", c_ulong)]
    return [("sem_perm", _IpcPerm), *times, ("sem_nsems", c_ulong), ("_unused", c_ulong * 2)]


class _SemidDs(ctypes.Structure):
    _fields_ = _semid_fields()


class _Timestamp(ctypes.Structure):
    _fields_ = [("tv_sec", ctypes.c_int64), ("tv_nsec", ctypes.c_uint32), ("_reserved", ctypes.c_int32)]


class _Statx(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("mask", "blksize")), ("attributes", ctypes.c_uint64),
        *((name, ctypes.c_uint32) for name in ("nlink", "uid", "gid")), ("mode", c_ushort), ("_pad", c_ushort),
        *((name, ctypes.c_uint64) for name in ("ino", "size", "blocks", "attributes_mask")),
        *((name, _Timestamp) for name in ("atime", "btime", "ctime", "mtime")),
        *((name, ctypes.c_uint32) for name in ("rdev_major", "rdev_minor", "dev_major", "dev_minor")),
        ("_spare", ctypes.c_uint64 * 14),
    ]  # fmt: skip


_mq_open = _declare(_RT, "mq_open", c_int, c_char_p, c_int)
_mq_getattr = _declare(_RT, "mq_getattr", c_int, c_int, POINTER(_MqAttr))
_msgget = _declare(_LIBC, "msgget", c_int, c_int, c_int)
_msgctl = _declare(_LIBC, "msgctl", c_int, c_int, c_int, c_void_p)
_shmget = _declare(_LIBC, "shmget", c_int, c_int, c_size_t, c_int)
_shmctl = _declare(_LIBC, "shmctl", c_int, c_int, c_int, c_void_p)
_semget = _declare(_LIBC, "semget", c_int, c_int, c_int, c_int)
_semctl = _declare(_LIBC, "semctl", c_int, c_int, c_int, c_int, c_void_p)
_mlock = _declare(_LIBC, "mlock", c_int, c_void_p, c_size_t)
_statx = _declare(_LIBC, "statx", c_int, c_int, c_char_p, c_int, c_uint, POINTER(_Statx))
_statfs = _declare(_LIBC, "statfs", c_int, c_char_p, c_void_p)
_syscall = _declare(_LIBC, "syscall", c_long, c_long, c_long, c_void_p, c_void_p, c_void_p, c_long)
_sem_init = _declare(_LIBC, "sem_init", c_int, c_void_p, c_int, c_uint)
_prctl = _declare(_LIBC, "prctl", c_int, c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_unshare = _declare(_LIBC, "unshare", c_int, c_int)
_setns = _declare(_LIBC, "setns", c_int, c_int, c_int)
_mount = _declare(_LIBC, "mount", c_int, c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_capset = _declare(_LIBC, "capset", c_int, c_void_p, c_void_p)
_inotify_init1 = _declare(_LIBC, "inotify_init1", c_int, c_int)
_inotify_add_watch = _declare(_LIBC, "inotify_add_watch", c_int, c_int, c_char_p, c_uint)
_inotify_rm_watch = _declare(_LIBC, "inotify_rm_watch", c_int, c_int, c_int)

_inotify_init1 = _declare(_LIBC, "inotify_init1", c_int, c_int)
_inotify_add_watch = _declare(_LIBC, "inotify_add_watch", c_int, c_int, c_char_p, c_uint)

# Offsets of stx_nlink, stx_ino, stx_dev_major and stx_dev_minor in struct statx.
_STATX_NLINK, _STATX_INO = 0x4, 0x100
_PLACE = struct.Struct("=16xI12xQ96xII")
_SCRATCH = _Statx()

Fields = dict[str, int]
"""A kernel structure as a flat mapping of C names: `{"msg_perm.uid": 0, "msg_qbytes": 16384, …}`."""


def signed_key(key: int) -> int:
    """Return an unsigned 32-bit key as the C type key_t, which is signed."""
    return key - (1 << 32) if key & 0x80000000 else key


def unsigned_key(key: int) -> int:
    """Return a key as people write it, from the signed number that the kernel prints."""
    return key & 0xFFFFFFFF


# POSIX queues ---------------------------------------------------------------------------------------------------


def mq_open(name: str, flags: int) -> int:
    """Open an existing queue. The kernel sets close-on-exec itself (mq_open(3), do_mq_open() in ipc/mqueue.c)."""
    return _mq_open(os.fsencode(name), flags)


def mq_getattr(fd: int) -> Fields:
    """Return mq_attr of any queue descriptor, also an inherited one or one opened through a mount."""
    attr = _MqAttr()
    _mq_getattr(fd, byref(attr))
    return _flat(attr)


def sem_init(fd: int, value: int) -> None:
    """Initialise a process-shared POSIX semaphore at the start of a file of SEM_SIZE bytes. OSError EINVAL: value."""
    if not 0 <= value <= 0x7FFFFFFF:  # SEM_VALUE_MAX; ctypes would let a negative one wrap
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    with mmap.mmap(fd, SEM_SIZE) as mapping:
        place = (ctypes.c_char * SEM_SIZE).from_buffer(mapping)
        try:
            _sem_init(ctypes.addressof(place), 1, value)
        finally:
            del place  # the mapping cannot be closed while it is exported


def detached_mqueue() -> int:
    """Return a directory descriptor of this IPC namespace's queues, through a mount that appears nowhere.

    Needs CAP_SYS_ADMIN over the namespace (EPERM otherwise) and Linux 5.2. The descriptor of fsmount is O_PATH-like:
    "." must be opened anew before it can be read.
    """
    context = _syscall(_FSOPEN, ctypes.cast(c_char_p(b"mqueue"), c_void_p).value, _FSOPEN_CLOEXEC, None, None, 0)
    try:
        _syscall(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        mount = _syscall(_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0, None, 0)
    finally:
        os.close(context)
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
    finally:
        os.close(mount)


# System V -------------------------------------------------------------------------------------------------------


def msgget(key: int, flags: int) -> int:
    """Return the id of a queue. `key` is unsigned."""
    return _msgget(signed_key(key), flags)


def shmget(key: int, size: int, flags: int) -> int:
    """Return the id of a segment. `key` is unsigned."""
    return _shmget(signed_key(key), size, flags)


def semget(key: int, nsems: int, flags: int) -> int:
    """Return the id of a set. `key` is unsigned."""
    return _semget(signed_key(key), nsems, flags)


def msg_stat(number: int, command: int = IPC_STAT) -> tuple[int, Fields]:
    """Return msgctl's result and msqid_ds. `number` is an id, or an index with MSG_STAT_ANY."""
    data = _MsqidDs()
    result = _msgctl(number, command, byref(data))
    return result, _flat(data)


def shm_stat(number: int, command: int = IPC_STAT) -> tuple[int, Fields]:
    """Return shmctl's result and shmid_ds. `number` is an id, or an index with SHM_STAT_ANY."""
    data = _ShmidDs()
    result = _shmctl(number, command, byref(data))
    return result, _flat(data)


def sem_stat(number: int, command: int = IPC_STAT) -> tuple[int, Fields]:
    """Return semctl's result and semid_ds. `number` is an id, or an index with SEM_STAT_ANY."""
    data = _SemidDs()
    result = _semctl(number, 0, command, byref(data))
    return result, _flat(data)


def msg_set(number: int, *, uid: int, gid: int, mode: int, qbytes: int) -> None:
    """IPC_SET of a queue: owner, mode and msg_qbytes at once. Over msgmnb needs CAP_SYS_RESOURCE (EPERM)."""
    data = _MsqidDs(msg_perm=_IpcPerm(uid=uid, gid=gid, mode=mode), msg_qbytes=qbytes)
    _msgctl(number, IPC_SET, byref(data))


def shm_set(number: int, *, uid: int, gid: int, mode: int) -> None:
    """IPC_SET of a segment."""
    _shmctl(number, IPC_SET, byref(_ShmidDs(shm_perm=_IpcPerm(uid=uid, gid=gid, mode=mode))))


def shm_lock(number: int) -> None:
    """SHM_LOCK: pages of a segment stay in memory from their first use on, whoever touches them (shmctl(2))."""
    _shmctl(number, SHM_LOCK, None)


def huge_flag(page: int | None) -> int:
    """Return the bits that ask shmget or memfd_create for pages of that many bytes, besides their own flag."""
    return 0 if page is None else (page.bit_length() - 1) << HUGE_SHIFT


def mlock(mapping: mmap.mmap) -> None:
    """Bring a writable mapping into memory and keep it there until it is unmapped (mlock(2))."""
    place = (ctypes.c_char * len(mapping)).from_buffer(mapping)
    try:
        _mlock(ctypes.addressof(place), len(mapping))
    finally:
        del place  # the mapping cannot be closed while it is exported


def sem_set(number: int, *, uid: int, gid: int, mode: int) -> None:
    """IPC_SET of a set."""
    _semctl(number, 0, IPC_SET, byref(_SemidDs(sem_perm=_IpcPerm(uid=uid, gid=gid, mode=mode))))


def sem_values(number: int, nsems: int) -> list[int]:
    """GETALL: the values of a set, in one atomic call. `nsems` must be the set's own number."""
    values = (c_ushort * nsems)()
    _semctl(number, 0, GETALL, values)
    return list(values)


def sem_set_values(number: int, values: Sequence[int]) -> None:
    """SETALL. It clears every process's pending undo of the set (semctl(2))."""
    _semctl(number, 0, SETALL, (c_ushort * len(values))(*values))


def sem_query(number: int, index: int, command: int) -> int:
    """GETPID, GETNCNT or GETZCNT of one member."""
    return _semctl(number, index, command, None)


# Files and processes --------------------------------------------------------------------------------------------


class FileStat(NamedTuple):
    """What statx tells. `birth_ns` is nanoseconds since the epoch, None where the file system keeps none."""

    st_dev: int
    st_ino: int
    st_mode: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_size: int
    st_blocks: int
    st_atime: int
    st_mtime: int
    st_ctime: int
    birth_ns: int | None


def statx(target: str | int, *, dir_fd: int = AT_FDCWD, follow: bool = False, sync: bool = True) -> FileStat:
    """Stat a path or a descriptor. With `sync` False a network or FUSE file answers from cache and cannot hang us."""
    path, flags = ("", AT_EMPTY_PATH) if isinstance(target, int) else (target, 0 if follow else AT_SYMLINK_NOFOLLOW)
    flags |= 0 if sync else AT_STATX_DONT_SYNC
    data: Any = _Statx()
    where = target if isinstance(target, int) else dir_fd
    _statx(where, os.fsencode(path), flags, STATX_BASIC_STATS | STATX_BTIME, byref(data))
    birth = data.btime.tv_sec * 1_000_000_000 + data.btime.tv_nsec if data.mask & STATX_BTIME else None
    return FileStat(
        os.makedev(data.dev_major, data.dev_minor), data.ino, data.mode, data.nlink, data.uid, data.gid, data.size,
        data.blocks, data.atime.tv_sec, data.mtime.tv_sec, data.ctime.tv_sec, birth,
    )  # fmt: skip


def rename_exclusively(old: str, new: str) -> None:
    """Rename a file unless the new name is taken (EEXIST). EINVAL: this file system cannot do that."""
    names = [ctypes.create_string_buffer(os.fsencode(path)) for path in (old, new)]
    addresses = [ctypes.addressof(name) for name in names]
    _syscall(_RENAMEAT2, AT_FDCWD, addresses[0], AT_FDCWD, addresses[1], _RENAME_NOREPLACE)


def device_and_inode(path: str) -> tuple[int, int, int]:
    """Return st_dev, st_ino and st_nlink of what a path leads to, from cache where a file system might hang us.

    As `statx`, at a third of its price: a pass over /proc asks this of thousands of descriptors.
    """
    _statx(AT_FDCWD, os.fsencode(path), AT_STATX_DONT_SYNC, _STATX_NLINK | _STATX_INO, _SCRATCH)
    links, inode, major, minor = _PLACE.unpack_from(_SCRATCH)
    return os.makedev(major, minor), inode, links


def file_system_type(path: str) -> int:
    """Return f_type of statfs(2), which os.statvfs leaves out."""
    buffer = ctypes.create_string_buffer(256)
    _statfs(os.fsencode(path), buffer)
    return c_long.from_buffer(buffer).value


def reopen(fd: int, access: Access) -> int:
    """Open a descriptor's file anew with just `access`: its own file offset and flags, close-on-exec, non-blocking.

    A memfd to be written is opened read-write, because mmap(2) of a write-only descriptor is refused.
    """
    flags = {Access.READ: os.O_RDONLY, Access.WRITE: os.O_WRONLY, Access.READ_WRITE: os.O_RDWR}[access]
    if access is Access.WRITE and stat.S_ISREG(os.fstat(fd).st_mode):
        flags = os.O_RDWR
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC | os.O_NONBLOCK)


def set_subreaper(on: bool = True) -> None:
    """Make this process the parent of orphaned descendants (PR_SET_CHILD_SUBREAPER; cleared by neither exec nor fork
    of others, not inherited by children)."""
    _prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def is_subreaper() -> bool:
    """Whether orphaned descendants come to this process."""
    answer = c_int()
    _prctl(PR_GET_CHILD_SUBREAPER, ctypes.addressof(answer), 0, 0, 0)
    return bool(answer.value)


def set_pdeathsig(signal: int) -> None:
    """Have the kernel send `signal` to this process when the *thread* that made it ends (PR_SET_PDEATHSIG)."""
    _prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)


def set_name(name: str) -> None:
    """Set the name that `ps` shows (comm), cut to 15 bytes."""
    text = ctypes.create_string_buffer(os.fsencode(name)[:15])
    _prctl(PR_SET_NAME, ctypes.addressof(text), 0, 0, 0)


# Namespaces -----------------------------------------------------------------------------------------------------


def unshare(flags: int) -> None:
    """Leave the namespaces named by CLONE_NEW… bits for new ones. A user namespace needs a single-threaded process."""
    _unshare(flags)


def setns(fd: int, flags: int) -> None:
    """Enter the namespace behind a descriptor of /proc/PID/ns/…, which must be of the type that `flags` names."""
    _setns(fd, flags)


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount a file system, or change how mounts spread (MS_PRIVATE, with `kind` None)."""
    _mount(os.fsencode(source), os.fsencode(target), None if kind is None else kind.encode(), flags, options.encode())


def drop_capabilities() -> None:
    """Give up every effective, permitted and inheritable capability of this thread, ambient ones with them."""
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _capset(ctypes.addressof(header), ctypes.addressof(none))


# Changes of files -----------------------------------------------------------------------------------------------


def inotify_open() -> int:
    """Return a new inotify descriptor: close-on-exec, never blocking."""
    return _inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)


def inotify_watch(fd: int, path: str, events: int) -> int:
    """Watch what is at `path` for IN_… bits; return the number of the watch. One inode has one watch per descriptor."""
    return _inotify_add_watch(fd, os.fsencode(path), events)


def inotify_forget(fd: int, watch: int) -> None:
    """End one watch."""
    _inotify_rm_watch(fd, watch)


def watch_folder(path: str) -> int:
    """Return a non-blocking descriptor (inotify(7)) to read from after names in a folder came, went or were resized."""
    fd = _inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        wanted = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY
        _inotify_add_watch(fd, os.fsencode(path), wanted)
    except OSError:
        os.close(fd)
        raise
    return fd


def _flat(data: ctypes.Structure) -> Fields:
    fields: Fields = {}
    for name, _ in data._fields_:  # type: ignore[misc]
        value = getattr(data, name)
        if isinstance(value, ctypes.Structure):
            fields.update({f"{name}.{inner}": number for inner, number in _flat(value).items()})
        elif not name.startswith("_"):
            fields[name] = value
    for name in [name for name in fields if name.endswith("perm.key")]:
        fields[name] = unsigned_key(fields[name])
    return fields
