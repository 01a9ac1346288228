"""Remove exactly the object that was looked at before, or nothing: identity and holders once more, then the call.

A POSIX segment or semaphore, a file: a write lease on the file, which the kernel grants only while nobody else has it
open or mapped and which makes everybody who opens it now wait; the name must still lead to that very inode; unlink; the
lease goes. A segment's or semaphore's name is moved aside before, and compared once more (`aside`): nobody can give it
to another object then. A POSIX queue has a lease too, but it is given back before the comparison. Where no lease can be
had (somebody else's file, a mode that forbids to open it, a FIFO, a folder) the pass over /proc decides who holds it.
System V: IPC_STAT by id, every field of the identity compared, no attachments, nobody waiting; then IPC_RMID. An id
comes again only after millions of others, so it cannot lead to another object a moment later.

What is left is the moment between the last comparison and the removal, see `window`: in it a queue's name, or that of
a file outside of /dev/shm, can still be given to another object, and an object can be taken into use.

leased     before the name, or the id, is compared
compared   after it: the next call removes, or moves aside
aside      its name is moved aside: the next calls compare again, and remove
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeAlias

from orchestra.errors import KernelError
from orchestra.kernel import aside, lease, libc, nodes, registry
from orchestra.kernel.api import kernel_call
from orchestra.kernel.holders import holders_of
from orchestra.kernel.posix_mq import queue_folder
from orchestra.kernel.procfs import command_of
from orchestra.kinds import Family, Holders, Identity, Kind, ObjectRef, Stat

STEPS = ("leased", "compared", "aside")
_HELD = "a process holds it by now"
_OTHER = "another object has its name or id by now; that one was left alone"
_MISHAP = "somebody gave its name to another object in this very moment, and that one lost it"
_GONE = "it was gone already"
_NAMED = 5  # holders by name; more are counted
_TIMES = (
    "msg_ctime", "msg_stime", "msg_rtime", "shm_ctime", "shm_atime", "shm_dtime", "sem_ctime", "sem_otime",
)  # fmt: skip
_Node: TypeAlias = tuple[int | None, int | None, int | None]  # st_dev, st_ino, birth time


class Attempt(NamedTuple):
    """What became of it. `gone`: nothing of it is left, though it was not we who removed it. `why`, in words.

    `window`: seconds between the last comparison and the end of the removal, 0.0 when nothing was removed.
    """

    removed: bool
    why: str = ""
    gone: bool = False
    window: float = 0.0


def _go_on(_step: str) -> None:
    """The checkpoint of production: nothing happens."""


def remove_exact(
    ref: ObjectRef,
    identity: Identity,
    *,
    holders: Callable[[Identity], Holders] | None = None,
    checkpoint: Callable[[str], None] = _go_on,
    last_used: float | None = None,
    by_force: bool = False,
) -> Attempt:
    """Remove the object at `ref` if it is the one that `identity` was taken from and nobody is seen to hold it.

    `ref` needs a name; System V is addressed by the id in `identity`. `holders` answers for one identity (a pass over
    /proc). `last_used`: seconds since the epoch; a System V object that was used or changed after that stays, because
    who uses one leaves no other trace. `by_force` removes it with its holders, never another object. A folder must be
    empty. Raises PermissionRefused and other KernelErrors when the kernel refuses.
    """
    look = holders or (lambda wanted: holders_of([wanted])[0])
    if ref.family is Family.SYSV:
        return _by_id(ref, identity, look, checkpoint, last_used, by_force=by_force)
    return _by_name(ref, identity, look, checkpoint, by_force=by_force)


# By id -----------------------------------------------------------------------------------------------------------


def _by_id(
    ref: ObjectRef,
    identity: Identity,
    look: Callable[[Identity], Holders],
    checkpoint: Callable[[str], None],
    last_used: float | None,
    *,
    by_force: bool,
) -> Attempt:
    adapter = registry.adapter_for(ref.family, ref.kind)
    target = ObjectRef(ref.family, ref.kind, id=identity.id)
    # A queue shows who waits on it in /proc alone; the kernel itself counts who attached a segment or waits on a set.
    held = _in_words(look(identity)) if ref.kind is Kind.QUEUE and not by_force else ""
    checkpoint("leased")
    found = adapter.stat(target)
    verdict = _compared(found, identity)
    if verdict is not None:
        return verdict
    assert found is not None
    if not by_force:
        held = held or _used(found, last_used)
        if held:
            named = _in_words(look(identity)) if held.startswith(_HELD) else ""
            return Attempt(removed=False, why=named or held)
    compared = time.perf_counter()
    checkpoint("compared")
    done = adapter.remove(target)
    return Attempt(done, "" if done else _GONE, gone=not done, window=time.perf_counter() - compared if done else 0.0)


def _compared(found: Stat | None, identity: Identity) -> Attempt | None:
    if found is None:
        return Attempt(removed=False, why=_GONE, gone=True)
    if found.marked:
        return Attempt(removed=False, why="it is marked for removal already and ends with its last holder", gone=True)
    if found.identity.key != identity.key or not identity.is_same(found.identity):
        return Attempt(removed=False, why=_OTHER, gone=True)
    return None


def _used(found: Stat, last_used: float | None) -> str:
    """Return how we know that a System V object is in use, as far as the kernel's own counts and times tell."""
    times = [found.fields.get(name) for name in _TIMES]
    if last_used is not None and any(isinstance(moment, int) and moment > last_used for moment in times):
        return "it was used or changed since it was looked at"
    if found.attached:
        return f"{_HELD}: attached {found.attached} times"
    if found.ref.kind is Kind.SEMAPHORE and found.members:
        number = found.identity.id or 0
        with suppress(OSError):  # may be modified, not read: then the pass over /proc has to do
            for member in range(found.members):
                if any(libc.sem_query(number, member, command) for command in (libc.GETNCNT, libc.GETZCNT)):
                    return f"{_HELD}: a process waits on it"
    return ""


