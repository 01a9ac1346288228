"""PURE: the verdict on one object, with its evidence in words.

First match wins, as in the table of verdicts of the command line:

    deleted   its name or key is gone and it is still held: it ends with its last holder
    live      it belongs to a run that is live, or that ended and waits for `down`
    kept      it stays on purpose: `on_down`, or `--leak`; also when a crash came before that was put on record
    leaked    its run is over and it should not be there
    foreign   not ours: held, or its maker lives, or a rule says that it is normal while nobody holds it; declared
              external, or a file that was there before
    unknown   its holders cannot be seen
    orphan    nobody holds it and its maker is provably gone
    unknown   nothing tells; or it may be ours, which is not proven. Never removed

`classify` judges what our record knows, `classify_found` everything else. Where something cannot be told, it counts as
in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from orchestra.audit.attribute import Makers
from orchestra.kinds import Family, Holders, OnDown, Stat
from orchestra.ledger.rows import RUNNING_STATES, ObjectRow, ObjectState, RunRow
from orchestra.objects.entitlement import Decision, Ruling
from orchestra.objects.names import NAMELESS_FAMILIES
from orchestra.objects.words import holders_in_words

if TYPE_CHECKING:
    from orchestra.audit.rules import Match
    from orchestra.kernel.census import Process
    from orchestra.kernel.inventory import Seen


class Verdict(StrEnum):
    """What an object on the host is to us."""

    DELETED = "deleted"
    LIVE = "live"
    KEPT = "kept"
    LEAKED = "leaked"
    FOREIGN = "foreign"
    ORPHAN = "orphan"
    UNKNOWN = "unknown"


class Standing(StrEnum):
    """What has become of a run, as far as its objects are concerned."""

    LIVE = "live"
    WAITING = "waiting"  # ended, detached: its objects stay until `down`
    CRASHED = "crashed"
    ENDED = "ended"  # nothing of it should be left but what was kept


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is known about one recorded object. `run` is None when its run is not on record.

    `same_boot`: the host was not restarted since; inode numbers start over, so holders mean nothing across a restart.
    """

    row: ObjectRow
    run: RunRow | None
    standing: Standing
    ruling: Ruling
    stat: Stat | None
    holders: Holders
    same_boot: bool = True
    survivors: tuple[str, ...] = ()  # processes of a run that is over and that still live: "12 (worker.1)"


@dataclass(frozen=True, slots=True)
class Classified:
    """A verdict, why, whether it was on purpose (None where that makes no sense), whether `clean` may remove it.

    `obstacle` says what keeps a leaked, kept or orphaned object from being removable, `danger` what went wrong where
    somebody removed its like.
    """

    verdict: Verdict
    evidence: str
    intended: bool | None = None
    removable: bool = False
    obstacle: str = ""
    danger: str = ""


def standing(run: RunRow | None, *, live: bool) -> Standing:
    """Tell what has become of a run; `live` says that a supervisor or guardian holds its instance's lock for it."""
    if run is None:
        return Standing.CRASHED
    if live:
        return Standing.LIVE
    if run.state == "crashed" or run.state in RUNNING_STATES:
        return Standing.CRASHED
    return Standing.WAITING if run.detached and not run.finished else Standing.ENDED


def classify(facts: Facts) -> Classified | None:
    """Return the verdict on one object, None when nothing of it is there or it is out of this command's sight."""
    row, ruling = facts.row, facts.ruling
    if row.state is ObjectState.BORROWED:
        return _borrowed(facts)
    if row.family in NAMELESS_FAMILIES:
        return _nameless(facts) if facts.same_boot else None
    if ruling.elsewhere:
        return None
    if ruling.decision is Decision.GONE:
        # Only /dev/shm and queues: their inode numbers are not given out again, those of a disk are, and the id of a
        # System V object that is gone leads nowhere.
        lasting = row.family is Family.POSIX and facts.same_boot
        return _deleted(facts, "its name is gone") if lasting else None
    if facts.stat is not None and facts.stat.marked and ruling.decision is Decision.REMOVE:
        return _deleted(facts, "it is marked for removal") or _there(facts)
    return _there(facts)


def held(facts: Facts) -> str:
    """Return who holds the object, in words; "" when nobody is seen to."""
    if facts.holders.holders:
        return holders_in_words(facts.holders)
    attached = facts.stat.attached if facts.stat is not None else None
    return f"attached {attached} times by processes that cannot be seen" if attached else ""


