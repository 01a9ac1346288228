from __future__ import annotations

from typing import Any

import pytest

from orchestra.kernel.inventory import Inventory, Seen
from orchestra.kinds import Family, Identity, Kind
from orchestra.objects.newcomers import Clues, Origin, is_ignored, key_of, key_of_identity, newcomers
from tests.support.seen import HERE, file_seen, queue_seen, segment_seen, set_seen

EMPTY = Inventory(HERE, ())


def judge(seen: Seen, **clues: Any) -> Any:
    known: dict[str, Any] = {"users": {0}, "ours": {100: "worker"}, "living": {}, **clues}
    (found,) = newcomers(EMPTY, Inventory(HERE, (seen,)), Clues(**known))
    return found


@pytest.mark.parametrize(
    ("seen", "clues", "origin", "proven", "words"),
    [
        (segment_seen(), {}, Origin.OURS, True, "made by process 100 (worker)"),
        (segment_seen(cpid=7), {}, Origin.LIKELY, False, "nothing tells"),
        (segment_seen(cpid=7), {"living": {7: ("other", 999.0)}}, Origin.ELSEWHERE, False, "made by process 7 (other)"),
        # A process that began after the object was there has only got its maker's number.
        (segment_seen(cpid=7), {"living": {7: ("late", 1002.0)}}, Origin.LIKELY, False, "nothing tells"),
        (segment_seen(cpid=7, lpid=100), {}, Origin.OURS, False, "last used by process 100 (worker)"),
        (segment_seen(cpid=0), {}, Origin.LIKELY, False, "nothing tells"),  # made in another pid namespace
        (segment_seen(cpid=7), {"alone": True}, Origin.OURS, True, "process 7, which has ended"),
        (queue_seen(lspid=100), {}, Origin.OURS, False, "last used by process 100 (worker)"),
        (queue_seen(lrpid=100, lspid=9), {}, Origin.OURS, False, "last used by process 100 (worker)"),
        (queue_seen(lspid=9), {"living": {9: ("other", 1.0)}}, Origin.LIKELY, False, "nothing tells"),
        (queue_seen(), {"alone": True}, Origin.OURS, True, "nobody else was"),
        (set_seen(), {"last_users": {5: (100,)}}, Origin.OURS, False, "last used by process 100 (worker)"),
        (set_seen(cuid=3), {}, Origin.ELSEWHERE, False, "another user, uid 3"),
        (set_seen(cuid=3), {"last_users": {5: (100,)}}, Origin.OURS, False, "last used"),
        (file_seen(), {}, Origin.LIKELY, False, "nothing tells"),
        (file_seen(uid=3), {}, Origin.ELSEWHERE, False, "another user, uid 3"),
        (file_seen(), {"recorded": {(27, 7): "made by run r1 of lab"}}, Origin.ELSEWHERE, False, "run r1 of lab"),
        (file_seen(), {"alone": True}, Origin.OURS, True, "nobody else was"),
    ],
)
def test_whose_it_is(seen: Seen, clues: dict[str, Any], origin: Origin, proven: bool, words: str) -> None:
    found = judge(seen, **clues)
    assert (found.origin, found.proven) == (origin, proven)
    assert words in found.evidence


def test_what_was_there_before_is_not_new_however_it_was_used() -> None:
    before = (file_seen(), segment_seen(), queue_seen(), set_seen())
    after = (
        file_seen(size=9, ctime=2000.0),
        segment_seen(key=0, nattch=1, lpid=100, ctime=2000, mode=0o1600),  # marked for removal meanwhile
        queue_seen(lspid=100, qnum=3),
        set_seen(otime=2000),
        segment_seen(id=32773),  # the same slot, another id
        file_seen(ino=8),  # the same name, another file
    )
    clues = Clues(users={0}, ours={}, living={})
    new = newcomers(Inventory(HERE, before), Inventory(HERE, after), clues)
    assert [(each.seen.id, each.seen.ino) for each in new] == [(32773, None), (None, 8)]


def test_a_record_and_a_sighting_have_the_same_key() -> None:
    for seen in (segment_seen(), queue_seen(), set_seen(), file_seen()):
        assert key_of_identity(seen.identity(HERE)) == key_of(seen)
    assert key_of_identity(Identity(Family.POSIX, Kind.SEGMENT, st_dev=27, st_ino=7, birth_ns=5)) == key_of(file_seen())


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("/board", True), ("board", True), ("/b*", True), ("posix-segment:*", True), ("*", True),
        ("/other", False), ("posix-queue:*", False), ("", False),
    ],
)  # fmt: skip
def test_patterns_fit_names_and_addresses(pattern: str, fits: bool) -> None:
    assert is_ignored(file_seen(), [pattern]) is fits


def test_patterns_fit_ids_and_keys() -> None:
    assert is_ignored(queue_seen(), ["sysv-queue:5"])
    assert is_ignored(queue_seen(), ["x", "sysv-queue:0x00000001"])
    assert not is_ignored(queue_seen(), ["sysv-queue:6", "sysv-segment:*"])
    assert not is_ignored(queue_seen(), [])