# By name ---------------------------------------------------------------------------------------------------------


def _by_name(
    ref: ObjectRef,
    identity: Identity,
    look: Callable[[Identity], Holders],
    checkpoint: Callable[[str], None],
    *,
    by_force: bool,
) -> Attempt:
    granted: bool | None = None
    with _opened(ref) as (fd, refused):
        if fd is None and refused == errno.ENOENT:
            return Attempt(removed=False, why=_GONE, gone=True)
        if refused == errno.EAGAIN:  # somebody else holds a lease on it
            return Attempt(removed=False, why=_HELD)
        if fd is not None and not _is_it(_node(libc.statx(fd)), identity):
            return Attempt(removed=False, why=_OTHER, gone=True)
        is_queue = ref.family is Family.POSIX and ref.kind is Kind.QUEUE
        if fd is not None and not by_force:
            if is_queue:
                checkpoint("leased")
            granted = lease.take(fd)
        if fd is not None and granted and is_queue:
            # mq_open(2) waits for a lease with the folder locked, and mq_unlink(2) needs that lock: held on to, the
            # lease would stop every queue of the namespace until the kernel breaks it, 45 s later.
            lease.give_back(fd)
            return _unlink_queue(ref, identity, checkpoint)
        if fd is not None and not is_queue and (granted or by_force):
            checkpoint("leased")
            return _unlink(ref, identity, fd, checkpoint, leased=bool(granted))
    # Our own descriptor is closed by now: it would count as a holder.
    held = "" if by_force else _in_words(look(identity))
    if held or granted is False:
        return Attempt(removed=False, why=held or _HELD)
    if not is_queue or granted is None:
        checkpoint("leased")
    return _unlink_queue(ref, identity, checkpoint) if is_queue else _unlink(ref, identity, None, checkpoint)


def _unlink(
    ref: ObjectRef, identity: Identity, fd: int | None, checkpoint: Callable[[str], None], *, leased: bool = False
) -> Attempt:
    """Compare what the name leads to, and remove the name. `fd`: a descriptor of what is to go, if there is one."""
    links = 0 if fd is None else os.fstat(fd).st_nlink
    whole = fd if leased else None
    try:
        found = _at_name(ref)
        verdict = _verdict(found, identity, whole)
        if verdict is not None:
            return verdict
        compared = time.perf_counter()
        checkpoint("compared")
        if fd is not None and ref.family is Family.POSIX:
            attempt = _unlink_aside(ref, identity, whole, checkpoint)
            if attempt is not None:
                return attempt
        done = _remove_name(ref)
        window = time.perf_counter() - compared
        if done and fd is not None and os.fstat(fd).st_nlink >= links:
            return Attempt(removed=False, why=_MISHAP, gone=True, window=window)
        return Attempt(done, "" if done else _GONE, gone=not done, window=window if done else 0.0)
    finally:
        if whole is not None:
            lease.give_back(whole)


def _unlink_queue(ref: ObjectRef, identity: Identity, checkpoint: Callable[[str], None]) -> Attempt:
    """The same for a queue, whose name cannot be moved: comparison and removal follow each other in one open folder."""
    name = nodes.posix_name(ref)
    with suppress(PermissionError), queue_folder() as folder, kernel_call(ref, f"unlink({name})"):
        verdict = _verdict(_statx(ref, name, dir_fd=folder), identity, None)
        if verdict is not None:
            return verdict
        compared = time.perf_counter()
        checkpoint("compared")
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return Attempt(removed=False, why=_GONE, gone=True)
        return Attempt(removed=True, window=time.perf_counter() - compared)
    return _unlink(ref, identity, None, checkpoint)


