from __future__ import annotations

import itertools
from typing import Any

import pytest

from orchestra.audit.attribute import Clue, Life, Makers
from orchestra.audit.classify import (
    Classified,
    Facts,
    Found,
    Reason,
    Standing,
    Verdict,
    classify,
    classify_found,
    held,
    reason_for,
    standing,
)
from orchestra.audit.rules import Match, rule
from orchestra.kernel.census import Process
from orchestra.kinds import OBJECT_KINDS, Family, Holder, Holders, Identity, Kind, ObjectRef, OnDown, Stat
from orchestra.ledger.rows import RUN_STATES, ObjectState
from orchestra.objects.entitlement import Decision, Ruling
from orchestra.objects.names import NAMELESS_FAMILIES
from tests.support.rows import object_row, run_row
from tests.support.seen import file_seen, segment_seen

NOBODY = Holders(())
SOMEBODY = Holders((Holder(12, "python3", "mapped"),))
UNSEEN = Holders((), complete=False)
OURS = Ruling(Decision.REMOVE, "it is the very object on record")
ABSENT = Ruling(Decision.GONE, "it is not there any more")
UNPROVEN = Ruling(Decision.REFUSE, "its name proves nothing")
ELSEWHERE = Ruling(Decision.REFUSE, "it was made in IPC namespace 17", elsewhere=True)
NAMED = [pair for pair in OBJECT_KINDS if pair[0] not in NAMELESS_FAMILIES]


def stat(family: Family = Family.POSIX, kind: Kind = Kind.SEGMENT, **changes: Any) -> Stat:
    return Stat(ObjectRef(family, kind, name="/x"), Identity(family, kind), 0o600, 0, 0)._replace(**changes)


def facts(**changes: Any) -> Facts:
    """A confirmed object of a crashed run, unheld."""
    defaults: dict[str, Any] = {
        "row": object_row(state=ObjectState.LIVE), "run": run_row(), "standing": Standing.CRASHED, "ruling": OURS,
        "stat": stat(), "holders": NOBODY,
    }  # fmt: skip
    return Facts(**{**defaults, **changes})


def judged(**changes: Any) -> Classified:
    verdict = classify(facts(**changes))
    assert verdict is not None
    return verdict


# Runs


@pytest.mark.parametrize("state", RUN_STATES)
@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("finished", [True, False])
def test_the_lock_says_that_a_run_is_live_whatever_is_on_record(state: str, detached: bool, finished: bool) -> None:
    run = run_row(state=state, detached=detached, finished=finished)
    assert standing(run, live=True) is Standing.LIVE


def test_what_has_become_of_a_run_that_is_not_live() -> None:
    for state in ("starting", "up", "stopping", "crashed"):
        assert standing(run_row(state=state, detached=True), live=False) is Standing.CRASHED
    for state in ("down", "failed"):
        assert standing(run_row(state=state, detached=True), live=False) is Standing.WAITING
        assert standing(run_row(state=state, detached=True, finished=True), live=False) is Standing.ENDED
        assert standing(run_row(state=state), live=False) is Standing.ENDED
    assert standing(None, live=False) is Standing.CRASHED


# Verdicts


def test_an_object_of_a_live_run_is_live() -> None:
    found = judged(standing=Standing.LIVE)
    assert found == Classified(Verdict.LIVE, "belongs to run r1 of pipeline, which is live", intended=True)


def test_an_announced_object_of_a_live_run_is_being_made() -> None:
    found = judged(standing=Standing.LIVE, row=object_row(), ruling=UNPROVEN)
    assert (found.verdict, found.evidence) == (Verdict.LIVE, "is being made by run r1 of pipeline, which is live")


def test_an_object_of_a_detached_run_that_ended_waits_for_down() -> None:
    found = judged(standing=Standing.WAITING)
    assert (found.verdict, found.removable) == (Verdict.LIVE, False)
    assert "ended and keeps its objects until `orchestra down pipeline`" in found.evidence


