"""Remove what leaked and, on request, what was kept or orphaned: choose (pure), look again, remove, say what stayed.

What our record knows is removed by its row. Anything else is removed only here, by its identity, and each such removal
is put on record before the call, with the evidence, and settled after it. Objects of one group go together or not at
all: all of them are looked at before the first is touched.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from orchestra.audit import boxed
from orchestra.audit.classify import Verdict
from orchestra.audit.report import Finding
from orchestra.audit.scan import positions
from orchestra.errors import KernelError, PermissionRefused
from orchestra.kernel import inventory
from orchestra.kernel.exact import Attempt, remove_exact
from orchestra.kernel.inventory import Seen
from orchestra.kinds import Family, Holders, Identity, Kind, ObjectRef
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RemovalRow
from orchestra.objects.live import Checkpoint, go_on
from orchestra.objects.newcomers import key_of
from orchestra.objects.remove import Outcome, remove_recorded
from orchestra.objects.words import holders_in_words
from orchestra.objects.world import KERNEL, World

Declared = Callable[[Finding], bool]


def _nothing(_finding: Finding) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person asked to clean. `older_than` is seconds; `kinds` holds words like "queue" or "sysv-queue".

    `declared` limits it to the objects of a file, of which orphans may go without any other rule: the file says whose
    they are.
    """

    kept: bool = False
    orphans: bool = False
    run: str | None = None
    older_than: float | None = None
    kinds: tuple[str, ...] = ()
    declared: Declared | None = None


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


# Choosing (pure) --------------------------------------------------------------------------------------------------


def choose(findings: Iterable[Finding], selection: Selection, *, now: float) -> Chosen:
    """Pick what may go: leaked, kept and orphans when asked for, unless something is in the way.

    Unknown ones of our own record that match stay and are listed, so that nobody believes that all is clean; so do
    orphans that no rule allows to remove. A group of which a member is left out stays whole.
    """
    remove: list[Finding] = []
    left: list[Left] = []
    omitted: dict[str, Finding] = {}
    for finding in findings:
        if not _matches(finding, selection, now):
            if finding.group:
                omitted.setdefault(finding.group, finding)
            continue
        verdict = _ruled(finding, selection)
        if isinstance(verdict, Left):
            left.append(verdict)
        elif verdict:
            remove.append(finding)
    whole = [finding for finding in remove if not finding.group or finding.group not in omitted]
    for finding in remove:
        if finding.group and finding.group in omitted:
            other = omitted[finding.group]
            left.append(Left(finding, f"it goes together with {other.ref}, which was not asked for", eligible=False))
    return Chosen(tuple(whole), tuple(left))


def _ruled(finding: Finding, selection: Selection) -> Left | bool:
    """Return whether it goes, or why it stays though it matches; False for what nobody asked about."""
    classified = finding.classified
    if finding.verdict is Verdict.UNKNOWN:
        asked = finding.row is not None or selection.declared is not None
        return asked and Left(finding, f"not proven to be ours: {classified.evidence}", eligible=False)
    if finding.verdict is Verdict.ORPHAN:
        if not selection.orphans and selection.declared is None:
            return False
        allowed = classified.removable or (selection.declared is not None and not finding.rule and not finding.group)
        if allowed and finding.here:
            return True
        return Left(finding, classified.obstacle or "it is in another namespace", eligible=False)
    wanted = {Verdict.LEAKED, Verdict.KEPT} if selection.kept else {Verdict.LEAKED}
    if finding.verdict not in wanted:
        return False
    return classified.removable or Left(finding, classified.obstacle)


def _matches(finding: Finding, selection: Selection, now: float) -> bool:
    if selection.declared is not None and not selection.declared(finding):
        return False
    if selection.run is not None and (finding.row is None or finding.row.run != selection.run):
        return False
    if selection.older_than is not None and now - _last_touched(finding) < selection.older_than:
        return False
    family, kind = finding.ref.family, finding.ref.kind
    words = {kind.value, family.value, f"{family}-{kind}"}
    return not selection.kinds or bool(words & set(selection.kinds))


def _last_touched(finding: Finding) -> float:
    """Return when an object was made, as on record; else when it was last used, as far as the kernel tells."""
    if finding.row is not None or finding.seen is None:
        return finding.created_at
    return finding.seen.last_used


def confirm(chosen: Chosen, findings: Iterable[Finding]) -> Chosen:
    """Keep of the orphans that were chosen those that a second look calls the same. PURE.

    "Held by nobody" is a moment: some programs make an object, let go of it, and let another one open it.
    """
    again = {_same(finding): finding for finding in findings if finding.row is None}
    remove: list[Finding] = []
    left = list(chosen.left)
    for finding in chosen.remove:
        second = again.get(_same(finding))
        if finding.row is not None or (
            second is not None and second.verdict is Verdict.ORPHAN and _idle(finding, second)
        ):
            remove.append(finding)
        elif second is not None:
            left.append(Left(finding, f"by the second look it was in use: {second.classified.evidence}"))
    return Chosen(tuple(remove), tuple(left))


