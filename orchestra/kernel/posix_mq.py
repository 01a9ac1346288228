"""POSIX message queues. Made, opened and unlinked by posix_ipc; looked at by mq_getattr and fstat.

Opening a queue for reading disturbs nobody. Where its mode forbids even that, the queue file system shows owner and
inode without opening: through a mount somewhere, or for root through a detached mount that appears nowhere.
A queue must never be opened in a process that has a notification armed on it: closing it would drop that.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

from orchestra.kernel import host, libc, nodes, procfs
from orchestra.kernel.api import kernel_call
from orchestra.kernel.borrowed import errno_restored
from orchestra.kinds import Access, Family, Handle, Kind, Listing, ObjectRef, Spec, Stat

_CANNOT_LIST = (
    "no queue file system is mounted, so only queues that a visible process has open are listed "
    "(root can do: mount -t mqueue none /dev/mqueue)"
)


class PosixMq:
    """Adapter of POSIX queues."""

    family: ClassVar[Family] = Family.POSIX
    kind: ClassVar[Kind] = Kind.QUEUE

    def create(self, spec: Spec, /) -> Handle:
        """See Adapter.create."""
        import posix_ipc

        name = _name(spec.ref)
        messages = spec.max_messages or host.sysctl_number("fs.mqueue.msg_default") or 10
        size = spec.message_size or host.sysctl_number("fs.mqueue.msgsize_default") or 8192
        call = f"mq_open({name}, O_CREAT|O_EXCL, {spec.mode:#o}, mq_maxmsg {messages}, mq_msgsize {size})"
        with kernel_call(spec.ref, call), errno_restored():
            made = posix_ipc.MessageQueue(
                name, posix_ipc.O_CREX, mode=0o600, max_messages=messages, max_message_size=size
            )
        try:
            with _unlinked_on_error(name), kernel_call(spec.ref, f"fchown, fchmod({spec.mode:#o})"):
                nodes.set_owner_and_mode(made.mqd, spec)
                return Handle(spec.ref, nodes.identity_from(spec.ref, libc.statx(made.mqd), with_birth=False))
        finally:
            made.close()  # posix_ipc does not close by itself

    def open(self, ref: ObjectRef, access: Access, /) -> int | None:
        """See Adapter.open. The kernel sets close-on-exec."""
        flags = {Access.READ: os.O_RDONLY, Access.WRITE: os.O_WRONLY, Access.READ_WRITE: os.O_RDWR}[access]
        with kernel_call(ref, f"mq_open({ref.name}, {access})"):
            return libc.mq_open(_name(ref), flags)

    def stat(self, ref: ObjectRef, /) -> Stat | None:
        """See Adapter.stat. Raises PermissionRefused when the mode forbids to open it and nothing else shows it."""
        for flags in (os.O_RDONLY, os.O_WRONLY):
            with kernel_call(ref, f"mq_open({ref.name})"):
                try:
                    fd = libc.mq_open(_name(ref), flags)
                except FileNotFoundError:
                    return None
                except PermissionError as err:
                    refusal = err
                    continue
            try:
                return _stat_fd(ref, fd)
            finally:
                os.close(fd)
        with kernel_call(ref, f"mq_open({ref.name})"):
            with suppress(OSError), queue_folder() as folder:
                return _stat_at(ref, folder)
            raise refusal

    def remove(self, ref: ObjectRef, /) -> bool:
        """See Adapter.remove. Processes that have it open keep it, and its memory stays charged to its owner."""
        import posix_ipc

        with kernel_call(ref, f"mq_unlink({ref.name})"):
            try:
                with errno_restored():
                    posix_ipc.unlink_message_queue(_name(ref))
            except FileNotFoundError:
                return False
        return True

    def list(self) -> Listing:
        """All queues of this IPC namespace, where a queue file system can be had; else those somebody has open."""
        try:
            with queue_folder() as folder:
                refs = [ObjectRef(self.family, self.kind, name=f"/{name}") for name in os.listdir(folder)]
                seen = [self._stat_listed(ref, folder) for ref in refs]
        except OSError:
            return self._list_open()
        return Listing(tuple(found for found in seen if found is not None))

    def _stat_listed(self, ref: ObjectRef, folder: int) -> Stat | None:
        shown = None
        with suppress(OSError):
            shown = _stat_at(ref, folder)
        with suppress(OSError):  # more fields where it may be opened
            fd = os.open(nodes.posix_name(ref), os.O_RDONLY | os.O_NONBLOCK | nodes.NOFOLLOW, dir_fd=folder)
            try:
                return _stat_fd(ref, fd)
            finally:
                os.close(fd)
        return shown

    def _list_open(self) -> Listing:
        seen: dict[tuple[int, int], Stat] = {}
        own = host.ipc_namespace()
        for pid in procfs.pids():
            if host.ipc_namespace_of(pid) == own:
                for found in open_queues(pid):
                    seen.setdefault((found.fields["st_dev"], found.fields["st_ino"]), found)  # type: ignore[arg-type]
        named = tuple(found for found in seen.values() if found.fields["st_nlink"])
        return Listing(named, complete=False, why=_CANNOT_LIST)


def open_queues(pid: int, root: str = procfs.PROC) -> Iterator[Stat]:
    """Yield the queues that a process has open, unlinked ones too (st_nlink 0); nothing when we may not look.

    The link of a queue's descriptor reads like a file in the root folder, so the file system type decides.
    """
    with suppress(OSError):
        for fd, text in procfs.fd_links(pid, root):
            path = f"{root}/{pid}/fd/{fd}"
            name = text.removesuffix(" (deleted)")
            if name.startswith("/") and "/" not in name[1:]:
                with suppress(OSError):
                    if libc.file_system_type(path) == libc.MQUEUE_MAGIC:
                        ref = ObjectRef(Family.POSIX, Kind.QUEUE, name=name)
                        yield nodes.stat_from(ref, libc.statx(path, follow=True), with_birth=False)


@contextmanager
def queue_folder() -> Iterator[int]:
    """Yield a directory descriptor of this IPC namespace's queues. Raises PermissionError when none can be had."""
    folder = _open_queue_folder()
    try:
        yield folder
    finally:
        os.close(folder)


