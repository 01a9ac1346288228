"""Anonymous segments made by memfd_create(2): no name, alive as long as a descriptor or a mapping is.

The kernel keeps no list of them and no address leads to one, so an ObjectRef carries the inode number as its `id`;
it is found again through the descriptors of processes that we may look into.
"""

from __future__ import annotations

import os
from typing import ClassVar

from orchestra.errors import KernelError
from orchestra.kernel import libc, nameless, nodes
from orchestra.kernel.api import kernel_call
from orchestra.kinds import Access, Family, Handle, Kind, Listing, ObjectRef, Spec, Stat

_LINK = "/memfd:"


class Memfd:
    """Adapter of memfd segments."""

    family: ClassVar[Family] = Family.MEMFD
    kind: ClassVar[Kind] = Kind.SEGMENT

    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create. The handle's only descriptor is read-write and belongs to the caller."""
        label = (spec.name or "orchestra").lstrip("/")
        if "\0" in label:
            raise KernelError(f"{label!r} is no proper name of a segment")
        flags, words = os.MFD_CLOEXEC, ""
        if spec.huge_pages is not None:
            flags |= libc.MFD_HUGETLB | libc.huge_flag(spec.huge_pages)
            words = f", MFD_HUGETLB, {spec.huge_pages}"
        with kernel_call(spec.ref, f"memfd_create({label}{words})"):
            fd = os.memfd_create(label, flags)
        try:
            nodes.allocate(fd, spec)
            if spec.huge_pages is None:
                nodes.fill(fd, spec)
            else:
                nodes.fill_mapped(fd, spec)
            with kernel_call(spec.ref, f"fchown, fchmod({spec.mode:#o})"):
                nodes.set_owner_and_mode(fd, spec)
                found = libc.statx(fd)
        except BaseException:
            os.close(fd)
            raise
        ref = ObjectRef(self.family, self.kind, name=spec.name, id=found.st_ino)
        return Handle(ref, nodes.identity_from(ref, found, with_birth=False), (fd,))

    def open(self, ref: ObjectRef, access: Access, /) -> int | None:
        """See Adapter.open. Opens a holder's descriptor anew; who has the handle uses `libc.reopen`."""
        flags = os.O_RDONLY if access is Access.READ else os.O_RDWR
        return nameless.open_any(ref, _LINK, flags)

    def stat(self, ref: ObjectRef, /) -> Stat | None:
        """See Adapter.stat. None when no process that we may look into has it open."""
        return nameless.stat_of(ref, _LINK)

    def remove(self, ref: ObjectRef, /) -> bool:  # noqa: ARG002 the protocol's
        """Nothing to remove: it dies with its last descriptor and mapping, so this call never removes one."""
        return False

    def list(self) -> Listing:
        """All memfds that some process has open, as far as we may look."""
        return nameless.list_all(self.family, self.kind, _LINK)
