"""Pipes: anonymous ones, alive as long as a descriptor is, and FIFOs, which have a path."""

from __future__ import annotations

import os
import stat
from typing import ClassVar

from orchestra.kernel import libc, nameless, nodes
from orchestra.kernel.api import kernel_call
from orchestra.kinds import Access, Family, Handle, Kind, Listing, ObjectRef, Spec, Stat

_LINK = "pipe:"


class AnonymousPipe:
    """Adapter of anonymous pipes. Like a memfd, one is known by its inode number."""

    family: ClassVar[Family] = Family.ANONYMOUS
    kind: ClassVar[Kind] = Kind.PIPE

    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create. The handle's descriptors are (read end, write end) and belong to the caller."""
        with kernel_call(spec.ref, "pipe2(O_CLOEXEC)"):
            ends = os.pipe2(os.O_CLOEXEC)
        try:
            with kernel_call(spec.ref, f"fchown, fchmod({spec.mode:#o})"):
                nodes.set_owner_and_mode(ends[0], spec)  # both ends are one inode
                found = libc.statx(ends[0])
        except BaseException:
            os.close(ends[0])
            os.close(ends[1])
            raise
        ref = ObjectRef(self.family, self.kind, name=spec.name, id=found.st_ino)
        return Handle(ref, nodes.identity_from(ref, found, with_birth=False), ends)

    def open(self, ref: ObjectRef, access: Access, /) -> int | None:
        """See Adapter.open. Makes a new end of a pipe that some process has open; read-write is refused by no kernel,
        but then end-of-file never comes, so it is two ends in one: ask for it only on purpose.
        """
        flags = {Access.READ: os.O_RDONLY, Access.WRITE: os.O_WRONLY, Access.READ_WRITE: os.O_RDWR}[access]
        return nameless.open_any(ref, _LINK, flags | os.O_NONBLOCK)

    def stat(self, ref: ObjectRef, /) -> Stat | None:
        """See Adapter.stat. None when no process that we may look into has an end open."""
        return nameless.stat_of(ref, _LINK)

    def remove(self, ref: ObjectRef, /) -> bool:  # noqa: ARG002 the protocol's
        """Nothing to remove: a pipe dies with its last descriptor, so this call never removes one."""
        return False

    def list(self) -> Listing:
        """All pipes that some process has open, as far as we may look."""
        return nameless.list_all(self.family, self.kind, _LINK)


class Fifo:
    """Adapter of FIFOs."""

    family: ClassVar[Family] = Family.FIFO
    kind: ClassVar[Kind] = Kind.PIPE

    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create."""
        path = nodes.node_path(spec.ref)
        with nodes.made_at(spec.ref, path, f"mkfifo({path}, {spec.mode:#o})"):
            os.mkfifo(path, 0o600)
        with nodes.undone_on_error(path), kernel_call(spec.ref, f"chown, chmod({path}, {spec.mode:#o})"):
            nodes.set_owner_and_mode_of_path(path, spec)
            return Handle(spec.ref, nodes.identity_from(spec.ref, libc.statx(path)))

    def open(self, ref: ObjectRef, access: Access, /) -> None:
        """See Adapter.open. Only the permission is checked: opening would wake, or wait for, the other side."""
        path = nodes.node_path(ref)
        wanted = (os.R_OK if access is not Access.WRITE else 0) | (os.W_OK if access is not Access.READ else 0)
        with kernel_call(ref, f"faccessat({path}, {access})"):
            if nodes.stat_path(ref, path, stat.S_IFIFO) is None:
                raise FileNotFoundError(2, os.strerror(2))
            if not os.access(path, wanted, effective_ids=True):
                raise PermissionError(13, os.strerror(13))

    def stat(self, ref: ObjectRef, /) -> Stat | None:
        """See Adapter.stat."""
        found = nodes.stat_path(ref, nodes.node_path(ref), stat.S_IFIFO)
        return nodes.stat_from(ref, found) if found else None

    def remove(self, ref: ObjectRef, /) -> bool:
        """See Adapter.remove. Processes that have it open keep their ends."""
        return nodes.unlink_path(ref, nodes.node_path(ref), stat.S_IFIFO)

    def link(self, ref: ObjectRef, name: str, /) -> ObjectRef:
        """See Linkable.link."""
        target = ObjectRef(self.family, self.kind, name=name)
        return nodes.link_path(ref, nodes.node_path(ref), nodes.node_path(target), target)

    def list(self) -> Listing:
        """No kernel interface lists them."""
        return Listing((), complete=False, why="FIFOs lie in any folder, which nothing lists")
