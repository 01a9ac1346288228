"""PURE: may we remove this? The one rule that stands between the ledger and other people's objects.

Facts come in, a ruling with its reason goes out. The rule, by the state of the row:

    INTENDED   the row was committed, then the trace ends. What is there now is ours only when its name or its random
               key carries our nonce and its owner is us. A System V segment also tells who made it: its cpid must be
               the creator on record, and with it an explicit or private segment can be recognised, when size and time
               fit as well. An explicit POSIX queue, an explicit or private System V queue or set cannot: never removed.
               Nor can what a program of the run was to make.
    LIVE, KEPT identity is on record. What the name, id or key leads to must be that very object; anything else is
               somebody's who came later, and is left alone.
    BORROWED   was there before us: never removed.

What lies in another IPC namespace or on a file system that is not mounted here is out of reach, not gone. What a
restart of the host wiped out is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestra.kinds import Family, Identity, Kind, Stat
from orchestra.ledger.rows import ObjectRow, ObjectState
from orchestra.objects.names import NAMELESS_FAMILIES, PATH_FAMILIES, carries_nonce, has_random_key

# Where ObjectRow.shape holds st_dev of the folder that got the name: mount namespaces are told apart by it. The
# object's own st_dev will not do, on overlayfs and btrfs it differs from its folder's.
FOLDER_DEVICE = "folder_device"
# Where it holds the process that was to make the object, if a program of the run makes it.
MADE_BY = "made_by"
# Seconds that may pass between the commit of an intent and the creation time (whole seconds) of its segment.
CREATION_WINDOW = 10.0
# How far a creation time may lie before the moment it was taken: whole seconds, of a clock that ticks every few
# milliseconds (ktime_get_real_seconds()).
_CLOCK_GRAIN = 1.1
_CTIME = {Kind.QUEUE: "msg_ctime", Kind.SEGMENT: "shm_ctime", Kind.SEMAPHORE: "sem_ctime"}


class Decision(StrEnum):
    """What may be done about one address of a recorded object."""

    REMOVE = "remove"
    GONE = "gone"  # ours is not there any more; whatever is there now is somebody else's
    REFUSE = "refuse"  # it may be there and may be ours, but that is not proven, or it is out of reach


@dataclass(frozen=True, slots=True)
class Ruling:
    """A decision and its reason in words."""

    decision: Decision
    why: str
    elsewhere: bool = False  # refused because this process cannot look where the object would be


@dataclass(frozen=True, slots=True)
class Here:
    """Where this process stands."""

    boot_id: str
    ipc_ns: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is at one address now. `device` is st_dev of the folder that would hold the name, where there is one."""

    stat: Stat | None = None
    name: str | None = None  # the name looked at; None when it was found by id or key
    device: int | None = None
    refused: str = ""  # why the kernel did not let us look
    other: str = ""  # what has the name instead: a folder, a symbolic link …


def same_object(identity: Identity, stat: Stat) -> bool:
    """Whether `stat` shows the very object that `identity` was taken from.

    The key of a System V segment reads 0 once it is marked for removal; without that mark a 0 is another object's.
    """
    if stat.identity.key != identity.key and not stat.marked:
        return False
    return identity.is_same(stat.identity)


def entitlement(row: ObjectRow, seen: Sighting, here: Here) -> Ruling:
    """Decide about one address of `row`."""
    if row.state is ObjectState.BORROWED:
        return Ruling(Decision.REFUSE, "it was there before the run: orchestra did not make it")
    if row.state not in (ObjectState.INTENDED, ObjectState.LIVE, ObjectState.KEPT):
        return Ruling(Decision.GONE, f"the ledger says {row.state}")
    if row.family in NAMELESS_FAMILIES:
        return Ruling(Decision.GONE, "it has no name and ended with its last holder")
    out_of_reach = _out_of_reach(row, seen, here)
    if out_of_reach is not None:
        return out_of_reach
    if seen.other:
        return Ruling(Decision.GONE, f"{seen.other}, which was left alone")
    if seen.refused:
        return Ruling(Decision.REFUSE, f"it could not be looked at: {seen.refused}")
    return _intended(row, seen) if row.state is ObjectState.INTENDED else _recorded(row, seen)