def test_an_object_of_a_crashed_run_is_leaked() -> None:
    found = judged()
    assert (found.verdict, found.intended, found.removable) == (Verdict.LEAKED, False, True)
    assert found.evidence == "made by run r1 of pipeline, whose supervisor is gone; held by nobody"


def test_an_announced_object_that_is_proven_ours_is_leaked_with_the_proof() -> None:
    found = judged(row=object_row(), ruling=Ruling(Decision.REMOVE, "its name carries our nonce and we own it"))
    assert (found.verdict, found.removable) == (Verdict.LEAKED, True)
    assert "announced by run r1 of pipeline, whose supervisor is gone; its name carries our nonce" in found.evidence


def test_what_an_ended_run_could_not_remove_is_leaked_and_says_why() -> None:
    row = object_row(state=ObjectState.LIVE, why="the kernel refused")
    found = judged(row=row, standing=Standing.ENDED)
    assert (found.verdict, found.removable) == (Verdict.LEAKED, True)
    assert "which is over: the kernel refused" in found.evidence


def test_an_object_of_a_run_that_is_not_on_record_is_leaked() -> None:
    assert "which is not on record" in judged(run=None).evidence


@pytest.mark.parametrize("where", Standing)
def test_a_kept_object_is_kept_whatever_became_of_its_run(where: Standing) -> None:
    row = object_row(state=ObjectState.KEPT, by_hand_leak=True)
    found = judged(row=row, standing=where)
    assert (found.verdict, found.intended, found.removable) == (Verdict.KEPT, True, True)
    assert "kept on purpose by run r1 of pipeline: --leak" in found.evidence


@pytest.mark.parametrize(
    ("on_down", "state", "verdict"),
    [
        (OnDown.KEEP, "crashed", Verdict.KEPT),
        (OnDown.KEEP, "up", Verdict.KEPT),
        (OnDown.KEEP, "down", Verdict.KEPT),
        (OnDown.KEEP_ON_FAILURE, "crashed", Verdict.KEPT),
        (OnDown.KEEP_ON_FAILURE, "failed", Verdict.KEPT),
        (OnDown.KEEP_ON_FAILURE, "down", Verdict.LEAKED),
        (OnDown.REMOVE, "crashed", Verdict.LEAKED),
    ],
)
def test_what_a_crash_left_to_keep_is_kept(on_down: OnDown, state: str, verdict: Verdict) -> None:
    """A data file must not go with what leaked, just because nobody got to write down that it stays."""
    run = run_row(state=state)
    row = object_row(state=ObjectState.LIVE, on_down=on_down)
    assert judged(row=row, run=run, standing=standing(run, live=False)).verdict is verdict


def test_what_a_crash_caught_unfinished_is_leaked_whatever_should_have_become_of_it() -> None:
    row = object_row(state=ObjectState.LIVE, on_down=OnDown.KEEP, wanted_name="/board")
    assert judged(row=row).verdict is Verdict.LEAKED
    assert judged(row=object_row(on_down=OnDown.KEEP)).verdict is Verdict.LEAKED


def test_a_kept_object_says_what_kept_it() -> None:
    row = object_row(state=ObjectState.KEPT, on_down=OnDown.KEEP_ON_FAILURE)
    assert ": on_down: keep-on-failure" in judged(row=row).evidence
    assert ": it failed" in judged(row=row._replace(why="it failed")).evidence


def test_what_is_not_proven_ours_is_unknown_and_stays() -> None:
    found = judged(row=object_row(), ruling=UNPROVEN)
    assert (found.verdict, found.intended, found.removable) == (Verdict.UNKNOWN, None, False)
    assert found.evidence.startswith("its name proves nothing (announced by run r1")


@pytest.mark.parametrize("state", [ObjectState.LIVE, ObjectState.KEPT])
def test_a_held_object_is_not_removable_and_its_holder_is_named(state: ObjectState) -> None:
    found = judged(row=object_row(state=state), holders=SOMEBODY)
    assert (found.removable, found.evidence.endswith("held by 12 (python3)")) == (False, True)


