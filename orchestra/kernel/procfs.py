"""Parsers of /proc: text in, typed rows out; and the few readers that need no more than that.

Rows are named tuples, not dataclasses: seven of those would cost every command five milliseconds to make.
The parsers take the whole text of one file, so they are tested with recorded texts of other kernels. The readers
take `root`, a folder that stands for /proc. A process may vanish between any two reads: readers answer None or
nothing then, which is no error.
"""

from __future__ import annotations

import os
import re
import select
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from orchestra.errors import KernelError

PROC = "/proc"
_EXEC_TRIES = 50  # a millisecond apart
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD, include/linux/sched.h
_Row = TypeVar("_Row")


class ProcfsFormatError(KernelError):
    """A file of /proc does not look as proc(5) says; names the file and the line."""


class SysvQueue(NamedTuple):
    """One row of /proc/sysvipc/msg. `key` is unsigned, times are seconds since the epoch, 0 = never."""

    key: int
    id: int
    mode: int
    cbytes: int
    qnum: int
    lspid: int
    lrpid: int
    uid: int
    gid: int
    cuid: int
    cgid: int
    stime: int
    rtime: int
    ctime: int


class SysvSegment(NamedTuple):
    """One row of /proc/sysvipc/shm. `mode` has SHM_DEST (01000) and SHM_LOCKED (02000); sizes in bytes."""

    key: int
    id: int
    mode: int
    size: int
    cpid: int
    lpid: int
    nattch: int
    uid: int
    gid: int
    cuid: int
    cgid: int
    atime: int
    dtime: int
    ctime: int
    rss: int
    swap: int


class SysvSet(NamedTuple):
    """One row of /proc/sysvipc/sem. There is no creator pid and no value here."""

    key: int
    id: int
    mode: int
    nsems: int
    uid: int
    gid: int
    cuid: int
    cgid: int
    otime: int
    ctime: int


class ProcessStat(NamedTuple):
    """What /proc/PID/stat says. `start_time` is clock ticks since boot; with the pid it names one process for good."""

    pid: int
    command: str
    state: str  # one letter: R S D Z T t X I
    parent: int
    group: int
    session: int
    flags: int
    start_time: int
    env_end: int  # 0 while an exec is under way, for kernel threads, and where we may not look

    @property
    def has_ended(self) -> bool:
        """Whether it is a zombie or about to vanish: it holds nothing any more."""
        return self.state in "ZX"

    @property
    def is_kernel_thread(self) -> bool:
        """Whether it is the kernel's own: it holds no IPC object."""
        return bool(self.flags & _KERNEL_THREAD)


class Mapping(NamedTuple):
    """One row of /proc/PID/maps that maps a file. `path` is as printed: newlines escaped, maybe " (deleted)"."""

    start: int
    end: int
    permissions: str
    offset: int
    st_dev: int
    inode: int
    path: str


class FileLock(NamedTuple):
    """One row of /proc/locks. `pid` is -1 for an OFD lock; `waiting` rows are blocked requests."""

    kind: str  # POSIX, FLOCK, OFDLCK, LEASE
    access: str  # READ, WRITE
    pid: int
    st_dev: int
    inode: int
    waiting: bool


class Mount(NamedTuple):
    """One row of /proc/PID/mountinfo, as far as we need it."""

    path: str
    fs_type: str
    st_dev: int


# Parsers ---------------------------------------------------------------------------------------------------------


def parse_sysv_msg(text: str) -> list[SysvQueue]:
    """Parse the whole text of /proc/sysvipc/msg.

    Shape:  a header line, then one row of 14 columns per queue; zero rows is normal.
    Units:  cbytes in bytes; perms in octal; times in seconds since the epoch.
    Errors: ProcfsFormatError with the line number, when a row is short or not a number.
    Source: proc_sysvipc(5); column order from sysvipc_msg_proc_show() in ipc/msg.c.
    Traps:  id 0 is valid; key is printed signed; pids of other pid namespaces are 0.
    """
    return _sysv(text, "msg", 14, SysvQueue._make)


