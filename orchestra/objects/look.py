"""Look at what the addresses of a recorded object lead to now. Never opens, attaches or changes anything."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable

from orchestra.errors import KernelError, ShapeMismatch
from orchestra.kinds import Family, ObjectRef, Stat
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import OPEN_STATES, ObjectRow, ObjectState
from orchestra.objects.entitlement import CREATION_WINDOW, Sighting
from orchestra.objects.names import PATH_FAMILIES, is_linkable, names_of
from orchestra.objects.world import SHM_FOLDER, World

# A System V object by kernel id, in one boot and namespace.
Claim = tuple[str, str, int, int]


def folder_of(row: ObjectRow) -> str | None:
    """Return the folder that holds the object's name, for kinds whose name is a file."""
    if row.name is None or not is_linkable(row.family, row.kind):
        return None
    return posixpath.dirname(row.name) if row.family in PATH_FAMILIES else SHM_FOLDER


def claims(ledger: Ledger) -> set[Claim]:
    """Return every System V id that an open row has on record: those are never taken for another row's object."""
    return {
        (row.kind.value, row.boot_id, row.ipc_ns, row.id)
        for row in ledger.objects(states=(*OPEN_STATES, ObjectState.BORROWED))
        if row.family is Family.SYSV and row.id is not None
    }


def sightings(row: ObjectRow, world: World, claimed: Collection[Claim] = ()) -> list[Sighting]:
    """Look at every address of `row`; at least one sighting comes back."""
    if row.family is Family.SYSV:
        return [_by_number(row, world, claimed)]
    folder = folder_of(row)
    device = None if folder is None else world.device(folder)
    names = names_of(row)
    return [_by_name(row, name, device, world) for name in names] or [Sighting()]


def _by_name(row: ObjectRow, name: str, device: int | None, world: World) -> Sighting:
    try:
        stat = world.adapter(row.family, row.kind).stat(ObjectRef(row.family, row.kind, name=name))
    except ShapeMismatch as err:  # another kind of file has the name
        return Sighting(name=name, device=device, other=err.problem)
    except KernelError as err:
        return Sighting(name=name, device=device, refused=err.problem)
    return Sighting(stat, name=name, device=device)


def _by_number(row: ObjectRow, world: World, claimed: Collection[Claim]) -> Sighting:
    adapter = world.adapter(row.family, row.kind)
    try:
        if row.id is not None:
            return Sighting(adapter.stat(ObjectRef(row.family, row.kind, id=row.id)))
        if row.ipc_key:
            return Sighting(adapter.stat(ObjectRef(row.family, row.kind, key=row.ipc_key)))
        found = [stat for stat in adapter.list().stats if _may_be(row, stat, claimed)]
    except KernelError as err:
        return Sighting(refused=err.problem)
    if len(found) > 1:
        return Sighting(found[0], refused=f"{len(found)} private objects fit, and none can be told from the other")
    return Sighting(found[0] if found else None)


def _may_be(row: ObjectRow, stat: Stat, claimed: Collection[Claim]) -> bool:
    """Whether a private object (key 0) could be the one that an intended row announced."""
    seen = stat.identity
    if seen.key != 0 or stat.marked or seen.cuid != row.uid or seen.id is None:
        return False
    if (row.kind.value, row.boot_id, row.ipc_ns, seen.id) in claimed:
        return False
    if seen.cpid is not None and seen.cpid != row.creator_pid:
        return False
    ctime = _ctime(stat)
    return ctime is None or -1.0 < ctime - row.created_at <= CREATION_WINDOW


def _ctime(stat: Stat) -> int | None:
    values: Iterable[object] = (stat.fields.get(name) for name in ("msg_ctime", "shm_ctime", "sem_ctime"))
    return next((value for value in values if isinstance(value, int)), None)