def test_attachments_of_hidden_processes_hold_too() -> None:
    found = judged(stat=stat(Family.SYSV, attached=2), holders=UNSEEN)
    assert not found.removable
    assert "attached 2 times by processes that cannot be seen" in found.evidence


def test_processes_that_may_not_be_looked_into_are_mentioned_but_do_not_block() -> None:
    found = judged(holders=UNSEEN)
    assert found.removable
    assert "not every process could be looked into" in found.evidence


@pytest.mark.parametrize("state", [ObjectState.LIVE, ObjectState.KEPT])
def test_nothing_of_a_run_goes_while_one_of_its_processes_lives(state: ObjectState) -> None:
    """Who uses a System V queue leaves no trace."""
    found = judged(row=object_row(state=state), survivors=("12 (worker.1)",))
    assert not found.removable
    assert found.obstacle == "processes of its run still live: 12 (worker.1); `orchestra down pipeline` ends them"
    assert found.evidence.endswith(found.obstacle)
    assert judged(holders=SOMEBODY, survivors=("12 (worker.1)",)).obstacle == "held by 12 (python3)"


def test_a_name_that_is_gone_while_somebody_holds_the_object_is_deleted() -> None:
    for where in Standing:
        found = judged(ruling=ABSENT, stat=None, holders=SOMEBODY, standing=where)
        assert (found.verdict, found.removable) == (Verdict.DELETED, False)
        assert "its name is gone and it ends with its last holder: held by 12" in found.evidence


@pytest.mark.parametrize(("family", "kind"), OBJECT_KINDS)
@pytest.mark.parametrize("state", [ObjectState.INTENDED, ObjectState.LIVE, ObjectState.KEPT])
def test_what_is_gone_and_unheld_is_no_finding(family: Family, kind: Kind, state: ObjectState) -> None:
    row = object_row(family, kind, state=state)
    for where, holders in itertools.product(Standing, [NOBODY, UNSEEN]):
        assert classify(facts(row=row, ruling=ABSENT, stat=None, standing=where, holders=holders)) is None


@pytest.mark.parametrize("family", [Family.FILE, Family.FIFO, Family.SYSV])
def test_inode_numbers_of_disks_and_ids_are_given_out_again_so_holders_prove_nothing(family: Family) -> None:
    kind = Kind.PIPE if family is Family.FIFO else Kind.SEGMENT
    row = object_row(family, kind, state=ObjectState.LIVE)
    assert classify(facts(row=row, ruling=ABSENT, stat=None, holders=SOMEBODY)) is None


def test_a_segment_marked_for_removal_is_deleted_while_attached() -> None:
    row = object_row(Family.SYSV, Kind.SEGMENT, state=ObjectState.LIVE)
    found = judged(row=row, stat=stat(Family.SYSV, marked=True, attached=1), holders=SOMEBODY)
    assert (found.verdict, found.removable) == (Verdict.DELETED, False)
    assert "marked for removal" in found.evidence


@pytest.mark.parametrize(("family", "kind"), [pair for pair in OBJECT_KINDS if pair[0] in NAMELESS_FAMILIES])
def test_a_nameless_object_is_there_as_long_as_it_is_held(family: Family, kind: Kind) -> None:
    row = object_row(family, kind, state=ObjectState.LIVE)
    given = {"row": row, "ruling": ABSENT, "stat": None}
    assert judged(**given, holders=SOMEBODY, standing=Standing.LIVE).verdict is Verdict.LIVE
    assert judged(**given, holders=SOMEBODY).verdict is Verdict.DELETED
    assert "it has no name" in judged(**given, holders=SOMEBODY).evidence
    assert classify(facts(**given)) is None


@pytest.mark.parametrize(("family", "kind"), [(Family.POSIX, Kind.SEGMENT), (Family.MEMFD, Kind.SEGMENT)])
def test_holders_prove_nothing_across_a_restart_of_the_host(family: Family, kind: Kind) -> None:
    row = object_row(family, kind, state=ObjectState.LIVE)
    assert classify(facts(row=row, ruling=ABSENT, stat=None, holders=SOMEBODY, same_boot=False)) is None


