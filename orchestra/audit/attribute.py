"""PURE: who made an object, and how we know.

The kernel keeps a few pids: who created a System V segment and attached last, who sent and received last, who changed a
semaphore last. Some programs write their pid into a name. A pid names a process only together with a time: a process
that started after the deed is another one that got the number. It proves that the maker is *gone* only where this
process would see the maker if it lived.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestra.kinds import Family, Kind

if TYPE_CHECKING:
    from orchestra.kernel.census import Process
    from orchestra.kernel.inventory import Seen

# Seconds that a start may lie behind a deed and still be the doer's: tables count whole seconds, and the start time
# comes from a clock that is set apart from the wall clock by up to a second.
CLOCK_GRAIN = 2.0

Alive = Callable[[int], "Process | None"]


class Life(StrEnum):
    """What is known of a process that had to do with an object."""

    ALIVE = "alive"
    GONE = "gone"
    UNPROVEN = "unproven"  # a process has the number, or may have it where we cannot look


class Clue(NamedTuple):
    """One trace of a maker or user: what it did, its pid (0: outside of this pid namespace), and whether it lives."""

    deed: str
    pid: int
    life: Life
    command: str = ""

    @property
    def words(self) -> str:
        """The clue as evidence: `process 12 (sh), which created it, is alive`."""
        if not self.pid:
            return f"a process outside of this pid namespace {self.deed}"
        named = f"process {self.pid}" + (f" ({self.command})" if self.command else "")
        state = {
            Life.ALIVE: "is alive",
            Life.GONE: "is gone",
            Life.UNPROVEN: "cannot be told to be gone from here",
        }[self.life]
        return f"{named}, which {self.deed}, {state}"


class Makers(NamedTuple):
    """All clues of one object. `clues` is empty where the kernel keeps none and its name says nothing."""

    clues: tuple[Clue, ...] = ()

    @property
    def living(self) -> Clue | None:
        """The first process that is known to live."""
        return next((clue for clue in self.clues if clue.life is Life.ALIVE), None)

    @property
    def all_gone(self) -> bool:
        """Whether there is a clue, and every process on record is provably gone."""
        return bool(self.clues) and all(clue.life is Life.GONE for clue in self.clues)


def makers(
    seen: Seen, alive: Alive, *, named: int | None = None, last_changers: tuple[int, ...] = (), sees_all: bool
) -> Makers:
    """Return the clues of one object.

    `named` is the pid in its name. `last_changers` are GETPID of each member of a semaphore set. `sees_all`: no process
    of another pid namespace can have made it, so that a pid in a name which nobody has means that its owner is gone.
    The pids of the System V tables need no such proof: the kernel translates them, and shows 0 for those outside.
    """
    found = [_clue(*deed, alive, proof=True) for deed in deeds_of(seen, last_changers)]
    if named is not None:
        found.append(_clue("has its pid in the name", named, seen.ctime, alive, proof=sees_all))
    return Makers(tuple(found))


def deeds_of(seen: Seen, last_changers: tuple[int, ...] = ()) -> tuple[tuple[str, int, float], ...]:
    """Return deed, pid and time as the kernel's tables have them; what never happened is left out."""
    raw: Any = seen.raw
    if seen.family is not Family.SYSV:
        return ()
    if seen.kind is Kind.SEGMENT:
        created = (_CREATED, raw.cpid, raw.ctime)
        if not raw.lpid or raw.lpid == raw.cpid:
            return (created,)
        return created, (_ATTACHED, raw.lpid, max(raw.atime, raw.dtime))
    if seen.kind is Kind.QUEUE:
        sent = ((_SENT, raw.lspid, raw.stime),) if raw.stime else ()
        if raw.rtime and (raw.lrpid != raw.lspid or not sent):
            return (*sent, (_RECEIVED, raw.lrpid, raw.rtime))
        return sent
    when = max(raw.otime, raw.ctime)
    return tuple((_CHANGED, pid, when) for pid in dict.fromkeys(last_changers) if pid)


_CREATED, _ATTACHED = "created it", "attached or detached it last"
_SENT, _RECEIVED = "sent to it last", "received from it last"
_CHANGED = "changed one of its semaphores last"


def _clue(deed: str, pid: int, when: float, alive: Alive, *, proof: bool) -> Clue:
    if not pid:
        return Clue(deed, 0, Life.UNPROVEN)
    process = alive(pid)
    if process is None:
        return Clue(deed, pid, Life.GONE if proof else Life.UNPROVEN)
    if process.started_at is None:
        return Clue(deed, pid, Life.UNPROVEN, process.command)
    if process.started_at > when + CLOCK_GRAIN:  # the number was given out again
        return Clue(deed, pid, Life.GONE if proof else Life.UNPROVEN)
    return Clue(deed, pid, Life.ALIVE, process.command)
