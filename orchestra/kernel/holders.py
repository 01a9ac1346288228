"""Who holds an object: one pass over /proc answers for many objects at once.

Four ways to hold: open (a descriptor of its inode), mapped (its inode in maps), attached (a System V segment in maps,
inode = shmid), waiting (a thread blocked in a call on a System V id). A System V queue or set leaves no other trace in
a process, so for those "nobody" only means "nobody is blocked on it".
Whatever cannot be read makes an answer incomplete, unless the kernel's own count of attachments is accounted for.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestra.errors import KernelError
from orchestra.kernel import host, procfs, registry, traces
from orchestra.kinds import Family, Holder, Holders, Identity, Kind, ObjectRef


def holders_of(identities: Sequence[Identity], root: str = procfs.PROC) -> dict[int, Holders]:
    """Return who holds each identity, by its position in `identities`, reading each process once.

    Never raises for a process that goes away. `complete` is False where processes could not be looked into.
    """
    if not identities:
        return {}
    return answers(identities, traces.look(wanted_for(identities), root), root)


def answers(identities: Sequence[Identity], found: traces.Traces, root: str = procfs.PROC) -> dict[int, Holders]:
    """Return the same from a pass that was made already; it must have looked for `wanted_for(identities)`."""
    here = host.ipc_namespace_of("self", root)
    return {n: _answer(identity, found, here, root) for n, identity in enumerate(identities)}


def attached_pids(mappings: Sequence[tuple[int, int]], key: int) -> list[int]:
    """Return the pids of the mappings that can be of a segment with this key; a pid for each mapping.

    IPC_RMID zeroes the key in the tables, maps show the one of the creation.
    """
    return [pid for pid, shown in mappings if key in (0, shown)]


def wanted_for(identities: Sequence[Identity]) -> traces.Wanted:
    """Return what a pass must look for to answer about these."""
    inodes = {(i.st_dev, i.st_ino) for i in identities if i.st_dev is not None and i.st_ino is not None}
    elsewhere = (i.st_ino for i in identities if i.family is not Family.POSIX and i.st_ino is not None)
    kinds = {identity.kind for identity in identities if identity.family is Family.SYSV}
    return traces.Wanted(
        inodes=frozenset(inodes),
        loose=frozenset(elsewhere),
        segments=Kind.SEGMENT in kinds,
        waits=bool(kinds - {Kind.SEGMENT}),
    )


def _answer(identity: Identity, found: traces.Traces, here: int | None, root: str) -> Holders:
    if identity.family is not Family.SYSV:
        pairs = found.inodes.get((identity.st_dev or 0, identity.st_ino or 0), [])
        return _named(pairs, found.complete, root)
    if identity.id is None or identity.boot_id != host.boot_id() or identity.ipc_ns != here or here is None:
        return Holders((), complete=False)  # there the same id is another object: nothing here can be matched
    if identity.kind is not Kind.SEGMENT:
        pids = found.waiting.get((here, identity.kind, identity.id), [])
        return _named([(pid, "waiting") for pid in pids], found.complete, root)
    seen = attached_pids(found.attached.get((here, identity.id), []), identity.key or 0)
    count = _attachments(identity)  # the kernel's own number says more than what we may read
    complete = found.complete if count is None else count == len(seen)
    return _named([(pid, "attached") for pid in seen], complete, root)


def _named(pairs: Sequence[tuple[int, str]], complete: bool, root: str) -> Holders:
    return Holders(tuple(Holder(pid, procfs.command_of(pid, root), how) for pid, how in sorted(set(pairs))), complete)


def _attachments(identity: Identity) -> int | None:
    """Return shm_nattch of just this segment, None when it is gone or cannot be told."""
    ref = ObjectRef(identity.family, identity.kind, id=identity.id)
    try:
        seen = registry.adapter_for(identity.family, identity.kind).stat(ref)
    except KernelError:
        return None
    return seen.attached if seen is not None and identity.is_same(seen.identity) else None
