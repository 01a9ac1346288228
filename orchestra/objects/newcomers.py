"""PURE: what is new between two looks at a place, and whose it is, as far as the kernel tells.

A System V segment names its maker for good. A System V queue names who last sent and received, a set who last worked
on each semaphore, which says who used it; a POSIX object says nothing. So there are three answers:

    ours        made or used by a process that is known to be ours, or the place is ours alone
    likely      of one of our users, and nothing says that it came from elsewhere
    elsewhere   proven: made by a living process that is not ours, recorded by somebody else, or another user's
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestra.kinds import Family, Identity, Kind

if TYPE_CHECKING:
    from orchestra.kernel.inventory import Inventory, Seen

Key = tuple[object, ...]


class Origin(StrEnum):
    """Where a new object came from."""

    OURS = "ours"
    LIKELY = "likely"
    ELSEWHERE = "elsewhere"


class Clues(NamedTuple):
    """All that is known about who was there. Pids are those of this pid namespace.

    `users`: whose objects may be ours. `ours`: our processes by pid, living or not, with what they were called.
    `living`: processes that live now and are not ours, with the seconds since the epoch at which they began.
    `last_users`: who last worked on a System V set, by its id. `recorded`: objects that somebody else's record names.
    `alone`: nobody else can make an object in this place.
    """

    users: Collection[int]
    ours: Mapping[int, str]
    living: Mapping[int, tuple[str, float]]
    last_users: Mapping[int, tuple[int, ...]] = {}
    recorded: Mapping[Key, str] = {}
    alone: bool = False


class Newcomer(NamedTuple):
    """A new object, whose it is, why, and whether one of our processes is proven to have *made* it."""

    seen: Seen
    origin: Origin
    evidence: str
    maker: int | None = None
    proven: bool = False


def key_of(seen: Seen) -> Key:
    """Return what tells this object from every other one in its place, also after it was used or marked."""
    if seen.family is Family.SYSV:
        return seen.kind, seen.id, seen.size, seen.members, _row(seen).cpid if seen.kind is Kind.SEGMENT else None
    return seen.dev, seen.ino


def key_of_identity(identity: Identity) -> Key:
    """Return the same from what a record holds about an object."""
    if identity.family is Family.SYSV:
        return identity.kind, identity.id, identity.size, identity.nsems, identity.cpid
    return identity.st_dev, identity.st_ino


def is_ignored(seen: Seen, patterns: Iterable[str]) -> bool:
    """Whether a pattern of the shell's kind (`*`, `?`, `[…]`) fits a name or an address of the object.

    Names with and without their slash, addresses as the command line takes them: `posix-queue:/jobs`, `sysv-queue:7`,
    `sysv-queue:0x0000002a`.
    """
    label = f"{seen.family}-{seen.kind}"
    if seen.name is not None:
        words = [seen.name, seen.name[1:], f"{label}:{seen.name}"]
    else:
        words = [f"{label}:{seen.id}", f"{label}:{seen.key:#010x}"]
    return any(fnmatchcase(word, pattern) for pattern in patterns for word in words)


def newcomers(before: Inventory, after: Inventory, clues: Clues) -> list[Newcomer]:
    """Return what is in `after` and was not in `before`, in the order of `after`."""
    known = {key_of(seen) for seen in before.objects}
    return [_judge(seen, clues) for seen in after.objects if key_of(seen) not in known]


def _judge(seen: Seen, clues: Clues) -> Newcomer:
    recorded = clues.recorded.get(key_of(seen))
    if recorded:
        return Newcomer(seen, Origin.ELSEWHERE, recorded)
    if seen.family is Family.SYSV and seen.kind is Kind.SEGMENT and _row(seen).cpid:
        made = _made(seen, clues)
        if made is not None:
            return made
    users = _users(seen, clues)
    if clues.alone:
        words = f"last used by {_words(users, clues)}" if users else "made where nobody else was"
        return Newcomer(seen, Origin.OURS, words, users[0] if users else None, proven=True)
    if users:
        return Newcomer(seen, Origin.OURS, f"last used by {_words(users, clues)}", users[0])
    owner = _owner(seen)
    if owner not in clues.users:
        return Newcomer(seen, Origin.ELSEWHERE, f"it belongs to another user, uid {owner}")
    return Newcomer(seen, Origin.LIKELY, "new, of the same user, and nothing tells that it came from elsewhere")


def _made(seen: Seen, clues: Clues) -> Newcomer | None:
    raw = _row(seen)
    if raw.cpid in clues.ours:
        words = f"made by process {raw.cpid} ({clues.ours[raw.cpid]})"
        return Newcomer(seen, Origin.OURS, words, raw.cpid, proven=True)
    if clues.alone:
        return Newcomer(seen, Origin.OURS, f"made by process {raw.cpid}, which has ended", raw.cpid, proven=True)
    living = clues.living.get(raw.cpid)
    # A process that began after the object was made has only got the number of its maker.
    if living is not None and living[1] <= raw.ctime + 1:
        return Newcomer(seen, Origin.ELSEWHERE, f"made by process {raw.cpid} ({living[0]}), which is none of its tree")
    return None


def _users(seen: Seen, clues: Clues) -> list[int]:
    """Return those of our processes that are on record as its last users."""
    pids: tuple[int, ...] = ()
    if seen.family is Family.SYSV and seen.kind is Kind.QUEUE:
        pids = (_row(seen).lspid, _row(seen).lrpid)
    elif seen.family is Family.SYSV and seen.kind is Kind.SEGMENT:
        pids = (_row(seen).lpid,)
    elif seen.id is not None:
        pids = clues.last_users.get(seen.id, ())
    return [pid for pid in dict.fromkeys(pids) if pid and (clues.alone or pid in clues.ours)]


def _words(pids: list[int], clues: Clues) -> str:
    return ", ".join(f"process {pid} ({clues.ours[pid]})" if pid in clues.ours else f"process {pid}" for pid in pids)


def _owner(seen: Seen) -> int:
    """The creator where the kernel keeps it apart from the owner: an object can be given away."""
    owner: int = _row(seen).cuid if seen.family is Family.SYSV else seen.uid
    return owner


def _row(seen: Seen) -> Any:
    """Return the row of /proc/sysvipc that a System V object was read from."""
    return seen.raw