def _same(finding: Finding) -> tuple[object, ...]:
    return () if finding.seen is None else (finding.seen.family, *key_of(finding.seen))


def _idle(first: Finding, second: Finding) -> bool:
    return first.seen is not None and second.seen is not None and second.seen.last_used <= first.seen.last_used


# Removing ---------------------------------------------------------------------------------------------------------


def clean(
    ledger: Ledger, chosen: Chosen, *, world: World = KERNEL, command: str = "clean", checkpoint: Checkpoint = go_on
) -> Cleaned:
    """Remove what was chosen, each after a last look at who holds it and what it is. Raises LedgerError.

    `checkpoint` is told the steps of `exact.STEPS` for what is not on our record.
    """
    removed: list[Finding] = []
    left = list(chosen.left)
    held = dict(zip(map(id, chosen.remove), _held_now(chosen.remove, world), strict=True))
    for group in _groups(chosen.remove):
        obstacle = next(((each, held[id(each)]) for each in group if held[id(each)]), None)
        if obstacle is not None:
            left += [Left(each, held[id(each)] or _together(*obstacle)) for each in group]
            continue
        for finding in group:
            how = partial(_remove, world=world, command=command, checkpoint=checkpoint)
            why = boxed.remove(ledger, finding, how)
            if why is None:
                removed.append(finding)
            elif why:
                left.append(Left(finding, why))
    return Cleaned(tuple(removed), tuple(left))


def _groups(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Return what goes together; a folder after what lies in it."""
    alone = [[finding] for finding in findings if not finding.group]
    groups: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.group:
            groups[finding.group].append(finding)
    return [*alone, *(sorted(group, key=_depth) for group in groups.values())]


def _depth(finding: Finding) -> tuple[bool, int]:
    folder = finding.ref.kind is Kind.FOLDER
    return folder, -(finding.ref.name or "").count("/")


def _together(other: Finding, why: str) -> str:
    return f"it goes together with {other.ref}, which is {why}"


def _remove(ledger: Ledger, finding: Finding, world: World, command: str, checkpoint: Checkpoint) -> str | None:
    """Remove one; return None when it went, "" when it was gone already, else why it stays."""
    if finding.row is not None:
        result = remove_recorded(ledger, finding.row, world=world, held_ok=False)
        return None if result.outcome is Outcome.REMOVED else result.why if result.outcome is Outcome.REFUSED else ""
    identity = identity_of(finding)
    if identity is None:
        return ""
    attempt = remove_on_record(
        ledger, finding.ref, identity,
        verdict=finding.verdict.value, evidence=finding.classified.evidence, command=command,
        holders=lambda wanted: world.holders([wanted]).get(0, Holders(())),
        last_used=finding.seen.last_used if finding.seen is not None else None, checkpoint=checkpoint,
    )  # fmt: skip
    return None if attempt.removed else "" if attempt.gone and not attempt.window else attempt.why


def remove_on_record(
    ledger: Ledger, ref: ObjectRef, identity: Identity, *, verdict: str, evidence: str, command: str, **how: Any
) -> Attempt:
    """Remove exactly this object, announced in the ledger before and settled after. Raises LedgerError.

    `how` goes to `remove_exact`. A kernel's refusal is an outcome, not an error.
    """
    number = ledger.announce_removal(
        RemovalRow(_text(str(ref)), identity, verdict, _text(evidence), command, os.getpid(), os.getuid())
    )  # fmt: skip
    try:
        attempt = remove_exact(ref, identity, **how)
    except PermissionRefused as err:
        why = f"the kernel refused: {err.problem}; only its owner and root may remove it"
        attempt = Attempt(removed=False, why=why)
    except KernelError as err:
        attempt = Attempt(removed=False, why=f"the kernel refused: {err.problem}")
    word = "removed" if attempt.removed else "gone" if attempt.gone else "refused"
    ledger.settle_removal(number, word, _text(attempt.why))
    return attempt


def _text(words: str) -> str:
    """Return words that the ledger can hold: names of files and of programs need not be UTF-8."""
    return words.encode("utf-8", "backslashreplace").decode()


def identity_of(finding: Finding) -> Identity | None:
    """Return the identity of what was found, a file's with its birth time; None when it is another by now."""
    if finding.seen is None or finding.place is None:
        return finding.identity
    return _born(finding.seen, finding)


def _born(seen: Seen, finding: Finding) -> Identity | None:
    assert finding.place is not None
    if seen.family is Family.SYSV or seen.kind is Kind.QUEUE:
        return seen.identity(finding.place)
    return inventory.born(seen, inventory.path_of(seen, finding.place))


def _held_now(findings: Sequence[Finding], world: World) -> list[str]:
    """Who holds each of them at this moment, "" for nobody: a question to a person may have taken its time."""
    places, identities = positions(finding.identity for finding in findings)  # devices and inodes tell boxes apart
    try:
        found = world.holders(identities) if identities else {}
    except KernelError as err:
        return [f"who holds it cannot be found out: {err.problem}"] * len(findings)
    seen = [Holders(()) if place is None else found.get(place, Holders(())) for place in places]
    return [holders_in_words(each) if each.holders else "" for each in seen]
