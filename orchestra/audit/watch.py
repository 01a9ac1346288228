"""Run a command and find what it left: alone in a box where that can be had, else by difference on the host."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestra.audit import command
from orchestra.audit.classify import Classified, Verdict
from orchestra.audit.command import Member
from orchestra.audit.report import Finding
from orchestra.errors import KernelError
from orchestra.kernel import inventory, libc, namespaces
from orchestra.kernel.api import SHM_FOLDER
from orchestra.kernel.census import Census
from orchestra.kernel.holders import holders_of
from orchestra.kernel.host import sysctl
from orchestra.kernel.inventory import Inventory, Seen
from orchestra.kernel.procfs import SysvSegment
from orchestra.kinds import Holders, Identity
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import OPEN_STATES
from orchestra.objects.newcomers import Clues, Key, Newcomer, Origin, is_ignored, key_of_identity, newcomers
from orchestra.objects.words import holders_in_words

# A new namespace starts with the kernel's defaults: a command must meet the limits that the host has.
_LIMITS = (
    "fs.mqueue.msg_max", "fs.mqueue.msgsize_max", "fs.mqueue.queues_max", "fs.mqueue.msg_default",
    "fs.mqueue.msgsize_default", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
    "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
)  # fmt: skip

_MEMBERS_ASKED = 64
Recorded = Callable[[Mapping[int, Member]], Mapping[Key, str]]


@dataclass(frozen=True, slots=True)
class Watched:
    """What came of a command. `code` is its exit code; `findings` are what it left, the leaks first.

    `private`: it ran in a box. `ignored` and `elsewhere` count new objects that a pattern named, or that provably came
    from somebody else. `gaps`: what could not be seen, in words.
    """

    code: int
    findings: tuple[Finding, ...]
    private: bool
    ipc_ns: int
    survivors: tuple[Member, ...] = ()
    ignored: int = 0
    elsewhere: int = 0
    gaps: tuple[str, ...] = ()

    @property
    def leaked(self) -> int:
        """How many objects it left."""
        return sum(finding.verdict is Verdict.LEAKED for finding in self.findings)


def watch(words: Sequence[str], *, private: bool, ignore: Sequence[str], recorded: Recorded) -> Watched:
    """Run `words` to its end and look at what is new; in a box when `private`, which this process then stays in.

    `recorded` tells, for the processes of the command, which objects somebody else's record names. Raises
    command.NotStarted, and KernelError when no box can be made.
    """
    if private:
        namespaces.make_private_ipc(*_as_here())
    before = inventory.take()
    ended = command.run(words)
    after = inventory.take()
    new = newcomers(before, after, _clues(after, ended.tree, recorded, alone=private))
    ours = [each for each in new if each.origin is not Origin.ELSEWHERE]
    kept = [each for each in ours if not is_ignored(each.seen, ignore)]
    findings = _findings(after, kept, alone=private and not ended.survivors)
    return Watched(
        ended.code, findings, private, after.place.ipc_ns, ended.survivors,
        ignored=len(ours) - len(kept), elsewhere=len(new) - len(ours), gaps=after.gaps,
    )  # fmt: skip


def recorded_by_others(ledger: Ledger) -> Recorded:
    """Return who, of those not of the command's tree, has which object on record."""

    def look(tree: Mapping[int, Member]) -> dict[Key, str]:
        return {
            key_of_identity(row.identity): f"made by run {row.run} of {row.instance}"
            for row in ledger.objects(states=OPEN_STATES)
            if row.identity is not None and row.creator_pid not in tree
        }

    return look


def _as_here() -> tuple[dict[str, int | str], int | None]:
    """Return the limits of the place we are in, and the size of its /dev/shm."""
    limits: dict[str, int | str] = {}
    for name in _LIMITS:
        value = sysctl(name)
        if value is not None:
            limits[name] = value
    try:
        found = os.statvfs(SHM_FOLDER)
    except OSError:
        return limits, None
    return limits, found.f_blocks * found.f_frsize or None


def _clues(after: Inventory, tree: Mapping[int, Member], recorded: Recorded, *, alone: bool) -> Clues:
    makers = {seen.raw.cpid for seen in after.objects if isinstance(seen.raw, SysvSegment)} - set(tree)
    census = Census()
    strangers = {pid: found for pid in makers if pid and (found := census.alive(pid)) is not None}
    return Clues(
        users={os.getuid(), os.geteuid()},
        ours={pid: member.command for pid, member in tree.items()},
        living={pid: (found.command, found.started_at or 0.0) for pid, found in strangers.items()},
        last_users={seen.id: _last_users(seen) for seen in after.objects if seen.id is not None and seen.members},
        recorded={} if alone else recorded(tree),
        alone=alone,
    )


def _last_users(seen: Seen) -> tuple[int, ...]:
    """Return who last worked on each semaphore of a set (GETPID); () for a set that may not be read."""
    assert seen.id is not None
    try:
        pids = [libc.sem_query(seen.id, index, libc.GETPID) for index in range(min(seen.members or 0, _MEMBERS_ASKED))]
    except OSError:
        return ()
    return tuple(dict.fromkeys(pid for pid in pids if pid))


def _findings(after: Inventory, new: Sequence[Newcomer], *, alone: bool) -> tuple[Finding, ...]:
    """Judge each; `alone` says that nobody is left who could hold one, seen or not."""
    identities = [each.seen.identity(after.place) for each in new]
    held = [Holders(())] * len(new) if alone else _holders(identities)
    return tuple(
        Finding(None, None, holding, _classified(each, holding), seen=each.seen, place=after.place)
        for each, holding in zip(new, held, strict=True)
    )


def _classified(new: Newcomer, holding: Holders) -> Classified:
    words = f"{new.evidence}; {holders_in_words(holding)}"
    return Classified(Verdict.LEAKED, words, intended=False)


def _holders(identities: Sequence[Identity]) -> list[Holders]:
    try:
        found = holders_of(identities) if identities else {}
    except KernelError:
        return [Holders((), complete=False)] * len(identities)
    return [found.get(position, Holders(())) for position in range(len(identities))]
