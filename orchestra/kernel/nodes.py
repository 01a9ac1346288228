"""Objects that are inodes: POSIX segments and semaphores in /dev/shm, files, FIFOs, memfds, pipes.

What they share: identity by statx, exact mode and owner whatever the umask, allocation, fill, a second name by link.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestra.errors import KernelError, ShapeMismatch
from orchestra.kernel import libc
from orchestra.kernel.api import SHM_FOLDER, kernel_call
from orchestra.kernel.borrowed import errno_restored
from orchestra.kinds import Access, Family, Fill, Handle, Identity, Kind, Listing, ObjectRef, Spec, Stat

_CHUNK = 1 << 20
SEMAPHORE_PREFIX = "sem."  # glibc keeps named semaphores beside the segments: sem_overview(7)
NOFOLLOW = os.O_NOFOLLOW | os.O_CLOEXEC


def identity_from(ref: ObjectRef, found: libc.FileStat, *, with_birth: bool = True) -> Identity:
    """Return what proves that two sightings are one inode. The birth time guards against a reused inode number."""
    birth = found.birth_ns if with_birth else None
    return Identity(ref.family, ref.kind, st_dev=found.st_dev, st_ino=found.st_ino, birth_ns=birth)


def stat_from(ref: ObjectRef, found: libc.FileStat, *, with_birth: bool = True) -> Stat:
    """Return the Stat of an inode, with struct stat's C names as fields."""
    names = ("st_dev", "st_ino", "st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_atime",
             "st_mtime", "st_ctime")  # fmt: skip
    return Stat(
        ref=ref,
        identity=identity_from(ref, found, with_birth=with_birth),
        mode=stat.S_IMODE(found.st_mode) & 0o777,
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size if ref.kind is Kind.SEGMENT else None,
        fields={name: getattr(found, name) for name in names},
    )