def test_a_borrowed_object_is_foreign_while_its_run_uses_it() -> None:
    row = object_row(state=ObjectState.BORROWED)
    refused = Ruling(Decision.REFUSE, "it was there before the run")
    found = judged(row=row, ruling=refused, standing=Standing.LIVE)
    assert (found.verdict, found.removable) == (Verdict.FOREIGN, False)
    assert classify(facts(row=row, ruling=refused, standing=Standing.ENDED)) is None
    assert classify(facts(row=row, ruling=refused, standing=Standing.LIVE, stat=None)) is None


def test_what_is_elsewhere_is_no_finding_here() -> None:
    for where in Standing:
        assert classify(facts(ruling=ELSEWHERE, stat=None, standing=where)) is None


def test_only_leaked_and_kept_objects_of_ours_without_holders_are_ever_removable() -> None:
    """Every combination of state, standing, ruling and holders."""
    for (family, kind), state, where, ruling, holders in itertools.product(
        OBJECT_KINDS, ObjectState, Standing, [OURS, ABSENT, UNPROVEN, ELSEWHERE], [NOBODY, SOMEBODY, UNSEEN]
    ):
        for seen in (None, stat(family, kind), stat(family, kind, attached=1), stat(family, kind, marked=True)):
            row = object_row(family, kind, state=state)
            found = classify(facts(row=row, standing=where, ruling=ruling, holders=holders, stat=seen))
            if found is None or not found.removable:
                continue
            assert found.verdict in (Verdict.LEAKED, Verdict.KEPT)
            assert ruling is OURS
            assert holders is not SOMEBODY
            assert where not in (Standing.LIVE, Standing.WAITING) or state is ObjectState.KEPT
            assert held(facts(holders=holders, stat=seen)) == ""


# What is not on our record


GONE = Makers((Clue("created it", 101, Life.GONE),))
LIVING = Makers((Clue("created it", 100, Life.ALIVE, "maker"),))
UNPROVEN_MAKER = Makers((Clue("created it", 0, Life.UNPROVEN),))
USER = Process(7, "postgres", 1, 1.0)


def match(**changes: Any) -> Match:
    item = {"id": "x", "software": "X", "kinds": [], "name": ".+", "danger": "it broke", "remove": True}
    return Match(rule({**item, **changes}))


def found(**changes: Any) -> Found:
    """A file of somebody, unheld, with everybody looked into."""
    return Found(file_seen(), held=False, complete=True)._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "reason", "verdict"),
    [
        ({"unlinked": True, "held": True}, Reason.UNLINKED, "deleted"),
        ({"held": True, "seen": segment_seen(mode=0o1600, nattch=1)}, Reason.MARKED, "deleted"),
        ({"held": True, "makers": GONE}, Reason.HELD, "foreign"),
        ({"makers": LIVING}, Reason.MAKER_LIVES, "foreign"),
        ({"makers": LIVING, "complete": False}, Reason.MAKER_LIVES, "foreign"),
        ({"makers": GONE, "match": match(unheld="normal", why="so")}, Reason.NORMAL, "foreign"),
        ({"makers": GONE, "match": match(), "users": (USER,)}, Reason.USERS_LIVE, "foreign"),
        ({"makers": GONE, "complete": False}, Reason.UNSEEN, "unknown"),
        ({"users_gone": True, "match": match(), "complete": False}, Reason.UNSEEN, "unknown"),
        ({"makers": GONE}, Reason.MAKER_GONE, "orphan"),
        ({"users_gone": True, "match": match()}, Reason.USERS_GONE, "orphan"),
        ({"users_gone": True, "match": match(), "makers": UNPROVEN_MAKER}, Reason.NO_TRACE, "unknown"),
        ({"makers": UNPROVEN_MAKER}, Reason.NO_TRACE, "unknown"),
        ({"makers": Makers((*GONE.clues, *UNPROVEN_MAKER.clues))}, Reason.NO_TRACE, "unknown"),
        ({}, Reason.NO_TRACE, "unknown"),
    ],
)
def test_verdicts_in_their_order(changes: dict[str, Any], reason: Reason, verdict: str) -> None:
    one = found(**changes)
    assert reason_for(one) is reason
    judged = classify_found(one, reason, NOBODY)
    assert judged.verdict == verdict
    assert judged.evidence
    assert judged.intended is None


