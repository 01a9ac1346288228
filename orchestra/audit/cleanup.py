"""Remove what leaked and, on request, what was kept: choose (pure), look again, remove, say what stayed and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestra.audit.classify import Verdict
from orchestra.audit.report import Finding
from orchestra.audit.scan import positions
from orchestra.errors import KernelError
from orchestra.kinds import Holders
from orchestra.ledger.journal import Ledger
from orchestra.objects.remove import Outcome, remove_recorded
from orchestra.objects.words import holders_in_words
from orchestra.objects.world import KERNEL, World


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person asked to clean. `older_than` is seconds; `kinds` holds words like "queue" or "sysv-queue"."""

    kept: bool = False
    run: str | None = None
    older_than: float | None = None
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """An object that stayed, and why. `eligible`: it was asked for, so its staying is a failure."""

    finding: Finding
    why: str
    eligible: bool = True


@dataclass(frozen=True, slots=True)
class Chosen:
    """What will be removed, and what of the same selection will not."""

    remove: tuple[Finding, ...] = ()
    left: tuple[Left, ...] = ()


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What `orchestra clean` did."""

    removed: tuple[Finding, ...] = ()
    left: tuple[Left, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """1 when something that was asked for stayed."""
        return 1 if any(each.eligible for each in self.left) else 0

    def to_json(self) -> dict[str, Any]:
        """Return `removed` and `left` as `clean --format json` prints them."""
        return {
            "removed": [finding.to_json() for finding in self.removed],
            "left": [{**each.finding.to_json(), "why": each.why} for each in self.left],
        }


def choose(findings: Iterable[Finding], selection: Selection, *, now: float) -> Chosen:
    """Pick what may go: leaked, and kept when asked for, unless held. PURE.

    Unknown ones that match stay and are listed, so that nobody believes that all is clean.
    """
    wanted = {Verdict.LEAKED, Verdict.KEPT} if selection.kept else {Verdict.LEAKED}
    remove: list[Finding] = []
    left: list[Left] = []
    for finding in findings:
        if not _matches(finding, selection, now):
            continue
        if finding.verdict is Verdict.UNKNOWN:
            left.append(Left(finding, f"not proven to be ours: {finding.classified.evidence}", eligible=False))
        elif finding.verdict in wanted and finding.classified.removable:
            remove.append(finding)
        elif finding.verdict in wanted:
            left.append(Left(finding, finding.classified.obstacle))
    return Chosen(tuple(remove), tuple(left))


def clean(ledger: Ledger, chosen: Chosen, *, world: World = KERNEL) -> Cleaned:
    """Remove what was chosen, each after a last look at who holds it and what it is. Raises LedgerError."""
    removed: list[Finding] = []
    left = list(chosen.left)
    for finding, held in zip(chosen.remove, _held_now(chosen.remove, world), strict=True):
        if held:
            left.append(Left(finding, held))
            continue
        if finding.row is None:
            continue  # `choose` picks none of those
        result = remove_recorded(ledger, finding.row, world=world)
        if result.outcome is Outcome.REMOVED:
            removed.append(finding)
        elif result.outcome is Outcome.REFUSED:
            left.append(Left(finding, result.why))
    return Cleaned(tuple(removed), tuple(left))


def _matches(finding: Finding, selection: Selection, now: float) -> bool:
    if selection.run is not None and (finding.row is None or finding.row.run != selection.run):
        return False
    if selection.older_than is not None and now - finding.created_at < selection.older_than:
        return False
    family, kind = finding.ref.family, finding.ref.kind
    words = {kind.value, family.value, f"{family}-{kind}"}
    return not selection.kinds or bool(words & set(selection.kinds))


def _held_now(findings: Sequence[Finding], world: World) -> list[str]:
    """Who holds each of them at this moment, "" for nobody: a question to a person may have taken its time."""
    places, identities = positions(finding.identity for finding in findings)
    try:
        found = world.holders(identities) if identities else {}
    except KernelError as err:
        return [f"who holds it cannot be found out: {err.problem}"] * len(findings)
    seen = [Holders(()) if place is None else found.get(place, Holders(())) for place in places]
    return [holders_in_words(each) if each.holders else "" for each in seen]
