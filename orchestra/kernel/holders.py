"""Who holds an object: one pass over /proc answers for many objects at once.

Four ways to hold: open (a descriptor of its inode), mapped (its inode in maps), attached (a System V segment in maps,
inode = shmid), waiting (a thread blocked in a call on a System V id). A System V queue or set leaves no other trace in
a process, so for those "nobody" only means "nobody is blocked on it".
Whatever cannot be read makes an answer incomplete, unless the kernel's own count of attachments is accounted for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from orchestra.errors import KernelError
from orchestra.kernel import host, libc, procfs, registry
from orchestra.kinds import Family, Holder, Holders, Identity, Kind, ObjectRef

# include/uapi/asm-generic/unistd.h, and arch/x86/entry/syscalls/syscall_64.tbl
_GENERIC_CALLS = {188: Kind.QUEUE, 189: Kind.QUEUE, 192: Kind.SEMAPHORE, 193: Kind.SEMAPHORE}
_X86_64_CALLS = {69: Kind.QUEUE, 70: Kind.QUEUE, 65: Kind.SEMAPHORE, 220: Kind.SEMAPHORE}
_BLOCKING = _X86_64_CALLS if os.uname().machine == "x86_64" else _GENERIC_CALLS


def holders_of(identities: Sequence[Identity], root: str = procfs.PROC) -> dict[int, Holders]:
    """Return who holds each identity, by its position in `identities`, reading each process once.

    Never raises for a process that goes away. `complete` is False where processes could not be looked into.
    """
    search = _Search(root)
    for position, identity in enumerate(identities):
        search.look_for(position, identity)
    search.visit_all()
    return {position: search.answer(position, identity) for position, identity in enumerate(identities)}


class _Search:
    """What is looked for, by how it shows, as positions in the caller's sequence; and what was found so far."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.here = host.ipc_namespace_of("self", root)
        self.inodes: dict[tuple[int, int], list[int]] = {}  # (st_dev, st_ino)
        self.numbers: dict[int, list[int]] = {}  # st_ino alone: btrfs and overlayfs show another device in maps
        self.segments: dict[int, list[tuple[int, int]]] = {}  # shmid: (key, position)
        self.calls: dict[tuple[Kind, int], list[int]] = {}
        self.found: dict[int, set[tuple[int, str]]] = {}  # position: (pid, how)
        self.attachments: dict[int, int] = {}  # position: mappings counted, as shm_nattch does
        self.unseen: set[int] = set()  # positions that something unreadable might hold

    def look_for(self, position: int, identity: Identity) -> None:
        if identity.family is not Family.SYSV:
            if identity.st_dev is not None and identity.st_ino is not None:
                self.inodes.setdefault((identity.st_dev, identity.st_ino), []).append(position)
                self.numbers.setdefault(identity.st_ino, []).append(position)
        elif identity.id is None or identity.boot_id != host.boot_id() or identity.ipc_ns != self.here:
            self.unseen.add(position)  # there the same id is another object: nothing here can be matched
        elif identity.kind is Kind.SEGMENT:
            self.segments.setdefault(identity.id, []).append((identity.key or 0, position))
        else:
            self.calls.setdefault((identity.kind, identity.id), []).append(position)

    def visit_all(self) -> None:
        by_inode = [position for group in self.inodes.values() for position in group]
        attached = [position for group in self.segments.values() for _, position in group]
        waiting = [position for group in self.calls.values() for position in group]
        pids = procfs.pids(self.root)
        if 1 not in pids:  # /proc is mounted with hidepid: there are processes that we do not even see
            self.unseen.update(by_inode, attached, waiting)
        for pid in pids:
            self._attempt(pid, self._descriptors, by_inode)
            self._attempt(pid, self._mappings, by_inode + attached)
            self._attempt(pid, self._blocked, waiting)

    def answer(self, position: int, identity: Identity) -> Holders:
        pairs = sorted(self.found.get(position, ()))
        holders = tuple(Holder(pid, procfs.command_of(pid, self.root), how) for pid, how in pairs)
        complete = position not in self.unseen
        if identity.family is Family.SYSV and identity.kind is Kind.SEGMENT and identity.id is not None:
            count = _attachments(identity)
            if count is not None:  # the kernel's own number says more than what we may read
                complete = count == self.attachments.get(position, 0)
        return Holders(holders, complete)

    def _attempt(self, pid: int, step: Callable[[int], None], positions: list[int]) -> None:
        if not positions:
            return
        try:
            step(pid)
        except PermissionError:
            found = procfs.process_stat(pid, self.root)
            if found and not (found.has_ended or found.is_kernel_thread):
                self.unseen.update(positions)
        except OSError:
            return  # it ended meanwhile

    def _descriptors(self, pid: int) -> None:
        for fd, text in procfs.fd_links(pid, self.root):
            if text.startswith("/") or self._is_wanted_pipe(text):
                with suppress(FileNotFoundError):
                    self._note_inode(pid, f"{self.root}/{pid}/fd/{fd}", "open")

    def _is_wanted_pipe(self, text: str) -> bool:
        number = text.removeprefix("pipe:[").rstrip("]")
        return text.startswith("pipe:[") and number.isdigit() and int(number) in self.numbers

    def _note_inode(self, pid: int, path: str, how: str) -> None:
        found = libc.statx(path, follow=True, sync=False)
        for position in self.inodes.get((found.st_dev, found.st_ino), ()):
            self._add(position, pid, how)

    def _mappings(self, pid: int) -> None:
        same_ipc = None
        for row in procfs.maps_of(pid, self.root):
            if row.path.startswith("/SYSV") and os.major(row.st_dev) == 0:
                if row.inode in self.segments and same_ipc is None:
                    same_ipc = self._is_in_our_namespace(pid)
                if row.inode in self.segments and same_ipc:
                    self._note_attachment(pid, row)
            elif (row.st_dev, row.inode) in self.inodes:
                for position in self.inodes[row.st_dev, row.inode]:
                    self._add(position, pid, "mapped")
            elif row.inode in self.numbers:
                with suppress(FileNotFoundError):
                    self._note_inode(pid, f"{self.root}/{pid}/map_files/{row.start:x}-{row.end:x}", "mapped")

    def _note_attachment(self, pid: int, row: procfs.Mapping) -> None:
        shown = int(row.path[5:13], 16)  # the key at creation; IPC_RMID zeroes it elsewhere, not here
        for key, position in self.segments[row.inode]:
            if key in (0, shown):
                self._add(position, pid, "attached")
                self.attachments[position] = self.attachments.get(position, 0) + 1

    def _blocked(self, pid: int) -> None:
        for number, argument in procfs.blocked_calls(pid, self.root):
            positions = self.calls.get((_BLOCKING[number], argument), ()) if number in _BLOCKING else ()
            if positions and self._is_in_our_namespace(pid):
                for position in positions:
                    self._add(position, pid, "waiting")

    def _is_in_our_namespace(self, pid: int) -> bool:
        found = host.ipc_namespace_of(pid, self.root)
        if found is None:
            raise PermissionError(f"{self.root}/{pid}/ns/ipc")
        return found == self.here

    def _add(self, position: int, pid: int, how: str) -> None:
        self.found.setdefault(position, set()).add((pid, how))


def _attachments(identity: Identity) -> int | None:
    """Return shm_nattch of just this segment, None when it is gone or cannot be told."""
    ref = ObjectRef(identity.family, identity.kind, id=identity.id)
    try:
        seen = registry.adapter_for(identity.family, identity.kind).stat(ref)
    except KernelError:
        return None
    return seen.attached if seen is not None and identity.is_same(seen.identity) else None