def parse_sysv_shm(text: str) -> list[SysvSegment]:
    """Parse the whole text of /proc/sysvipc/shm.

    Shape:  a header line, then one row of 16 columns per segment.
    Units:  size, rss and swap in bytes; perms in octal with 01000 marked and 02000 locked; times in seconds.
    Errors: ProcfsFormatError with the line number.
    Source: proc_sysvipc(5); column order from sysvipc_shm_proc_show() in ipc/shm.c.
    Traps:  as for queues; key 0 is IPC_PRIVATE or a marked segment, never an identity.
    """
    return _sysv(text, "shm", 16, SysvSegment._make)


def parse_sysv_sem(text: str) -> list[SysvSet]:
    """Parse the whole text of /proc/sysvipc/sem.

    Shape:  a header line, then one row of 10 columns per set.
    Units:  perms in octal; times in seconds since the epoch, otime 0 until the first semop.
    Errors: ProcfsFormatError with the line number.
    Source: proc_sysvipc(5); column order from sysvipc_sem_proc_show() in ipc/sem.c.
    """
    return _sysv(text, "sem", 10, SysvSet._make)


def parse_stat(text: str) -> ProcessStat:
    """Parse /proc/PID/stat.

    Shape:  pid (comm) state and 49 numbers on one line.
    Errors: ProcfsFormatError when it is short or not a number.
    Source: proc_pid_stat(5).
    Traps:  comm may hold spaces, brackets and newlines: it ends at the *last* closing bracket.
    """
    head, bracket, tail = text.rpartition(")")
    pid, opening, command = head.partition(" (")
    words = tail.split()
    try:
        if not (bracket and opening):
            raise ValueError(text)
        parent, group, session, flags, started = (int(words[index]) for index in (1, 2, 3, 6, 19))
        env_end = int(words[48]) if len(words) > 48 else 0  # Linux 3.5
        return ProcessStat(int(pid), command, words[0], parent, group, session, flags, started, env_end)
    except (ValueError, IndexError) as err:
        raise ProcfsFormatError("cannot read the state of a process", detail=f"stat: {text[:80]!r}") from err


def parse_maps(text: str) -> list[Mapping]:
    """Parse /proc/PID/maps; rows without a file (inode 0 and no path beginning with "/") are left out.

    Shape:  start-end perms offset major:minor inode path, addresses, offset and device in hex.
    Errors: ProcfsFormatError with the line number.
    Source: proc_pid_maps(5).
    Traps:  System V segments are `/SYSVkkkkkkkk (deleted)` with the shmid as inode, and 0 is a valid shmid.
    """
    return _rows(text.split("\n"), 1, "maps", _mapping, keep=lambda line: "/" in line)


def parse_locks(text: str) -> list[FileLock]:
    """Parse /proc/locks.

    Shape:  `1: FLOCK ADVISORY WRITE 708 00:1a:13 0 EOF`; a blocked request has `->` after its number.
    Errors: ProcfsFormatError with the line number.
    Source: proc_locks(5); lock_get_status() in fs/locks.c.
    """
    return _rows(text.split("\n"), 1, "locks", _lock)


def parse_mountinfo(text: str) -> list[Mount]:
    """Parse /proc/PID/mountinfo.

    Shape:  `36 35 98:0 /root /mount/point options optional-fields - type source super-options`.
    Errors: ProcfsFormatError with the line number.
    Source: proc_pid_mountinfo(5).
    Traps:  space, tab, newline and backslash in paths are octal escapes; the optional fields end at a lone `-`.
    """
    return _rows(text.split("\n"), 1, "mountinfo", _mount)


def parse_environ(data: bytes) -> dict[str, str]:
    """Parse /proc/PID/environ: the environment as it was at exec, NUL-separated; entries without `=` are left out."""
    pairs = (os.fsdecode(item).partition("=") for item in data.split(b"\0") if b"=" in item)
    return {name: value for name, _, value in pairs}


