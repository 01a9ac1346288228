"""One pass over /proc, in bytes: every trace that a process leaves of the IPC objects it holds.

A descriptor or a mapping shows device and inode number, an attached System V segment its id, a thread blocked in a
System V call the id it waits on. A pass looks for whole file systems (those on /dev/shm, queue file systems) and for
single inodes, so it finds what was unlinked as well. Names are never compared: a semaphore's creator shows it under a
name that is gone (glibc links it to its name only when it is ready), and other mount namespaces have other paths.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestra.kernel import host, libc, procfs
from orchestra.kinds import Kind

# include/uapi/asm-generic/unistd.h, and arch/x86/entry/syscalls/syscall_64.tbl
_GENERIC_CALLS = {188: Kind.QUEUE, 189: Kind.QUEUE, 192: Kind.SEMAPHORE, 193: Kind.SEMAPHORE}
_X86_64_CALLS = {69: Kind.QUEUE, 70: Kind.QUEUE, 65: Kind.SEMAPHORE, 220: Kind.SEMAPHORE}
_BLOCKING = _X86_64_CALLS if os.uname().machine == "x86_64" else _GENERIC_CALLS
_BLOCKING_BYTES = {str(number).encode(): kind for number, kind in _BLOCKING.items()}
_SYSV_PATH = re.compile(rb"/SYSV([0-9a-f]{8})( \(deleted\))?\n?")
_TEMPORARY = re.compile(r".*/sem\.[A-Za-z0-9]{6}( \(deleted\))?", re.DOTALL)
_CHUNK = 1 << 17
# Links of descriptors that lead to no object of ours; asking for their inode would cost most of the pass.
_DULL = ("/dev/null", "/dev/pts/", "/dev/tty", "/dev/urandom", "/proc/", "/sys/")

Inode = tuple[int, int]  # st_dev, st_ino
Segment = tuple[int, int]  # IPC namespace, shmid


class Wanted(NamedTuple):
    """What a pass looks for. `loose`: inode numbers whose device may read differently in maps (btrfs, overlayfs)."""

    devices: frozenset[int] = frozenset()  # every inode of these file systems
    inodes: frozenset[Inode] = frozenset()
    loose: frozenset[int] = frozenset()
    queues: bool = False  # every POSIX queue, of whatever namespace
    segments: bool = False  # every System V segment
    waits: bool = False  # threads blocked on System V queues and sets


class Sight(NamedTuple):
    """How an inode was first met: its name as that process sees it, and a path that leads to it through /proc."""

    pid: int
    name: str
    path: str


@dataclass(slots=True)
class Traces:
    """What a pass found. Holders are (pid, how); an attachment is (pid, key at creation), one for each mapping."""

    inodes: dict[Inode, list[tuple[int, str]]] = field(default_factory=dict)
    attached: dict[Segment, list[tuple[int, int]]] = field(default_factory=dict)
    waiting: dict[tuple[int, Kind, int], list[int]] = field(default_factory=dict)
    sights: dict[Inode, Sight] = field(default_factory=dict)
    queues: dict[Inode, bool] = field(default_factory=dict)  # POSIX queues met, and whether their name is gone
    pids: list[int] = field(default_factory=list)
    unseen: list[int] = field(default_factory=list)  # living processes that we may not look into
    hidden: bool = False  # /proc hides processes altogether

    @property
    def complete(self) -> bool:
        """Whether every process could be looked into: only then does "no trace" mean that nobody holds it."""
        return not self.unseen and not self.hidden


def look(wanted: Wanted, root: str = procfs.PROC) -> Traces:
    """Make the pass. Never raises for a process that goes away, nor for one that we may not look into."""
    found = Traces(pids=procfs.pids(root))
    found.hidden = 1 not in found.pids  # init is always there, unless /proc is mounted with hidepid
    one = _Pass(wanted, found, root)
    for pid in found.pids:
        one.visit(pid)
    return found


class _Pass:
    def __init__(self, wanted: Wanted, found: Traces, root: str) -> None:
        self.wanted, self.found, self.root = wanted, found, root
        self.tags = [b" %02x:%02x " % (os.major(device), os.minor(device)) for device in self._devices()]
        self.by_tag = dict(zip(self.tags, self._devices(), strict=True))
        self.queue_devices: dict[int, bool] = {}
        self.with_fds = bool(wanted.devices or wanted.inodes or wanted.queues or wanted.loose)
        self.with_maps = bool(wanted.devices or wanted.inodes or wanted.segments)

    def _devices(self) -> list[int]:
        return sorted({*self.wanted.devices, *(device for device, _ in self.wanted.inodes)})

    def visit(self, pid: int) -> None:
        refused = False
        folder = f"{self.root}/{pid}"
        for wanted, step in (
            (self.with_fds, self._descriptors), (self.with_maps, self._mappings), (self.wanted.waits, self._blocked),
        ):  # fmt: skip
            if not wanted:
                continue
            try:
                step(pid, folder)
            except PermissionError:
                refused = True
            except OSError:
                return  # it ended meanwhile
        if refused:
            stat = procfs.process_stat(pid, self.root)
            # With hidepid=1 the folder is there and not even its `stat` may be read.
            if os.path.exists(folder) if stat is None else not (stat.has_ended or stat.is_kernel_thread):
                self.found.unseen.append(pid)

    # Descriptors

    def _descriptors(self, pid: int, folder: str) -> None:
        base = f"{folder}/fd/"
        for number in os.listdir(base):
            path = base + number
            try:
                link = os.readlink(path)
                if link.startswith("/"):
                    if not link.startswith(_DULL):
                        self._file(pid, path, link)
                elif self.wanted.loose and link.startswith("pipe:[") and int(link[6:-1]) in self.wanted.loose:
                    self._file(pid, path, link)
            except FileNotFoundError:
                continue  # closed since the folder was listed

    def _file(self, pid: int, path: str, link: str) -> None:
        device, number, links = libc.device_and_inode(path)
        wanted = self.wanted
        if device in wanted.devices or (device, number) in wanted.inodes:
            self._note((device, number), pid, "open", link, path)
        elif wanted.queues and "/" not in link[1:] and self._is_queue_device(device, path):
            self.found.queues[device, number] = links == 0
            self._note((device, number), pid, "open", link, path)

    def _is_queue_device(self, device: int, path: str) -> bool:
        """The link of a queue's descriptor reads like a file in the root folder: the file system type decides."""
        if device not in self.queue_devices:
            self.queue_devices[device] = libc.file_system_type(path) == libc.MQUEUE_MAGIC
        return self.queue_devices[device]

    # Mappings

    def _mappings(self, pid: int, folder: str) -> None:
        data = read_bytes(f"{folder}/maps")
        for tag in self.tags:
            if tag in data:
                self._mapped(pid, folder, data, tag)
        if self.wanted.segments and b" /SYSV" in data:
            self._attached(pid, data)
        if self.wanted.loose:
            self._loose(pid, folder, data)

    def _mapped(self, pid: int, folder: str, data: bytes, tag: bytes) -> None:
        device = self.by_tag[tag]
        whole = device in self.wanted.devices
        for words in _lines_with(data, tag):
            if words[3] != tag[1:-1]:
                continue  # part of a file's name
            inode = (device, int(words[4]))
            if whole or inode in self.wanted.inodes:
                name = words[5].decode("utf-8", "surrogateescape") if len(words) > 5 else ""
                self._note(inode, pid, "mapped", name, f"{folder}/map_files/{words[0].decode()}")

    def _attached(self, pid: int, data: bytes) -> None:
        space = host.ipc_namespace_of(pid, self.root)
        if space is None:
            raise PermissionError(f"{self.root}/{pid}/ns/ipc")
        for words in _lines_with(data, b" /SYSV"):
            shown = _SYSV_PATH.fullmatch(words[5]) if len(words) > 5 else None
            if shown and words[3].startswith(b"00:") and words[3] not in self._plain_devices():
                self.found.attached.setdefault((space, int(words[4])), []).append((pid, int(shown[1], 16)))

    def _plain_devices(self) -> list[bytes]:
        return [tag[1:-1] for tag in self.tags]

    def _loose(self, pid: int, folder: str, data: bytes) -> None:
        for line in data.splitlines():
            words = line.split(None, 5)
            if len(words) > 5 and words[5].startswith(b"/") and int(words[4]) in self.wanted.loose:
                path = f"{folder}/map_files/{words[0].decode()}"
                with suppress(FileNotFoundError):
                    device, number, _ = libc.device_and_inode(path)
                    if (device, number) in self.wanted.inodes:
                        self._note((device, number), pid, "mapped", words[5].decode("utf-8", "surrogateescape"), path)

    # Blocked system calls

    def _blocked(self, pid: int, folder: str) -> None:
        for data in _syscalls(folder):
            words = data.split(None, 2)
            kind = _BLOCKING_BYTES.get(words[0]) if words else None
            if kind is not None:
                space = host.ipc_namespace_of(pid, self.root)
                if space is None:
                    raise PermissionError(f"{folder}/ns/ipc")
                pids = self.found.waiting.setdefault((space, kind, int(words[1], 16)), [])
                if pid not in pids:
                    pids.append(pid)

    def _note(self, inode: Inode, pid: int, how: str, name: str, path: str) -> None:
        holders = self.found.inodes.setdefault(inode, [])
        if (pid, how) not in holders[-2:]:
            holders.append((pid, how))
        known = self.found.sights.get(inode)
        if known is None or is_temporary(known.name):
            self.found.sights[inode] = Sight(pid, name, path)