def _verdict(found: _Node | None, identity: Identity, leased: int | None) -> Attempt | None:
    """Return why what a name leads to stays, None when it is the one that is to go."""
    if found is None:
        return Attempt(removed=False, why=_GONE, gone=True)
    if not _is_it(found, identity):
        return Attempt(removed=False, why=_OTHER, gone=True)
    if leased is not None and fcntl.fcntl(leased, fcntl.F_GETLEASE) != fcntl.F_WRLCK:
        return Attempt(removed=False, why=f"{_HELD}: it was opened in this moment")
    return None


def _unlink_aside(
    ref: ObjectRef, identity: Identity, leased: int | None, checkpoint: Callable[[str], None]
) -> Attempt | None:
    """Remove it under a name that nobody else knows; None where a name cannot be moved."""
    try:
        moved = aside.move(_path(ref))
    except FileNotFoundError:
        return Attempt(removed=False, why=_GONE, gone=True)
    if moved is None:
        return None
    verdict: Attempt | None = None
    removed = False
    try:
        compared = time.perf_counter()
        verdict = _verdict(_statx(ref, moved), identity, leased)
        if verdict is None:
            checkpoint("aside")
            with kernel_call(ref, f"unlink({moved})"):
                os.unlink(moved)
            removed = True
    finally:  # also when this process is told to stop
        back = removed or aside.put_back(moved)
    window = time.perf_counter() - compared
    if verdict is None:
        return Attempt(removed=True, window=window)
    return verdict if back else verdict._replace(gone=False, why=f"{verdict.why}; {_named_meanwhile(moved)}")


def _named_meanwhile(moved: str) -> str:
    return f"its name was given to yet another one in this moment, so that it is at {moved} now"


@contextmanager
def _opened(ref: ObjectRef) -> Iterator[tuple[int | None, int]]:
    """Yield a descriptor to take a lease by, None and the errno where there is none. A FIFO is never opened."""
    fd, refused = None, 0
    try:
        if ref.family is Family.POSIX and ref.kind is Kind.QUEUE:
            fd = libc.mq_open(ref.name or "", os.O_RDONLY | os.O_NONBLOCK)
        elif ref.kind in (Kind.SEGMENT, Kind.SEMAPHORE):
            fd = os.open(_path(ref), os.O_RDONLY | os.O_NONBLOCK | nodes.NOFOLLOW)
    except OSError as err:
        refused = err.errno or 0
    try:
        yield fd, refused
    finally:
        if fd is not None:
            os.close(fd)


def _node(found: libc.FileStat) -> _Node:
    return found.st_dev, found.st_ino, found.birth_ns


def _is_it(found: _Node, identity: Identity) -> bool:
    device, inode, birth = found
    same = (device, inode) == (identity.st_dev, identity.st_ino)
    return same and (None in (birth, identity.birth_ns) or birth == identity.birth_ns)


def _at_name(ref: ObjectRef) -> _Node | None:
    """Return what the name leads to now, None for nothing. Raises KernelError."""
    if ref.family is not Family.POSIX or ref.kind is not Kind.QUEUE:
        return _statx(ref, _path(ref))
    found = registry.adapter_for(ref.family, ref.kind).stat(ref)
    return None if found is None else (found.identity.st_dev, found.identity.st_ino, None)


def _statx(ref: ObjectRef, path: str, dir_fd: int = libc.AT_FDCWD) -> _Node | None:
    with kernel_call(ref, f"statx({path})"):
        try:
            return _node(libc.statx(path, dir_fd=dir_fd))
        except (FileNotFoundError, NotADirectoryError):
            return None


def _remove_name(ref: ObjectRef) -> bool:
    if ref.family is Family.POSIX and ref.kind is Kind.QUEUE:
        return registry.adapter_for(ref.family, ref.kind).remove(ref)
    path = _path(ref)
    is_folder = ref.kind is Kind.FOLDER
    with kernel_call(ref, f"{'rmdir' if is_folder else 'unlink'}({path})"):
        try:
            (os.rmdir if is_folder else os.unlink)(path)
        except FileNotFoundError:
            return False
    return True


def _path(ref: ObjectRef) -> str:
    if ref.name is None:
        raise KernelError(f"{ref} has no name to remove")
    return nodes.shm_path(ref) if ref.family is Family.POSIX else ref.name


def _in_words(found: Holders) -> str:
    """Return who is seen to hold it. Processes that cannot be looked into were weighed when it was chosen to go."""
    if found.holders:
        each = {holder.pid: holder.command or command_of(holder.pid) for holder in found.holders}
        names = [f"{pid} ({command})" for pid, command in list(each.items())[:_NAMED]]
        more = f" and {len(each) - _NAMED} more" if len(each) > _NAMED else ""
        return f"held by {', '.join(names)}{more}"
    return ""