def _rows(
    lines: list[str], first: int, file: str, parse: Callable[[str], _Row], keep: Callable[[str], bool] = bool
) -> list[_Row]:
    rows = []
    for number, line in enumerate(lines, start=first):
        if keep(line):
            try:
                rows.append(parse(line))
            except (ValueError, IndexError) as err:
                detail = f"{file}, line {number}: {line[:80]!r}"
                raise ProcfsFormatError(f"cannot read /proc: {file} is not as expected", detail=detail) from err
    return rows


def _sysv(text: str, file: str, columns: int, make: Callable[[Iterable[int]], _Row]) -> list[_Row]:
    """Parse all rows at once; line by line only where they are not as expected, to name the line."""
    _, _, rows = text.partition("\n")
    words = rows.split()
    lines = rows.count("\n") + (not rows.endswith("\n") and bool(rows))
    if columns and len(words) == columns * lines:
        try:
            numbers = list(map(int, words))
            modes = {word: int(word, 8) for word in set(words[2::columns])}
        except ValueError:
            return _sysv_by_line(text, file, columns, make)
        numbers[0::columns] = [key & 0xFFFFFFFF for key in numbers[0::columns]]  # key_t is signed
        numbers[2::columns] = [modes[word] for word in words[2::columns]]
        return list(map(make, zip(*[iter(numbers)] * columns, strict=True)))
    return _sysv_by_line(text, file, columns, make)


def _sysv_by_line(text: str, file: str, columns: int, make: Callable[[Iterable[int]], _Row]) -> list[_Row]:
    def parse(line: str) -> _Row:
        words = line.split()
        if len(words) < columns:
            raise ValueError(line)
        numbers = [int(word, 8 if n == 2 else 10) for n, word in enumerate(words[:columns])]
        numbers[0] &= 0xFFFFFFFF  # the kernel prints key_t, which is signed
        return make(numbers)

    return _rows(text.split("\n")[1:], 2, f"sysvipc/{file}", parse)


def _mapping(line: str) -> Mapping:
    words = line.split(maxsplit=5)
    start, _, end = words[0].partition("-")
    return Mapping(
        int(start, 16), int(end, 16), words[1], int(words[2], 16), _device(words[3]), int(words[4]), words[5]
    )


def _lock(line: str) -> FileLock:
    words = line.split()
    waiting = words[1] == "->"
    kind, _, access, pid, place = words[2:7] if waiting else words[1:6]
    device, _, inode = place.rpartition(":")
    return FileLock(kind, access, int(pid), _device(device), int(inode), waiting)


def _mount(line: str) -> Mount:
    words = line.split(" ")
    major, _, minor = words[2].partition(":")
    path = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), words[4])
    return Mount(path, words[words.index("-", 6) + 1], os.makedev(int(major), int(minor)))


def _device(text: str) -> int:
    major, _, minor = text.partition(":")
    return os.makedev(int(major, 16), int(minor, 16))


# Readers ---------------------------------------------------------------------------------------------------------


def sysv_queues(root: str = PROC) -> list[SysvQueue]:
    """Read all System V queues of this IPC namespace. Raises OSError where /proc/sysvipc is missing."""
    return parse_sysv_msg(read_text(f"{root}/sysvipc/msg"))


def sysv_segments(root: str = PROC) -> list[SysvSegment]:
    """Read all System V segments of this IPC namespace. Raises OSError."""
    return parse_sysv_shm(read_text(f"{root}/sysvipc/shm"))


def sysv_sets(root: str = PROC) -> list[SysvSet]:
    """Read all System V semaphore sets of this IPC namespace. Raises OSError."""
    return parse_sysv_sem(read_text(f"{root}/sysvipc/sem"))


def mounts(root: str = PROC) -> list[Mount]:
    """Read the mounts this process sees. Raises OSError."""
    return parse_mountinfo(read_text(f"{root}/self/mountinfo"))


def locks(root: str = PROC) -> list[FileLock]:
    """Read all file locks of the host. Raises OSError."""
    return parse_locks(read_text(f"{root}/locks"))


