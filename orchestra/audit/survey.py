"""Look at everything: what is on our record and all else on this host, and judge it. Changes nothing.

One inventory of each place, one pass over /proc for all of them; then each object is decided by the pure rules of
`classify`. Words and holders of an object are made when somebody reads them: a host may have tens of thousands.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, overload

from orchestra.audit import boxed, rules
from orchestra.audit.attribute import CLOCK_GRAIN, Makers, deeds_of, makers
from orchestra.audit.classify import VERDICT_OF, Found, Reason, Verdict, classify_found, reason_for
from orchestra.audit.notes import notes
from orchestra.audit.report import Finding, Report
from orchestra.audit.scan import IsLive, Look, judge, look_at_all, positions
from orchestra.kernel import holders as holding
from orchestra.kernel import host, inventory, lease, libc, places, pressure, procfs, traces
from orchestra.kernel.census import Census, Process, user_name
from orchestra.kernel.inventory import Inventory, Place, Seen
from orchestra.kinds import Family, Holder, Holders, Identity, Kind
from orchestra.ledger.journal import Ledger
from orchestra.objects.world import KERNEL, World

_CAP_FOWNER, _CAP_SYS_ADMIN = 3, 21  # unlink in a sticky folder; IPC_RMID
_MEMBERS_ASKED = 64  # of a semaphore set, for the process that changed each last


def survey(
    ledger: Ledger, is_live: IsLive, *, all_namespaces: bool = False, world: World = KERNEL, root: str = procfs.PROC
) -> Report:
    """Return a finding for each object of this host, those on record first.

    `is_live` as in `scan`. With `all_namespaces` also what is in the namespaces of other visible processes, as far as
    this process may enter them.
    """
    with _without_collecting():
        return _survey(ledger, is_live, all_namespaces=all_namespaces, world=world, root=root)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Keep the garbage collector from walking tens of thousands of tuples again and again while they are made."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _survey(ledger: Ledger, is_live: IsLive, *, all_namespaces: bool, world: World, root: str) -> Report:
    where = world.here()
    looks = look_at_all(ledger, world, where)
    here = inventory.take(root)
    elsewhere, unasked = places.others(here.place, root) if all_namespaces else ([], ())
    spots, identities = positions(look.identity for look in looks)
    found = traces.look(_wanted([here, *elsewhere], identities), root)
    answers = holding.answers(identities, found, root)
    nobody = Holders(())
    held = [nobody if spot is None else answers[spot] for spot in spots]
    private = boxed.look(ledger, is_live)
    recorded = [*judge(looks, held, ledger, is_live, world, where), *private.findings]
    sky = _Sky(found, Census(root), rules.load(), root)
    ours = _ours(recorded, looks, private.findings, here.place.ipc_ns)
    seen = [one for each in (here, *elsewhere) for one in sky.judge(each, ours)]
    used = Counter((each.family, each.kind) for each in here.objects)
    gaps = tuple(gap for each in (here, *elsewhere) for gap in each.gaps) + unasked + private.gaps + sky.gaps()
    return Report(
        where.ipc_ns,
        Findings(recorded, seen, sky),
        sum(look.ruling.elsewhere for look in looks),
        gaps,
        (*notes(used, pressure.read(root), ours=bool(recorded)), *boxed.notes(ledger, is_live)),
        counts=Counter([*(each.verdict for each in recorded), *(VERDICT_OF[each.reason] for each in seen)]),
    )


class Judged(NamedTuple):
    """One object and its verdict, words not yet made. `facts` is None where the reason says all that is known."""

    seen: Seen
    reason: Reason
    place: Place
    facts: Found | None = None

    @property
    def found(self) -> Found:
        """What the decision rests on."""
        if self.facts is not None:
            return self.facts
        held = self.reason in (Reason.HELD, Reason.MARKED)
        return Found(self.seen, held, self.reason is not Reason.UNSEEN)


class Findings(Sequence[Finding]):
    """The findings of a survey, those beyond our record made when they are asked for."""

    def __init__(self, recorded: Sequence[Finding], judged: Sequence[Judged], sky: _Sky) -> None:
        self._recorded, self._judged, self._sky = recorded, judged, sky
        self._obstacles = _together(judged)

    def __len__(self) -> int:
        return len(self._recorded) + len(self._judged)

    @overload
    def __getitem__(self, index: int) -> Finding: ...

    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...

    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        index = index + len(self) if index < 0 else index
        if index < len(self._recorded):
            return self._recorded[index]
        return self._made(self._judged[index - len(self._recorded)])

    def __iter__(self) -> Iterator[Finding]:
        yield from self._recorded
        yield from map(self._made, self._judged)

    @property
    def recorded(self) -> Sequence[Finding]:
        """What is on record."""
        return self._recorded

    def only(self, *verdicts: Verdict) -> Iterator[Finding]:
        """Yield what is not on record and has one of these verdicts; no others are made."""
        for each in self._judged:
            if VERDICT_OF[each.reason] in verdicts:
                yield self._made(each)

    def _made(self, judged: Judged) -> Finding:
        found = judged.found
        holders = self._sky.holders(found, judged.place)
        match = found.match if found.match is not None else self._sky.match(found.seen)
        group = match.group if match is not None else ""
        obstacle = self._obstacles.get(group, "") if group else ""
        if judged.place.pid is not None:
            obstacle = f"it is in another namespace, {places.name(judged.place)}"
        elif not self._sky.may_remove(found.seen):
            obstacle = f"it belongs to {user_name(found.seen.uid)}: only its owner and root may remove it"
        classified = classify_found(found._replace(match=match), judged.reason, holders, obstacle)
        rule = match.rule.id if match is not None else ""
        return Finding(None, None, holders, classified, found.seen, judged.place, rule, group)


def _together(judged: Sequence[Judged]) -> dict[str, str]:
    """Return, by group, what keeps all of it: a member that is not an orphan."""
    kept: dict[str, str] = {}
    for each in judged:
        match = each.facts.match if each.facts is not None else None
        if match is not None and match.group and VERDICT_OF[each.reason] is not Verdict.ORPHAN:
            kept.setdefault(match.group, f"it goes together with {each.seen.ref}, which is not an orphan")
    return kept


def _wanted(all_places: Sequence[Inventory], identities: Sequence[Identity]) -> traces.Wanted:
    recorded = holding.wanted_for(identities)
    lasting = {(one.kind) for each in all_places for one in each.objects if one.family is Family.SYSV}
    return recorded._replace(
        devices=frozenset(each.place.shm_dev for each in all_places if each.place.shm_dev is not None),
        queues=True,
        segments=recorded.segments or Kind.SEGMENT in lasting,
        waits=recorded.waits or bool(lasting - {Kind.SEGMENT}),
    )


class _Ours(NamedTuple):
    """What the record answers for: these are not judged a second time."""

    inodes: frozenset[traces.Inode]
    numbers: frozenset[tuple[int | None, Kind, int]]  # with the IPC namespace: each counts for itself


def _ours(
    recorded: Sequence[Finding], looks: Sequence[Look], private: Sequence[Finding], here: int | None
) -> _Ours:  # fmt: skip
    judged = {each.row.recorded for each in recorded if each.row is not None}
    known = [look.identity for look in looks if look.row.recorded in judged]
    named = [*known, *(each.identity for each in private)]
    inodes = {(i.st_dev, i.st_ino) for i in named if i is not None and i.st_dev is not None and i.st_ino is not None}
    spots = [
        *((here, i) for i in known),
        *((i.ipc_ns, i) for i in (each.identity for each in private) if i is not None),
    ]
    sysv = [(place, i.kind, i.id) for place, i in spots if i is not None and i.family is Family.SYSV]
    numbers = {(place, kind, number) for place, kind, number in sysv if number is not None}
    return _Ours(frozenset(inodes), frozenset(numbers))


class _Sky:
    """Everything that was observed, as the judging of one object after the other needs it."""

    def __init__(self, found: traces.Traces, census: Census, families: rules.Rules, root: str) -> None:
        self.traces, self.census, self.rules, self.root = found, census, families, root
        self._complete = found.complete and census.in_first_pid_namespace
        self._no_trace = {True: Reason.NO_TRACE, False: Reason.UNSEEN}
        self._users: dict[tuple[str, int], tuple[Process, ...]] = {}
        self._known_makers: dict[object, Makers] = {}
        self._sees_all: dict[int, bool] = {}
        self._me = os.geteuid()
        self._above_owners = {True: host.has_capability(_CAP_SYS_ADMIN), False: host.has_capability(_CAP_FOWNER)}

    def may_remove(self, seen: Seen) -> bool:
        """Whether the kernel lets this process remove it: as its owner (System V: or creator), or above owners."""
        is_sysv = seen.id is not None
        owners = {seen.uid, getattr(seen.raw, "cuid", seen.uid)}
        return self._above_owners[is_sysv] or self._me in owners

    def gaps(self) -> tuple[str, ...]:
        """Return what the pass could not see."""
        found = self.traces
        if not self.census.of_our_pids:
            return (
                "/proc is that of another pid namespace here: makers cannot be looked up, holders have its numbers",
            )
        if found.hidden:
            return ("processes of other users are hidden here (/proc is mounted with hidepid)",)
        if not self.census.in_first_pid_namespace:
            return ("processes outside of this pid namespace: they may hold what is in namespaces shared with them",)
        if not found.unseen:
            return ()
        named = ", ".join(f"{pid} ({procfs.command_of(pid, self.root)})" for pid in found.unseen[:3])
        more = f" and {len(found.unseen) - 3} more" if len(found.unseen) > 3 else ""
        return (f"who holds what: process {named}{more} may not be looked into",)

    def judge(self, there: Inventory, ours: _Ours) -> Iterator[Judged]:
        """Yield every object of one place that the record does not answer for, and what there is without a name."""
        place = there.place
        for seen in there.objects:
            if seen.id is None:
                if (seen.dev, seen.ino) not in ours.inodes:
                    yield self._judged(seen, place)
            elif (place.ipc_ns, seen.kind, seen.id) not in ours.numbers:
                yield self._judged(seen, place)
        known = {(seen.dev, seen.ino) for seen in there.objects if seen.id is None}
        for seen, unlinked in self._unnamed(place, known):
            if (seen.dev, seen.ino) not in ours.inodes:
                found = Found(seen, held=True, complete=self._complete, unlinked=unlinked)
                yield Judged(seen, reason_for(found), place, found)

    # Names that are gone

    def _unnamed(self, place: Place, known: set[tuple[int | None, int | None]]) -> Iterator[tuple[Seen, bool]]:
        """Yield what processes hold here that the inventory did not list, and whether its name is gone."""
        for inode, sight in self.traces.sights.items():
            if inode in known:
                continue
            is_queue = inode in self.traces.queues
            if is_queue and self._queue_is_here(inode, sight.pid, place):
                yield from self._sighted(Family.POSIX, Kind.QUEUE, inode, sight, listed=place.queue_dev is not None)
            elif not is_queue and inode[0] == place.shm_dev:
                yield from self._sighted(*_kind_of(sight.name), inode, sight, listed=True)

    def _queue_is_here(self, inode: traces.Inode, pid: int, place: Place) -> bool:
        if place.queue_dev is not None:
            return inode[0] == place.queue_dev
        return places.ipc_namespace(pid, self.root) == place.ipc_ns

    def _sighted(
        self, family: Family, kind: Kind, inode: traces.Inode, sight: traces.Sight, *, listed: bool
    ) -> Iterator[tuple[Seen, bool]]:
        """What was made after the list was taken has a name, and is no finding; the next look will have it."""
        found = places.stat_of(sight, inode)
        if found is None and not sight.name.endswith(" (deleted)"):
            return
        unlinked = found is None or found.st_nlink == 0
        if unlinked or not listed:
            name: str | None = sight.name.removesuffix(" (deleted)") if unlinked else sight.name
            if kind is Kind.SEMAPHORE and traces.is_temporary(sight.name):
                name = None  # only its maker holds it, whose maps show a name that it had for a moment
            yield inventory.sighted(family, kind, name, inode, found), unlinked

    # Judging

    def _judged(self, seen: Seen, place: Place) -> Judged:
        held, complete = self._held(seen, place)
        if held:
            reason = Reason.MARKED if seen.marked else Reason.HELD
            if (seen.family, seen.kind) not in self.rules.together:
                return Judged(seen, reason, place)
            return Judged(seen, reason, place, Found(seen, True, complete, match=self.match(seen)))
        match = self.match(seen)
        known = self._makers(seen, match, place)
        if match is None and not known.clues:  # the many: nothing tells anything about them
            return Judged(seen, self._no_trace[complete], place)
        users, users_gone = self._programs(seen, match, place)
        found = Found(seen, False, complete, known, match, users, users_gone)
        reason = reason_for(found)
        if reason is Reason.UNSEEN and seen.id is None and not self.traces.hidden:
            proven = self._by_lease(found, place)
            if proven is not None:
                found = proven
                reason = reason_for(found)
        return Judged(seen, reason, place, found)

    def _held(self, seen: Seen, place: Place) -> tuple[bool, bool]:
        """Return whether it is held, and whether nobody else can hold it unseen."""
        if seen.id is None:
            # Nobody keeps anything from being lost by having a folder open: its files are judged for themselves.
            unseen = not self._complete and seen.kind not in (Kind.FOLDER, Kind.OTHER)
            return (seen.dev, seen.ino) in self.traces.inodes, not unseen
        attached = seen.attached
        if attached is not None:  # the kernel's own number says more than what we may read
            return attached > 0, True
        # Whoever used it last is on record with a pid that the kernel translates: 0 when it is of another namespace.
        return (place.ipc_ns, seen.kind, seen.id) in self.traces.waiting, self.traces.complete

    def _by_lease(self, found: Found, place: Place) -> Found | None:
        """Where processes cannot be looked into, a lease tells of a file that would be an orphan whether it is held."""
        seen = found.seen
        if seen.kind not in (Kind.SEGMENT, Kind.SEMAPHORE):
            return None
        if VERDICT_OF[reason_for(found._replace(complete=True))] is not Verdict.ORPHAN:
            return None
        held = lease.is_held(inventory.path_of(seen, place), seen.dev, seen.ino)
        return None if held is None else found._replace(held=held, complete=not held)

    def match(self, seen: Seen) -> rules.Match | None:
        """Return the family that an object belongs to."""
        return self.rules.match(seen, user_name(seen.uid))

    def _makers(self, seen: Seen, match: rules.Match | None, place: Place) -> Makers:
        named = match.pid if match is not None else None
        if seen.id is not None:
            return self._makers_on_record(seen, place)
        if named is None:
            return _NOBODY
        return makers(seen, self.census.alive, named=named, sees_all=self._sees_all_of(place))

    def _makers_on_record(self, seen: Seen, place: Place) -> Makers:
        """Objects that one process made at one time share their clues."""
        changers = self._changers(seen, place) if seen.members is not None else ()
        deeds = deeds_of(seen, changers)
        if deeds not in self._known_makers:
            self._known_makers[deeds] = makers(seen, self.census.alive, last_changers=changers, sees_all=True)
        return self._known_makers[deeds]

    def _changers(self, seen: Seen, place: Place) -> tuple[int, ...]:
        """GETPID of each member; () where it may not be read, or from another namespace."""
        if place.pid is not None or seen.id is None:
            return ()
        try:
            return tuple(
                libc.sem_query(seen.id, index, libc.GETPID) for index in range(min(seen.members or 0, _MEMBERS_ASKED))
            )
        except OSError:
            return ()

    def _programs(self, seen: Seen, match: rules.Match | None, place: Place) -> tuple[tuple[Process, ...], bool]:
        """Return the living programs that the object's family names, and whether provably none runs."""
        if match is None or match.rule.programs is None:
            return (), False
        rule = match.rule
        programs = match.rule.programs
        key = (rule.id, -1 if programs.any_user else seen.uid)
        if key not in self._users:
            uid = None if programs.any_user else seen.uid
            self._users[key] = tuple(self.census.running(programs.command, programs.arguments, uid))
        # Who started after the object was there did not make it.
        latest = seen.ctime + CLOCK_GRAIN
        users = tuple(user for user in self._users[key] if user.started_at is None or user.started_at <= latest)
        blind = self.traces.hidden or self.census.blind
        return users, not users and not blind and self._sees_all_of(place)

    def _sees_all_of(self, place: Place) -> bool:
        """Whether whoever made a file of this place would be seen from here, under the same pid, if it lived."""
        if place.pid is not None or place.shm_dev is None:
            return False
        if place.shm_dev not in self._sees_all:
            self._sees_all[place.shm_dev] = self.census.in_first_pid_namespace and not self.census.strangers(
                place.shm_dev
            )
        return self._sees_all[place.shm_dev]

    # Holders, when somebody reads them

    def holders(self, found: Found, place: Place) -> Holders:
        """Return who holds an object, with what is known of each."""
        seen = found.seen
        complete = self._complete if found.held else found.complete
        if seen.id is None:
            pairs = self.traces.inodes.get((seen.dev or 0, seen.ino or 0), [])
        elif seen.attached is not None:
            mappings = self.traces.attached.get((place.ipc_ns, seen.id), [])
            pids = holding.attached_pids(mappings, seen.key or 0)
            pairs, complete = [(pid, "attached") for pid in pids], len(pids) == seen.attached
        else:
            pids = self.traces.waiting.get((place.ipc_ns, seen.kind, seen.id), [])
            pairs = [(pid, "waiting") for pid in pids]
        return Holders(tuple(self._holder(pid, how) for pid, how in sorted(set(pairs))), complete)

    def _holder(self, pid: int, how: str) -> Holder:
        process = self.census.alive(pid)
        command = process.command if process is not None else ""
        started = process.started_at if process is not None else None
        return Holder(pid, command, how, started, self.census.owner(pid), self.census.unit(pid))


_NOBODY = Makers()
_SHM = "/dev/shm/"  # noqa: S108 as maps and descriptors of most processes show it


def _kind_of(name: str) -> tuple[Family, Kind]:
    """What an unlinked file was, by the name it had: only files right in the folder are POSIX objects."""
    bare = name.removeprefix(_SHM)
    if "/" in bare and name.startswith(_SHM):
        return Family.FILE, Kind.SEGMENT
    return Family.POSIX, Kind.SEMAPHORE if bare.startswith("sem.") else Kind.SEGMENT