def _out_of_reach(row: ObjectRow, seen: Sighting, here: Here) -> Ruling | None:
    if row.family not in PATH_FAMILIES and row.boot_id != here.boot_id:
        if row.boot_id and here.boot_id:
            return Ruling(Decision.GONE, "the host was restarted since it was made")
        return Ruling(Decision.REFUSE, "cannot tell whether the host was restarted since", elsewhere=True)
    per_namespace = row.family is Family.SYSV or (row.family is Family.POSIX and row.kind is Kind.QUEUE)
    if per_namespace:
        if row.ipc_ns == here.ipc_ns:
            return None
        where = f"it was made in IPC namespace {row.ipc_ns}, this process is in {here.ipc_ns}"
        return Ruling(Decision.REFUSE, where, elsewhere=True)
    recorded = row.shape.get(FOLDER_DEVICE)
    if None not in (recorded, seen.device) and recorded != seen.device:
        return Ruling(Decision.REFUSE, "the file system that held it is not the one mounted here", elsewhere=True)
    return None


def _recorded(row: ObjectRow, seen: Sighting) -> Ruling:
    if seen.stat is None:
        return Ruling(Decision.GONE, "it is not there any more")
    if row.identity is None:
        return Ruling(Decision.REFUSE, "the ledger holds no identity to compare with")
    if not same_object(row.identity, seen.stat):
        return Ruling(Decision.GONE, f"{seen.stat.ref} is another object by now and was left alone")
    return Ruling(Decision.REMOVE, "it is the very object on record")


def _intended(row: ObjectRow, seen: Sighting) -> Ruling:
    if seen.stat is None:
        return Ruling(Decision.GONE, "it was announced and never made")
    if MADE_BY in row.shape:
        maker = f"{row.shape[MADE_BY]} of run {row.run}"
        return Ruling(Decision.REFUSE, f"{maker} was to make it and was never seen to have done so")
    if row.family is Family.SYSV:
        return _intended_sysv(row, seen.stat)
    if not carries_nonce(row, seen.name):
        return Ruling(Decision.REFUSE, f"{_interrupted(row)}, and its name proves nothing")
    # Handing it to its declared owner is one of the steps that may have been reached.
    if seen.stat.uid not in (row.uid, row.shape.get("owner", row.uid)):
        return Ruling(Decision.REFUSE, f"it belongs to uid {seen.stat.uid}, not to uid {row.uid}")
    return Ruling(Decision.REMOVE, "its name carries our nonce and we own it")


def _intended_sysv(row: ObjectRow, stat: Stat) -> Ruling:
    if stat.identity.cuid != row.uid:
        return Ruling(Decision.REFUSE, f"it was made by uid {stat.identity.cuid}, not by uid {row.uid}")
    is_segment = row.kind is Kind.SEGMENT
    if is_segment and stat.identity.cpid != row.creator_pid:
        return Ruling(Decision.REFUSE, f"process {stat.identity.cpid} made it, not our process {row.creator_pid}")
    ctime = stat.fields.get(_CTIME[row.kind])
    age = float(ctime) - row.created_at if isinstance(ctime, int) else None
    if age is not None and age <= -_CLOCK_GRAIN:
        return Ruling(Decision.REFUSE, "it is older than our announcement")
    if has_random_key(row):
        if stat.identity.key != row.ipc_key:
            return Ruling(Decision.REFUSE, "its key is not the one announced")
        return Ruling(Decision.REMOVE, "its key is the random one we announced, and we made it")
    if not is_segment:
        return Ruling(Decision.REFUSE, f"{_interrupted(row)}, and nothing in it tells who made it")
    fits = stat.size == row.shape.get("size") and age is not None and age <= CREATION_WINDOW
    if not fits:
        return Ruling(Decision.REFUSE, f"{_interrupted(row)}, and its size or its time does not fit")
    return Ruling(Decision.REMOVE, "our process made it at that moment, of that size")


def _interrupted(row: ObjectRow) -> str:
    return f"run {row.run} was interrupted while making one like it"