def _open_queue_folder() -> int:
    """Prefer the detached mount: a mounted one may be of another namespace, where unshare(CLONE_NEWIPC) came later."""
    with suppress(OSError):  # not root, or not over this namespace, or Linux before 5.2
        return libc.detached_mqueue()
    with suppress(OSError):
        for mount in procfs.mounts():
            if mount.fs_type == "mqueue":
                folder = _open_mounted(mount.path)
                if folder is not None:
                    return folder
    raise PermissionError(errno.EPERM, "no queue file system to look into")


def _open_mounted(path: str) -> int | None:
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if _is_of_this_namespace(folder):
            return os.dup(folder)
    except OSError:
        return None
    finally:
        os.close(folder)
    return None


def _is_of_this_namespace(folder: int) -> bool:
    """Compare one queue seen there with what mq_open finds by that name. An empty folder cannot be told: it counts."""
    for name in os.listdir(folder):
        try:
            fd = libc.mq_open(f"/{name}", os.O_RDONLY)
        except PermissionError:
            continue
        except FileNotFoundError:
            return False
        try:
            return os.fstat(fd).st_dev == os.fstat(folder).st_dev
        finally:
            os.close(fd)
    return True


@contextmanager
def _unlinked_on_error(name: str) -> Iterator[None]:
    import posix_ipc

    try:
        yield
    except BaseException:
        with suppress(OSError), errno_restored():
            posix_ipc.unlink_message_queue(name)
        raise


def _name(ref: ObjectRef) -> str:
    return f"/{nodes.posix_name(ref)}"


def _stat_fd(ref: ObjectRef, fd: int) -> Stat:
    attributes = libc.mq_getattr(fd)
    shown = nodes.stat_from(ref, libc.statx(fd), with_birth=False)
    attributes["mq_flags"] &= ~os.O_NONBLOCK  # of our own descriptor, not of the queue
    return shown._replace(
        size=attributes["mq_maxmsg"] * attributes["mq_msgsize"], fields={**shown.fields, **attributes}
    )


def _stat_at(ref: ObjectRef, folder: int) -> Stat | None:
    try:
        found = libc.statx(nodes.posix_name(ref), dir_fd=folder)
    except FileNotFoundError:
        return None
    return nodes.stat_from(ref, found, with_birth=False) if stat.S_ISREG(found.st_mode) else None
