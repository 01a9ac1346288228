"""Look at every object that the ledger says may be there, and judge each. Changes nothing, on the host or on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orchestra.audit.classify import Facts, Standing, classify, standing
from orchestra.audit.report import Finding, Report
from orchestra.errors import KernelError
from orchestra.kinds import Holders, Identity, Stat
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import OPEN_STATES, ObjectRow, ObjectState, RunRow
from orchestra.objects.boxes import is_boxed
from orchestra.objects.entitlement import Decision, Here, Ruling, entitlement
from orchestra.objects.look import Claim, claims, sightings
from orchestra.objects.remove import combined
from orchestra.objects.world import KERNEL, World

IsLive = Callable[[RunRow], bool]


@dataclass(frozen=True, slots=True)
class Look:
    """One object on record, what we may do about it, and what was found of it."""

    row: ObjectRow
    ruling: Ruling
    stat: Stat | None

    @property
    def identity(self) -> Identity | None:
        """What to look for among the holders: what is on record, else what was found."""
        if self.row.identity is not None:
            return self.row.identity
        return self.stat.identity if self.stat is not None else None


def scan(
    ledger: Ledger, is_live: IsLive, *, world: World = KERNEL, run: str | None = None, inside: bool = False
) -> Report:
    """Return a finding for each object on record that is still there; `run` limits it to one run's.

    Only those of the host's own namespace; with `inside` only those of the private one that this process is in.

    `is_live(run)` says whether a supervisor or guardian lives for just that run (see `liveness.live_runs`).
    """
    where = world.here()
    looks = look_at_all(ledger, world, where, run=run, inside=inside)
    findings = judge(looks, _holders(looks, world), ledger, is_live, world, where)
    return Report(where.ipc_ns, tuple(findings), sum(look.ruling.elsewhere for look in looks))


def look_at_all(
    ledger: Ledger, world: World, where: Here, *, run: str | None = None, inside: bool = False
) -> list[Look]:
    """Look at every object that the record says may be here: on the host, or `inside` a private namespace."""
    claimed = claims(ledger)
    runs = {each.run: each for each in ledger.runs() if each.box_pid is not None}
    rows = ledger.objects(run=run, states=(*OPEN_STATES, ObjectState.BORROWED))
    return [_look(row, world, where, claimed) for row in rows if is_boxed(row, runs.get(row.run)) is inside]


def judge(
    looks: Sequence[Look], holders: Sequence[Holders], ledger: Ledger, is_live: IsLive, world: World, where: Here
) -> list[Finding]:
    """Return a finding for each of the looks, given who holds it, that is still there."""
    runs = _Runs(ledger, is_live, world)
    findings = []
    for look, held in zip(looks, holders, strict=True):
        row = look.row
        same_boot = row.boot_id == where.boot_id
        about = runs.about(row.run)
        facts = Facts(
            row, about.row, about.standing, look.ruling, look.stat, held, same_boot,
            about.survivors if same_boot else (),
        )  # fmt: skip
        verdict = classify(facts)
        if verdict is not None:
            findings.append(Finding(row, look.stat, held, verdict))
    return findings


@dataclass(frozen=True, slots=True)
class _About:
    row: RunRow | None
    standing: Standing
    survivors: tuple[str, ...]


class _Runs:
    """What has become of each run, found out once."""

    def __init__(self, ledger: Ledger, is_live: IsLive, world: World) -> None:
        self._ledger, self._is_live, self._world = ledger, is_live, world
        self._rows = {each.run: each for each in ledger.runs()}
        self._known: dict[str, _About] = {}

    def about(self, run: str) -> _About:
        if run not in self._known:
            row = self._rows.get(run)
            stands = standing(row, live=row is not None and self._is_live(row))
            over = stands in (Standing.CRASHED, Standing.ENDED)
            self._known[run] = _About(row, stands, self._survivors(run) if over else ())
        return self._known[run]

    def _survivors(self, run: str) -> tuple[str, ...]:
        return tuple(
            f"{row.pid} ({row.process}.{row.replica})"
            for row in self._ledger.processes(run)
            if row.pid is not None and self._world.is_running(row.pid, row.start_time)
        )


def _look(row: ObjectRow, world: World, where: Here, claimed: set[Claim]) -> Look:
    examined = [(seen, entitlement(row, seen, where)) for seen in sightings(row, world, claimed)]
    ruling = combined(examined)
    seen = next(seen for seen, each in examined if each is ruling)
    if row.state is ObjectState.BORROWED:
        return Look(row, ruling, seen.stat)
    # A stranger in its place is not what the finding is about.
    return Look(row, ruling, None if ruling.decision is Decision.GONE else seen.stat)


def _holders(looks: Sequence[Look], world: World) -> list[Holders]:
    """One pass over /proc for all of them."""
    places, identities = positions(look.identity for look in looks)
    try:
        found = world.holders(identities) if identities else {}
    except KernelError:
        found = dict.fromkeys(range(len(identities)), Holders((), complete=False))
    nobody = Holders(())
    return [nobody if place is None else found.get(place, nobody) for place in places]


def positions(wanted: Iterable[Identity | None]) -> tuple[list[int | None], list[Identity]]:
    """Return the place of each in the list of those that are not None, and that list."""
    identities: list[Identity] = []
    places: list[int | None] = []
    for identity in wanted:
        places.append(None if identity is None else len(identities))
        if identity is not None:
            identities.append(identity)
    return places, identities
