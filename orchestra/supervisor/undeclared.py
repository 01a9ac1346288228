"""What the processes of a run made beside what its file declares: `undeclared: report | remove | fail`.

A System V segment names its maker, a System V queue or set who used it last. A POSIX object names nobody, so it is
looked for while the run goes on: whenever something is made in /dev/shm, and when the run begins to stop, it is noted
which of our processes have it open or mapped. In a private namespace everything is the run's.
What is only likely to be ours is left to `audit`. Removed is what one of our processes is proven to have made: of what
it merely used somebody else may be the maker.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestra.errors import KernelError, LedgerError
from orchestra.kernel import libc, procfs
from orchestra.kernel.api import SHM_FOLDER
from orchestra.kernel.changes import Changes
from orchestra.kinds import Holders, Identity
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import OPEN_STATES, ObjectState, RemovalRow, RunRow
from orchestra.objects.newcomers import Clues, Key, Newcomer, Origin, key_of, key_of_identity, newcomers
from orchestra.runplan import RunPlan
from orchestra.supervisor.reactor import Reactor

if TYPE_CHECKING:  # what looks at all objects is loaded at the end of a run, or when something new is seen
    from orchestra.kernel.exact import Attempt
    from orchestra.kernel.inventory import Inventory, Seen

_MEMBERS_ASKED = 64  # of a semaphore set, for the process that changed each last
_CLOCK_GRAIN = 1.1  # seconds that a creation time may lie before its moment: whole seconds, of a clock that lags
_BREATH = 0.02  # seconds between two looks at our processes while files keep being made …
_SHARE = 20  # … and this many times as long as the last look took: others may make files all the time …
_LONGEST = 0.5  # … but not longer than this: what ends in between is never seen to have had a file

_LATER = 1.0  # seconds until what a look needs is loaded: not while processes start, and not first when all are to stop

Say = Callable[..., None]


@dataclass(slots=True)
class Found:
    """What was found at the end. `reasons` are the words for a run that fails of it."""

    reasons: list[str] = field(default_factory=list)
    removed: int = 0


class Undeclared:
    """Watches one run; harmless where nothing can be watched."""

    def __init__(self, plan: RunPlan, run: RunRow, declared: Callable[[], Collection[Key]]) -> None:
        """`declared` tells the objects that the run has now, so that nobody looks for those."""
        self._mode, self._run, self._declared = plan.undeclared, run, declared
        self._alone = plan.isolation != "host"
        self._pids: dict[int, str] = {}
        self._held: dict[Key, int] = {}  # a file of /dev/shm: which of our processes had it
        self._changes: Changes | None = None
        self._next = 0.0  # when we may look again because a file was made

    def watch(self, reactor: Reactor) -> None:
        """Look at our processes whenever something is made in /dev/shm. Without inotify only when the run stops."""
        with suppress(OSError):
            self._changes = Changes(SHM_FOLDER)
            reactor.watch(self._changes.fileno(), lambda: self._changed(reactor))
        reactor.after("inventory", _LATER, _load)

    def knows(self, pid: int, command: str = "") -> None:
        """Take down that a process belongs to the run, living or reaped."""
        if not self._pids.get(pid):
            self._pids[pid] = command

    def look(self) -> None:
        """Take down everybody below us and, where something new is there that nobody declared, who has it open."""
        began = time.monotonic()
        below = procfs.descendants(os.getpid())
        for pid in below:
            if not self._pids.get(pid):
                self._pids[pid] = procfs.command_of(pid)
        wanted = self._fresh() - self._held.keys()
        for pid in below if wanted else ():
            for inode in _inodes(pid, {device for device, _ in wanted}):
                if inode in wanted:
                    self._held.setdefault(inode, pid)
        now = time.monotonic()
        self._next = now + min(_LONGEST, max(_BREATH, _SHARE * (now - began)))

    def _fresh(self) -> set[Key]:
        """Return the POSIX objects and files that are new since the run began and not its own."""
        from orchestra.kernel import inventory

        gaps: list[str] = []
        began = self._run.started_at - _CLOCK_GRAIN
        seen = (*inventory.in_shm(SHM_FOLDER, gaps), *inventory.queues(gaps)[1])
        return {key_of(each) for each in seen if each.ctime >= began} - set(self._declared())

    def _changed(self, reactor: Reactor) -> None:
        if self._changes is not None:
            self._changes.take()
        left = self._next - time.monotonic()
        if left <= 0:
            self.look()
        else:
            reactor.after("undeclared", left, self.look)

    def settle(self, ledger: Ledger, say: Say, *, leak: bool = False) -> Found:
        """Say, and remove where asked and proven, what was left. Call it when all processes have ended.

        Never raises: what cannot be looked at or put on record is said, and nothing is removed then.
        """
        from orchestra.kernel import inventory

        if self._changes is not None:
            self._changes.close()
        found = Found()
        after = inventory.take()
        try:
            recorded = _recorded(ledger)
        except LedgerError as err:
            say("ledger.unwritable", reason=err.problem)
            return found
        for each in self._left(after, recorded):
            action, why = "reported", ""
            if self._mode == "remove" and not leak:
                action, why = self._remove(ledger, after, each)
            found.removed += action == "removed"
            self._tell(say, each, action, why)
            if self._mode == "fail":
                found.reasons.append(f"{each.seen.ref} was left and is declared nowhere: {each.evidence}")
        return found

    def _left(self, after: Inventory, recorded: Mapping[Key, str]) -> Iterator[Newcomer]:
        began = self._run.started_at - _CLOCK_GRAIN
        old = tuple(seen for seen in after.objects if seen.ctime < began)
        fresh = [seen for seen in after.objects if seen.ctime >= began]
        clues = Clues(
            users=(),
            ours={pid: name or "a process of the run" for pid, name in self._pids.items()},
            living={},
            last_users={seen.id: _last_users(seen) for seen in fresh if seen.members and seen.id is not None},
            recorded=recorded,
            alone=self._alone,
        )
        for each in newcomers(after._replace(objects=old), after, clues):
            if each.origin is Origin.OURS:
                yield each
            elif key_of(each.seen) in self._held and key_of(each.seen) not in recorded:
                pid = self._held[key_of(each.seen)]
                words = f"process {pid} ({self._pids.get(pid) or 'of the run'}) had it open"
                yield each._replace(origin=Origin.OURS, evidence=words, maker=pid)

    def _remove(self, ledger: Ledger, after: Inventory, new: Newcomer) -> tuple[str, str]:
        if not new.proven:
            return "left", "nothing proves that it was made by the run"
        identity = new.seen.identity(after.place)
        row = RemovalRow(
            str(new.seen.ref), identity, "undeclared", new.evidence, "undeclared", os.getpid(), os.getuid(),
            run=self._run.run,
        )  # fmt: skip
        try:
            number = ledger.announce_removal(row)
            attempt = _attempt(new.seen, after)
            ledger.settle_removal(
                number, "removed" if attempt.removed else "gone" if attempt.gone else "refused", attempt.why
            )
        except LedgerError as err:
            return "left", err.problem
        return ("removed", "") if attempt.removed else ("left", attempt.why)

    def _tell(self, say: Say, new: Newcomer, action: str, why: str) -> None:
        seen = new.seen
        say(
            "object.undeclared",
            object=str(seen.ref), family=seen.family.value, kind=seen.kind.value, name=seen.name, id=seen.id,
            action=action, evidence=new.evidence, reason=why or None,
        )  # fmt: skip


def _load() -> None:
    from orchestra.kernel import inventory  # noqa: F401


def _attempt(seen: Seen, after: Inventory) -> Attempt:
    from orchestra.kernel.exact import Attempt, remove_exact

    identity = seen.identity(after.place)
    try:
        return remove_exact(seen.ref, identity, holders=_holders)
    except KernelError as err:
        return Attempt(removed=False, why=f"the kernel refused: {err.problem}")


def _holders(identity: Identity) -> Holders:
    from orchestra.kernel.holders import holders_of

    return holders_of([identity])[0]


def _recorded(ledger: Ledger) -> dict[Key, str]:
    """Return what any run declares: nothing of that is undeclared, whoever uses it."""
    rows = ledger.objects(states=(*OPEN_STATES, ObjectState.BORROWED))
    return {key_of_identity(row.identity): f"declared by {row.instance}" for row in rows if row.identity is not None}


def _last_users(seen: Seen) -> tuple[int, ...]:
    assert seen.id is not None
    try:
        members = range(min(seen.members or 0, _MEMBERS_ASKED))
        return tuple(libc.sem_query(seen.id, member, libc.GETPID) for member in members)
    except OSError:
        return ()


def _inodes(pid: int, devices: Collection[object]) -> Iterator[Key]:
    """Yield the files of these devices that a process has open or mapped; queues among them."""
    with suppress(OSError):
        for row in procfs.maps_of(pid):
            if row.st_dev in devices:
                yield row.st_dev, row.inode
    with suppress(OSError):
        for number, text in procfs.fd_links(pid):
            if text.startswith(f"{SHM_FOLDER}/") or "/" not in text[1:]:  # a queue looks like a file in the root folder
                with suppress(OSError):
                    info = os.stat(f"{procfs.PROC}/{pid}/fd/{number}")
                    yield info.st_dev, info.st_ino
