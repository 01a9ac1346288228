"""File-backed segments: an ordinary file that programs map. It is made, sized and filled here, and opened by path."""

from __future__ import annotations

import os
import stat
from typing import ClassVar

from orchestra.kernel import nodes
from orchestra.kinds import Access, Family, Handle, Kind, Listing, ObjectRef, Spec, Stat


class FileSegment:
    """Adapter of file-backed segments."""

    family: ClassVar[Family] = Family.FILE
    kind: ClassVar[Kind] = Kind.SEGMENT

    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create."""
        path = nodes.node_path(spec.ref)
        call = f"open({path}, O_CREAT|O_EXCL, {spec.mode:#o})"
        with nodes.made_at(spec.ref, path, call):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | nodes.NOFOLLOW, 0o600)
        return nodes.finished(fd, path, spec, nodes.allocate, nodes.fill)

    def open(self, ref: ObjectRef, access: Access, /) -> int | None:
        """See Adapter.open. Write access is read-write: mmap of a write-only descriptor is refused."""
        return nodes.open_path(ref, nodes.node_path(ref), access)

    def stat(self, ref: ObjectRef, /) -> Stat | None:
        """See Adapter.stat."""
        found = nodes.stat_path(ref, nodes.node_path(ref))
        return nodes.stat_from(ref, found) if found else None

    def remove(self, ref: ObjectRef, /) -> bool:
        """See Adapter.remove. Processes that have it open or mapped keep it."""
        return nodes.unlink_path(ref, nodes.node_path(ref), stat.S_IFREG)

    def link(self, ref: ObjectRef, name: str, /) -> ObjectRef:
        """See Linkable.link. Not every file system has hard links (EPERM)."""
        target = ObjectRef(self.family, self.kind, name=name)
        return nodes.link_path(ref, nodes.node_path(ref), nodes.node_path(target), target)

    def list(self) -> Listing:
        """No kernel interface lists them: any file may be mapped."""
        return Listing((), complete=False, why="file-backed segments are ordinary files, which nothing lists")