def stat_path(ref: ObjectRef, path: str, kind_of_file: int = stat.S_IFREG) -> libc.FileStat | None:
    """Stat without opening; None when nothing is there. Raises ShapeMismatch for another kind of file."""
    with kernel_call(ref, f"statx({path})"):
        try:
            found = libc.statx(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
    if stat.S_IFMT(found.st_mode) != kind_of_file:
        raise ShapeMismatch(f"{path} is {_KINDS_OF_FILE.get(stat.S_IFMT(found.st_mode), 'something else')}, not {ref}")
    return found


def finished(fd: int, path: str, spec: Spec, *steps: Callable[[int, Spec], None]) -> Handle:
    """Take a file that was just made exclusively through `steps`, then its owner and mode; close `fd`.

    Raises KernelError as the steps do; then the file is gone again.
    """
    try:
        with undone_on_error(path):
            for step in steps:
                step(fd, spec)
            with kernel_call(spec.ref, f"fchown, fchmod({spec.mode:#o})"):
                set_owner_and_mode(fd, spec)
                return Handle(spec.ref, identity_from(spec.ref, libc.statx(fd)))
    finally:
        os.close(fd)


def set_owner_and_mode(fd: int, spec: Spec) -> None:
    """Give an inode just the declared owner, group and mode. Owner first: a wide mode must not meet the old group."""
    if spec.owner is not None or spec.group is not None:
        os.chown(fd, -1 if spec.owner is None else spec.owner, -1 if spec.group is None else spec.group)
    os.chmod(fd, spec.mode)


def set_owner_and_mode_of_path(path: str, spec: Spec) -> None:
    """The same for a node that must not be opened (a FIFO, a semaphore); a symlink put there meanwhile is refused."""
    fd = os.open(path, os.O_PATH | NOFOLLOW)
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        link = f"/proc/self/fd/{fd}"  # fchmod(2) refuses an O_PATH descriptor, its link does not
        if spec.owner is not None or spec.group is not None:
            os.chown(link, -1 if spec.owner is None else spec.owner, -1 if spec.group is None else spec.group)
        os.chmod(link, spec.mode)
    finally:
        os.close(fd)


def allocate(fd: int, spec: Spec) -> None:
    """Size and allocate now, so that a full /dev/shm is ENOSPC here and not SIGBUS at a later touch."""
    if spec.size:
        with kernel_call(spec.ref, f"posix_fallocate({spec.size})"):
            os.posix_fallocate(fd, 0, spec.size)


def fill(fd: int, spec: Spec) -> None:
    """Write the declared content from offset 0. Raises KernelError when it is longer than the segment."""
    offset = 0
    for chunk in fill_chunks(spec):
        with kernel_call(spec.ref, f"pwrite({len(chunk)} bytes at {offset})"):
            view = memoryview(chunk)
            while view:
                written = os.pwrite(fd, view, offset)
                offset, view = offset + written, view[written:]


def fill_mapped(fd: int, spec: Spec) -> None:
    """The same through a mapping: a file of huge pages cannot be written to."""
    if spec.fill is None:
        return
    with kernel_call(spec.ref, f"mmap({spec.size})"):
        mapping = mmap.mmap(fd, spec.size or 0)
    with mapping:
        for chunk in fill_chunks(spec):
            mapping.write(chunk)


def fill_chunks(spec: Spec) -> Iterator[bytes]:
    """Yield the declared content piece by piece. Raises KernelError when it cannot be read or does not fit."""
    total = 0
    for chunk in _content(spec, spec.fill):
        total += len(chunk)
        if total > (spec.size or 0):
            raise KernelError(
                f"the fill of {spec.ref} is longer than the segment",
                detail=f"the segment has {spec.size or 0} bytes",
                hint="Raise `size`, or shorten the fill.",
            )
        yield chunk


def _content(spec: Spec, content: Fill | None) -> Iterator[bytes]:
    if content is None:
        return
    if content.text is not None:
        try:
            yield content.text.encode()
        except UnicodeEncodeError as err:  # JSON can write half a surrogate pair
            raise KernelError(f"the fill of {spec.ref} is no text that UTF-8 can hold", detail=str(err)) from err
    elif content.hex is not None:
        try:
            yield bytes.fromhex(content.hex)
        except ValueError as err:
            raise KernelError(f"the fill of {spec.ref} is not a hexadecimal text", detail=str(err)) from err
    elif content.file is not None:
        try:
            with open(content.file, "rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except OSError as err:
            problem = f"cannot read {content.file}, the fill of {spec.ref}: {err.strerror}"
            raise KernelError(problem, detail=f"read({content.file}) -> {errno.errorcode.get(err.errno or 0)}") from err


def open_path(ref: ObjectRef, path: str, access: Access) -> int:
    """Open the file of a segment; read-write for any writing access, since mmap needs to read what it writes."""
    flags = os.O_RDONLY if access is Access.READ else os.O_RDWR
    with kernel_call(ref, f"open({path}, {'O_RDONLY' if access is Access.READ else 'O_RDWR'})"):
        return os.open(path, flags | NOFOLLOW)


def link_path(ref: ObjectRef, old: str, new: str, target: ObjectRef) -> ObjectRef:
    """Give a node a second name. Raises ObjectExists when it is taken, ObjectGone for a lost node."""
    with kernel_call(target, f"link({old}, {new})"):
        try:
            os.link(old, new, follow_symlinks=False)
        except FileNotFoundError:
            with kernel_call(ref, f"link({old}, {new})"):
                raise
    return target


def unlink_path(ref: ObjectRef, path: str, kind_of_file: int) -> bool:
    """Unlink a node of just that kind; False when it is gone. Another kind of file there is ShapeMismatch."""
    if stat_path(ref, path, kind_of_file) is None:
        return False
    with kernel_call(ref, f"unlink({path})"):
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
    return True


def unlink_posix(ref: ObjectRef, call: str, unlink: Callable[[str], None]) -> bool:
    """Remove a POSIX segment or semaphore by the C library's own call; False when it was gone already."""
    if stat_path(ref, shm_path(ref)) is None:
        return False
    with kernel_call(ref, f"{call}({ref.name})"):
        try:
            with errno_restored():
                unlink(ref.name or "")
        except FileNotFoundError:
            return False
    return True


def node_path(ref: ObjectRef) -> str:
    """Return the path of a file or FIFO. Raises KernelError when it is not absolute."""
    path = ref.name or ""
    if not path.startswith("/") or "\0" in path:
        raise KernelError(f"{path!r} is no absolute path")
    return path


@contextmanager
def made_at(ref: ObjectRef, path: str, call: str) -> Iterator[None]:
    """Translate the errors of making a node; ENOENT means here that its folder is missing."""
    with kernel_call(ref, call):
        try:
            yield
        except FileNotFoundError as err:
            folder = os.path.dirname(path)
            problem = f"{ref} cannot be made: there is no folder {folder}"
            raise KernelError(problem, detail=f"{call} -> ENOENT", hint=f"mkdir -p {folder}") from err


def posix_name(ref: ObjectRef) -> str:
    """Return the name behind the slash. Raises KernelError for one that the C library would refuse.

    Checked here because posix_ipc 1.3.2 crashes the process on a queue's name with a NUL byte.
    """
    bare = (ref.name or "").removeprefix("/")
    if not bare or "/" in bare or "\0" in bare or bare in (".", "..") or not (ref.name or "").startswith("/"):
        hint = "A POSIX name is a slash and 1 to 255 other characters."
        raise KernelError(f"{ref.name!r} is no proper name of a {ref.kind}", hint=hint)
    if len(os.fsencode(bare)) > (251 if ref.kind is Kind.SEMAPHORE else 255):  # sem_open(3) says EINVAL, as for values
        with kernel_call(ref, "open"):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return bare


def shm_path(ref: ObjectRef) -> str:
    """Return the file behind a POSIX name. Raises KernelError for a name that shm_open(3) would refuse."""
    prefix = SEMAPHORE_PREFIX if ref.kind is Kind.SEMAPHORE else ""
    return f"{SHM_FOLDER}/{prefix}{posix_name(ref)}"


def shm_names(kind: Kind) -> Iterator[ObjectRef]:
    """Yield the regular files of /dev/shm that are segments, or semaphores. Raises OSError when it cannot be read."""
    with os.scandir(SHM_FOLDER) as entries:
        for entry in entries:
            is_semaphore = entry.name.startswith(SEMAPHORE_PREFIX)
            if is_semaphore is (kind is Kind.SEMAPHORE) and entry.is_file(follow_symlinks=False):
                yield ObjectRef(Family.POSIX, kind, name="/" + entry.name.removeprefix(SEMAPHORE_PREFIX * is_semaphore))


def list_shm(kind: Kind, stat_one: Callable[[ObjectRef], Stat | None]) -> Listing:
    """List the POSIX segments or semaphores of this mount namespace. A missing /dev/shm holds none, and says so."""
    try:
        seen = [stat_one(ref) for ref in shm_names(kind)]
    except FileNotFoundError:
        return Listing((), why=f"there is no {SHM_FOLDER} here")
    except OSError as err:
        return Listing((), complete=False, why=f"{SHM_FOLDER} cannot be read: {err.strerror}")
    return Listing(tuple(found for found in seen if found is not None))


@contextmanager
def undone_on_error(path: str) -> Iterator[None]:
    """Remove the half-made node when the block fails, whatever the reason; the first error is the one that leaves."""
    try:
        yield
    except BaseException:
        with _ignored():
            os.unlink(path)
        raise


@contextmanager
def _ignored() -> Iterator[None]:
    try:
        yield
    except OSError:
        return


_KINDS_OF_FILE = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