def pids(root: str = PROC) -> list[int]:
    """Return the pids that /proc shows, in its order."""
    try:
        return [int(name) for name in os.listdir(root) if name.isdigit()]
    except OSError:
        return []


def process_stat(pid: int | str, root: str = PROC) -> ProcessStat | None:
    """Return what /proc/PID/stat says, None when the process is gone."""
    try:
        return parse_stat(read_text(f"{root}/{pid}/stat"))
    except OSError:
        return None


def start_time(pid: int, root: str = PROC) -> int | None:
    """Return field 22 of /proc/PID/stat (clock ticks since boot), None when there is no such process."""
    found = process_stat(pid, root)
    return found.start_time if found else None


def environ_of(pid: int, root: str = PROC) -> dict[str, str] | None:
    """Return the environment a process started with, None when it is gone or not ours to read.

    In the middle of an exec the kernel shows none at all (environ_read() in fs/proc/base.c): that passes in
    microseconds, so an empty answer is asked for again until it is known to be the true one.
    """
    for _ in range(_EXEC_TRIES):
        try:
            with open(f"{root}/{pid}/environ", "rb") as file:
                data = file.read()
        except OSError:
            return None
        found = None if data else process_stat(pid, root)
        if found is None or found.env_end or found.has_ended or found.is_kernel_thread:
            return parse_environ(data)
        select.select([], [], [], 0.001)
    return {}


def command_of(pid: int, root: str = PROC) -> str:
    """Return the short name of a process (comm), "" when it is gone."""
    found = process_stat(pid, root)
    return found.command if found else ""


def maps_of(pid: int, root: str = PROC) -> list[Mapping]:
    """Read the file mappings of a process. Raises OSError (PermissionError: not ours to read)."""
    return parse_maps(read_text(f"{root}/{pid}/maps"))


def fd_links(pid: int | str, root: str = PROC) -> Iterator[tuple[int, str]]:
    """Yield (descriptor, link text) of a process's open files. Raises OSError when the folder cannot be read."""
    for name in os.listdir(f"{root}/{pid}/fd"):
        try:
            yield int(name), os.readlink(f"{root}/{pid}/fd/{name}")
        except FileNotFoundError:
            continue  # closed since the folder was listed


def blocked_calls(pid: int, root: str = PROC) -> Iterator[tuple[int, int]]:
    """Yield (system call number, first argument) of each blocked thread. Raises OSError when not ours to read."""
    for thread in os.listdir(f"{root}/{pid}/task"):
        try:
            words = read_text(f"{root}/{pid}/task/{thread}/syscall").split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if len(words) > 1 and words[0].isdigit():
            yield int(words[0]), int(words[1], 16)


def children(pid: int, root: str = PROC) -> list[int]:
    """Return the direct children of a process, zombies included.

    Reads task/*/children where the kernel has it (CONFIG_PROC_CHILDREN), else every /proc/PID/stat. A child that ends
    meanwhile may hide a sibling (proc_tid_children(5)): who must find all asks again until nothing is left.
    """
    try:
        threads = os.listdir(f"{root}/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        try:
            found += map(int, read_text(f"{root}/{pid}/task/{thread}/children").split())
        except FileNotFoundError:
            if os.path.exists(f"{root}/{pid}/task/{thread}/stat"):  # the thread lives: the kernel lacks the file
                return _children_by_scan(pid, root)
        except ProcessLookupError:
            continue
    return found


def descendants(pid: int, root: str = PROC) -> list[int]:
    """Return all processes below `pid`, parents before their children; `pid` itself is not among them."""
    found: dict[int, None] = {}  # an ordered set
    waiting = [pid]
    while waiting:
        below = [child for child in children(waiting.pop(), root) if child not in found]
        found.update(dict.fromkeys(below))
        waiting += below
    return list(found)


def _children_by_scan(pid: int, root: str) -> list[int]:
    stats = (process_stat(other, root) for other in pids(root))
    return [found.pid for found in stats if found and found.parent == pid]


def read_text(path: str) -> str:
    """Read a small file of /proc whole; undecodable bytes survive as surrogates. Raises OSError."""
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "surrogateescape")