def test_only_an_orphan_that_a_rule_allows_is_removable() -> None:
    """Every combination of what can be known."""
    for held_, complete, makers, matched, users, gone, unlinked in itertools.product(
        [False, True], [False, True], [Makers(), GONE, LIVING, UNPROVEN_MAKER],
        [None, match(), match(remove=False, instead="ask"), match(unheld="normal", why="so")],
        [(), (USER,)], [False, True], [False, True],
    ):  # fmt: skip
        one = Found(file_seen(), held_, complete, makers, matched, users, gone, unlinked)
        reason = reason_for(one)
        judged = classify_found(one, reason, NOBODY)
        if judged.removable:
            assert judged.verdict is Verdict.ORPHAN
            assert (held_, complete, users, unlinked) == (False, True, (), False)
            assert makers is GONE or (gone and makers == Makers())
            assert matched is not None
            assert (matched.rule.remove, matched.rule.normal) == (True, False)
        elif judged.verdict is Verdict.ORPHAN:
            assert judged.obstacle


def test_why_an_orphan_stays() -> None:
    orphan = found(makers=GONE)
    assert "no rule says" in classify_found(orphan, Reason.MAKER_GONE, NOBODY).obstacle
    told = orphan._replace(match=match(remove=False, instead="ask its owner"))
    assert classify_found(told, Reason.MAKER_GONE, NOBODY).obstacle == "left to its owner: ask its owner"
    allowed = orphan._replace(match=match())
    judged = classify_found(allowed, Reason.MAKER_GONE, NOBODY)
    assert (judged.removable, judged.obstacle, judged.danger) == (True, "", "it broke")
    elsewhere = classify_found(allowed, Reason.MAKER_GONE, NOBODY, "it is in another namespace")
    assert (elsewhere.removable, elsewhere.obstacle) == (False, "it is in another namespace")


@pytest.mark.parametrize(
    ("one", "reason", "holders", "words"),
    [
        (found(held=True), Reason.HELD, SOMEBODY, "held by 12 (python3)"),
        (found(held=True), Reason.HELD, UNSEEN, "held by a process that cannot be seen"),
        (
            found(held=True, seen=segment_seen(nattch=2)), Reason.HELD, UNSEEN,
            "attached 2 times by processes that cannot be seen",
        ),
        (found(unlinked=True, held=True), Reason.UNLINKED, SOMEBODY, "its name is gone and it ends with its last"),
        (found(makers=GONE), Reason.MAKER_GONE, NOBODY, "held by nobody; process 101, which created it, is gone"),
        (found(makers=LIVING), Reason.MAKER_LIVES, NOBODY, "process 100 (maker), which created it, is alive"),
        (found(complete=False), Reason.UNSEEN, UNSEEN, "no holder seen, though not every process could be looked into"),
        (found(), Reason.NO_TRACE, NOBODY, "held by nobody; nothing tells who made it"),
        (found(match=match(), users=(USER,)), Reason.USERS_LIVE, NOBODY, "a program of its family runs: 7 (postgres)"),
        (found(match=match(unheld="normal", why="so it is")), Reason.NORMAL, NOBODY, "which is normal: so it is"),
        (found(match=match()), Reason.USERS_GONE, NOBODY, "; its name is that of X"),
        (found(match=match(name=None), makers=GONE), Reason.MAKER_GONE, NOBODY, "; it looks like that of X"),
    ],
)  # fmt: skip
def test_evidence_in_words(one: Found, reason: Reason, holders: Holders, words: str) -> None:
    assert words in classify_found(one, reason, holders).evidence