def is_temporary(name: str) -> bool:
    """Whether this may be how glibc called a semaphore while it was made: its maker's maps show that for good."""
    return _TEMPORARY.fullmatch(name) is not None


def _lines_with(data: bytes, part: bytes) -> Iterator[list[bytes]]:
    """Yield the words of each line of maps that holds `part`, its path whole."""
    position = data.find(part)
    while position >= 0:
        start = data.rfind(b"\n", 0, position) + 1
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        yield data[start:end].split(None, 5)
        position = data.find(part, end)


def _syscalls(folder: str) -> Iterator[bytes]:
    """Yield what each blocked thread of a process is doing. A thread that ends meanwhile is left out."""
    threads: list[str] | None = None
    try:
        if os.stat(f"{folder}/task").st_nlink != 3:  # a link for each thread, and the two of any folder
            threads = os.listdir(f"{folder}/task")
    except FileNotFoundError:
        return
    for path in [f"{folder}/syscall"] if threads is None else [f"{folder}/task/{name}/syscall" for name in threads]:
        with suppress(FileNotFoundError, ProcessLookupError):
            yield read_bytes(path)


def read_bytes(path: str) -> bytes:
    """Read a file of /proc whole. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, _CHUNK)
        if len(data) < 64:  # the files of one line come in one piece
            return data
        parts = [data]
        while data := os.read(fd, _CHUNK):
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(fd)