def _there(facts: Facts) -> Classified:
    row, ruling = facts.row, facts.ruling
    if facts.standing is Standing.LIVE and row.state is not ObjectState.KEPT:
        doing = "is being made by" if row.state is ObjectState.INTENDED else "belongs to"
        return Classified(Verdict.LIVE, f"{doing} {_run(facts)}, which is live", intended=True)
    if ruling.decision is Decision.REFUSE:
        return Classified(Verdict.UNKNOWN, f"{ruling.why} ({_story(facts)})")
    if row.state is ObjectState.KEPT:
        return _with_holders(facts, Verdict.KEPT, f"kept on purpose by {_run(facts)}: {_reason(row)}", intended=True)
    if facts.standing is Standing.WAITING:
        words = f"belongs to {_run(facts)}, which ended and keeps its objects until `orchestra down {row.instance}`"
        return Classified(Verdict.LIVE, words, intended=True)
    if _should_stay(facts):
        words = f"made by {_run(facts)}, which is over and left it to be kept: on_down: {row.on_down}"
        return _with_holders(facts, Verdict.KEPT, words, intended=True)
    proof = "" if row.state is ObjectState.LIVE else f"; {ruling.why}"
    return _with_holders(facts, Verdict.LEAKED, f"{_story(facts)}{proof}", intended=False)


def _should_stay(facts: Facts) -> bool:
    """Whether the file says that it stays, though nobody got to put that on record: what a crash left to keep.

    A row with a wanted name was cut off while being made, before anybody could use it.
    """
    row, run = facts.row, facts.run
    if row.state is not ObjectState.LIVE or row.wanted_name is not None or row.on_down is OnDown.REMOVE:
        return False
    succeeded = run is not None and run.state == "down"
    return row.on_down is OnDown.KEEP or not succeeded


def _with_holders(facts: Facts, verdict: Verdict, evidence: str, *, intended: bool) -> Classified:
    """Leaked and kept objects go only when nobody is seen to hold them, and no process of their run lives.

    A System V queue or set shows no holders: a survivor may be using it without a trace.
    """
    obstacle = held(facts) or _survived(facts)
    words = f"{evidence}; {obstacle or holders_in_words(facts.holders)}"
    return Classified(verdict, words, intended=intended, removable=not obstacle, obstacle=obstacle)


def _survived(facts: Facts) -> str:
    if not facts.survivors:
        return ""
    words = f"processes of its run still live: {', '.join(facts.survivors)}"
    return f"{words}; `orchestra down {facts.row.instance}` ends them"


def _deleted(facts: Facts, words: str) -> Classified | None:
    holding = held(facts)
    if not holding:
        return None
    return Classified(Verdict.DELETED, f"{words} and it ends with its last holder: {holding}")


def _nameless(facts: Facts) -> Classified | None:
    holding = held(facts)
    if not holding:
        return None
    if facts.standing in (Standing.LIVE, Standing.WAITING):
        return Classified(Verdict.LIVE, f"belongs to {_run(facts)}; {holding}", intended=True)
    return Classified(Verdict.DELETED, f"it has no name and ends with its last holder: {holding}; {_story(facts)}")


def _borrowed(facts: Facts) -> Classified | None:
    if facts.stat is None or facts.standing not in (Standing.LIVE, Standing.WAITING):
        return None
    words = f"used by {_run(facts)}, which did not make it and never removes it; {holders_in_words(facts.holders)}"
    return Classified(Verdict.FOREIGN, words)


def _story(facts: Facts) -> str:
    by = f"made by {_run(facts)}" if facts.row.state is not ObjectState.INTENDED else f"announced by {_run(facts)}"
    if facts.run is None:
        return f"{by}, which is not on record"
    if facts.standing is Standing.CRASHED:
        return f"{by}, whose supervisor is gone"
    reason = f": {facts.row.why}" if facts.row.why else ""
    return f"{by}, which is over{reason}"


def _run(facts: Facts) -> str:
    return f"run {facts.row.run} of {facts.row.instance}"


def _reason(row: ObjectRow) -> str:
    if row.why:
        return row.why
    return "--leak" if row.by_hand_leak else f"on_down: {row.on_down}"


# What is not on our record -----------------------------------------------------------------------------------------


class Reason(StrEnum):
    """Why an object that is not on our record has its verdict."""

    MARKED = "marked"  # a System V segment that dies with its last detach
    UNLINKED = "unlinked"
    HELD = "held"
    MAKER_LIVES = "maker lives"
    NORMAL = "normal"
    USERS_LIVE = "users live"
    UNSEEN = "unseen"
    MAKER_GONE = "maker gone"
    USERS_GONE = "users gone"
    NO_TRACE = "no trace"


