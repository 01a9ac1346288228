"""Objects without a name (memfds, anonymous pipes): found through the descriptors of the processes that hold them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from orchestra.kernel import libc, nodes, procfs
from orchestra.kernel.api import kernel_call
from orchestra.kinds import Family, Kind, Listing, ObjectRef, Stat


def stat_of(ref: ObjectRef, link: str) -> Stat | None:
    """Return the Stat of the object whose inode number is `ref.id`, None when nobody visible holds it."""
    for path in _holding(ref, link):
        with kernel_call(ref, f"statx({path})"):
            try:
                found = libc.statx(path, follow=True)
            except FileNotFoundError:
                continue
        if found.st_ino == ref.id:
            return nodes.stat_from(ref, found, with_birth=False)
    return None


def open_any(ref: ObjectRef, link: str, flags: int) -> int:
    """Open anew what a holder has open. Raises ObjectGone when nobody visible holds it, PermissionRefused."""
    for path in _holding(ref, link):
        with kernel_call(ref, f"open({path})"):
            try:
                fd = os.open(path, flags | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
        if os.fstat(fd).st_ino == ref.id:
            return fd
        os.close(fd)
    with kernel_call(ref, f"search /proc/PID/fd for inode {ref.id}"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def list_all(family: Family, kind: Kind, link: str) -> Listing:
    """List every object whose descriptor links begin with `link`, each once."""
    seen: dict[int, Stat] = {}
    unseen: list[int] = []
    for path, text in _links(link, unseen):
        try:
            found = libc.statx(path, follow=True)
        except OSError:
            continue
        name = text.removeprefix(link).removesuffix(" (deleted)") if family is Family.MEMFD else None
        ref = ObjectRef(family, kind, name=name, id=found.st_ino)
        seen.setdefault(found.st_ino, nodes.stat_from(ref, found, with_birth=False))
    why = f"the descriptors of {len(unseen)} processes of other users cannot be read" if unseen else ""
    return Listing(tuple(seen.values()), complete=not unseen, why=why)


def _holding(ref: ObjectRef, link: str) -> Iterator[str]:
    # A pipe's link holds its inode number; a memfd's holds only its label, which need not be unique.
    exact = f"pipe:[{ref.id}]" if ref.family is Family.ANONYMOUS else None
    for path, text in _links(link, []):
        if exact is None or text == exact:
            yield path


def _links(link: str, unseen: list[int]) -> Iterator[tuple[str, str]]:
    """Yield (path of a descriptor, its link), our own first; pids that we may not look into go to `unseen`."""
    own = os.getpid()
    for pid in [own, *(pid for pid in procfs.pids() if pid != own)]:
        try:
            for fd, text in procfs.fd_links(pid):
                if text.startswith(link):
                    yield f"{procfs.PROC}/{pid}/fd/{fd}", text
        except PermissionError:
            found = procfs.process_stat(pid)
            if found and not (found.has_ended or found.is_kernel_thread):
                unseen.append(pid)
        except OSError:
            continue
