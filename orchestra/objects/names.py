"""PURE: how a recorded object is named and addressed, and which of its names prove that we made it.

A derived name carries a nonce that was committed before the object was made. Where a name is a file, an explicitly
named object is first made under such a nonce name in the same folder, recorded, and only then linked to its own.
"""

from __future__ import annotations

import posixpath

from orchestra.kinds import Family, Kind, ObjectRef
from orchestra.ledger.rows import ObjectRow, ObjectState

PATH_FAMILIES = (Family.FILE, Family.FIFO)
NAMELESS_FAMILIES = (Family.MEMFD, Family.ANONYMOUS)


def is_linkable(family: Family, kind: Kind) -> bool:
    """Whether the name is a file, so that link(2) can give the object a second one."""
    return family in PATH_FAMILIES or (family is Family.POSIX and kind is not Kind.QUEUE)


def nonce_name(family: Family, instance: str, key: str, nonce: str, *, folder: str) -> str | None:
    """Return the name that carries the nonce. `folder` matters for paths only; None where no name exists."""
    if family is Family.POSIX:
        return f"/orc.{instance}.{key}.{nonce}"
    if family in PATH_FAMILIES:
        return posixpath.join(folder, f"orc.{instance}.{key}.{nonce}")
    if family is Family.MEMFD:
        return f"orc.{instance}.{key}.{nonce}"  # a label in /proc, not an address
    return None


def derived_fifo(run_folder: str, key: str, nonce: str) -> str:
    """Return the path of a FIFO or file that has no path of its own: the run's folder already names the instance."""
    return posixpath.join(run_folder, f"orc.{key}.{nonce}")


def carries_nonce(row: ObjectRow, name: str | None) -> bool:
    """Whether `name` ends in the nonce of this row, which nobody could know before we wrote it down."""
    return bool(name) and str(name).rpartition(".")[2] == row.nonce


def has_random_key(row: ObjectRow) -> bool:
    """Whether the System V key was drawn for this object (then it serves as its nonce)."""
    return row.family is Family.SYSV and bool(row.ipc_key) and "ipc_key" not in row.shape


def names_of(row: ObjectRow) -> list[str]:
    """Every name under which the object of this row may be found, each once.

    An intended object has at most its first name: it is linked to another only once its identity is on record.
    """
    if row.name is None or row.family in NAMELESS_FAMILIES or row.family is Family.SYSV:
        return []
    names = [row.name]
    if row.state in (ObjectState.LIVE, ObjectState.KEPT) and is_linkable(row.family, row.kind):
        if row.wanted_name is not None:
            names.append(row.wanted_name)
        folder = posixpath.dirname(row.name)
        first = nonce_name(row.family, row.instance, row.key, row.nonce, folder=folder)
        if first is not None and not carries_nonce(row, row.name):
            names.append(first)
    return list(dict.fromkeys(names))


def ref_of(row: ObjectRow) -> ObjectRef:
    """Return the best address on record; nameless kinds have none that leads anywhere."""
    if row.family is Family.SYSV:
        return ObjectRef(row.family, row.kind, id=row.id, key=row.ipc_key)
    return ObjectRef(row.family, row.kind, name=row.name)