VERDICT_OF = {
    Reason.MARKED: Verdict.DELETED,
    Reason.UNLINKED: Verdict.DELETED,
    Reason.HELD: Verdict.FOREIGN,
    Reason.MAKER_LIVES: Verdict.FOREIGN,
    Reason.NORMAL: Verdict.FOREIGN,
    Reason.USERS_LIVE: Verdict.FOREIGN,
    Reason.UNSEEN: Verdict.UNKNOWN,
    Reason.MAKER_GONE: Verdict.ORPHAN,
    Reason.USERS_GONE: Verdict.ORPHAN,
    Reason.NO_TRACE: Verdict.UNKNOWN,
}


class Found(NamedTuple):
    """Everything that is known about one object that is not on our record.

    `held`: a holder was seen, or counted by the kernel. `complete`: nobody can hold it unseen. `users`: living programs
    of the family that its rule names; `users_gone`: the rule names some, and provably none runs.
    """

    seen: Seen
    held: bool
    complete: bool
    makers: Makers = Makers()
    match: Match | None = None
    users: tuple[Process, ...] = ()
    users_gone: bool = False
    unlinked: bool = False


def reason_for(found: Found) -> Reason:
    """Decide: the first that applies."""
    if found.unlinked:
        return Reason.UNLINKED
    if found.held:
        return Reason.MARKED if found.seen.marked else Reason.HELD
    if found.makers.living is not None:
        return Reason.MAKER_LIVES
    if found.match is not None and found.match.rule.normal:
        return Reason.NORMAL
    if found.users:
        return Reason.USERS_LIVE
    if not found.complete:
        return Reason.UNSEEN
    if found.makers.all_gone:
        return Reason.MAKER_GONE
    if found.users_gone and not found.makers.clues:
        return Reason.USERS_GONE
    return Reason.NO_TRACE


def classify_found(found: Found, reason: Reason, holders: Holders, obstacle: str = "") -> Classified:
    """Put a decision of `reason_for` in words. `obstacle` says what else keeps an orphan from being removable."""
    verdict = VERDICT_OF[reason]
    parts = [_found_words(found, reason, holders)]
    rule = found.match.rule if found.match is not None else None
    if rule is not None and rule.name is not None:
        parts.append(f"its name is that of {rule.software}")
    elif rule is not None and rule.software:
        parts.append(f"it looks like that of {rule.software}")
    if verdict is not Verdict.ORPHAN:
        return Classified(verdict, "; ".join(parts))
    if rule is None:
        obstacle = obstacle or "no rule says that it may be removed: `orchestra remove` does it by hand"
    elif not rule.remove:
        obstacle = obstacle or f"left to its owner: {rule.instead}"
    danger = rule.danger if rule is not None else ""
    return Classified(verdict, "; ".join(parts), removable=not obstacle, obstacle=obstacle, danger=danger)


def _found_words(found: Found, reason: Reason, holders: Holders) -> str:
    gone = {Reason.MARKED: "it is marked for removal", Reason.UNLINKED: "its name is gone"}
    if reason in gone:
        return f"{gone[reason]} and it ends with its last holder: {_holding(found, holders)}"
    if reason is Reason.HELD:
        return _holding(found, holders)
    if reason is Reason.MAKER_LIVES and found.makers.living is not None:
        return f"{found.makers.living.words}; held by nobody"
    if reason is Reason.NORMAL and found.match is not None:
        return f"held by nobody, which is normal: {found.match.rule.why}"
    if reason is Reason.USERS_LIVE:
        named = ", ".join(f"{user.pid} ({user.command})" for user in found.users[:3])
        return f"held by nobody, which is normal while a program of its family runs: {named}"
    clues = "; ".join(clue.words for clue in found.makers.clues)
    if reason is Reason.MAKER_GONE:
        return f"held by nobody; {clues}"
    if reason is Reason.USERS_GONE:
        return "held by nobody; no program of its owner that uses such objects runs"
    unseen = "no holder seen, though not every process could be looked into"
    return "; ".join(part for part in (unseen if not found.complete else "held by nobody", clues or _NO_CLUE) if part)


_NO_CLUE = "nothing tells who made it"


def _holding(found: Found, holders: Holders) -> str:
    if holders.holders:
        return holders_in_words(holders)
    if found.seen.attached:
        return f"attached {found.seen.attached} times by processes that cannot be seen"
    return "held by a process that cannot be seen"
