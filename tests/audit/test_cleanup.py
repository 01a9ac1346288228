from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest

from orchestra.audit.classify import Classified, Verdict
from orchestra.audit.cleanup import Chosen, Selection, choose, clean, confirm
from orchestra.audit.report import Finding
from orchestra.errors import KernelError
from orchestra.kernel.inventory import take
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import OBJECT_KINDS, Family, Holders, Kind, ObjectRef, Spec
from orchestra.ledger.rows import ObjectState
from orchestra.objects import KERNEL, keep_recorded
from orchestra.objects.names import NAMELESS_FAMILIES
from tests.support import witness
from tests.support.rows import object_plan, object_row
from tests.support.seen import HERE, file_seen

Desk = Any  # tests/audit/conftest.py
Hold = Callable[[str], AbstractContextManager[int]]
LASTING = [pair for pair in OBJECT_KINDS if pair[0] not in NAMELESS_FAMILIES]


def finding(verdict: Verdict, *, obstacle: str = "", **row: Any) -> Finding:
    removable = verdict in (Verdict.LEAKED, Verdict.KEPT) and not obstacle
    classified = Classified(verdict, "because", removable=removable, obstacle=obstacle)
    return Finding(object_row(**row), None, Holders(()), classified)


# Choosing


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("kept", [True, False])
def test_only_leaked_and_on_request_kept_objects_are_chosen(verdict: Verdict, kept: bool) -> None:
    chosen = choose([finding(verdict)], Selection(kept=kept), now=2000.0)
    wanted = verdict is Verdict.LEAKED or (kept and verdict is Verdict.KEPT)
    assert len(chosen.remove) == wanted
    assert [left.eligible for left in chosen.left] == ([False] if verdict is Verdict.UNKNOWN else [])


def test_what_is_in_the_way_is_said() -> None:
    chosen = choose([finding(Verdict.LEAKED, obstacle="held by 12 (sh)")], Selection(), now=0.0)
    assert chosen.remove == ()
    assert [(left.why, left.eligible) for left in chosen.left] == [("held by 12 (sh)", True)]


@pytest.mark.parametrize(
    ("selection", "keys"),
    [
        (Selection(), ["a", "b", "c"]),
        (Selection(run="r2"), ["b"]),
        (Selection(run="none"), []),
        (Selection(older_than=100.0), ["a", "b"]),
        (Selection(older_than=1000.0), ["a"]),
        (Selection(older_than=1001.0), []),
        (Selection(kinds=("queue",)), ["b"]),
        (Selection(kinds=("posix-segment", "queue")), ["a", "b", "c"]),
        (Selection(kinds=("posix",)), ["a", "c"]),
        (Selection(kinds=("semaphore",)), []),
    ],
)
def test_filters(selection: Selection, keys: list[str]) -> None:
    findings = [
        finding(Verdict.LEAKED, key="a", created_at=1000.0),
        finding(Verdict.LEAKED, key="b", created_at=1800.0, run="r2", family=Family.SYSV, kind=Kind.QUEUE),
        finding(Verdict.LEAKED, key="c", created_at=1999.0),
    ]
    assert [each.row.key for each in choose(findings, selection, now=2000.0).remove if each.row] == keys


# Orphans and groups


def orphan(
    name: str = "/board", *, rule: str = "family", group: str = "", obstacle: str = "",
    verdict: Verdict = Verdict.ORPHAN, **seen: Any,
) -> Finding:  # fmt: skip
    found = file_seen(name, **seen)
    classified = Classified(verdict, "its maker is gone", removable=not obstacle, obstacle=obstacle)
    return Finding(None, None, Holders(()), classified, seen=found, place=HERE, rule=rule, group=group)


def test_orphans_go_only_when_asked_for_and_allowed() -> None:
    allowed, refused = orphan(), orphan("/other", rule="", obstacle="no rule says that it may be removed")
    assert choose([allowed, refused], Selection(), now=0.0) == Chosen()
    chosen = choose([allowed, refused], Selection(orphans=True), now=0.0)
    assert chosen.remove == (allowed,)
    assert [(left.finding, left.why, left.eligible) for left in chosen.left] == [
        (refused, "no rule says that it may be removed", False)
    ]


@pytest.mark.parametrize("verdict", [Verdict.FOREIGN, Verdict.DELETED, Verdict.UNKNOWN, Verdict.LIVE])
def test_nothing_else_of_others_is_ever_chosen(verdict: Verdict) -> None:
    found = orphan(verdict=verdict)
    for selection in (Selection(kept=True, orphans=True), Selection(declared=lambda _: True)):
        assert choose([found], selection, now=2e10).remove == ()


def test_a_file_calls_its_own_objects_orphans_that_may_go() -> None:
    mine, other = orphan("/mine", rule="", obstacle="no rule"), orphan("/other", rule="", obstacle="no rule")
    danger = orphan("/mine", rule="known", obstacle="left to its owner")
    only_mine = Selection(declared=lambda found: found.ref.name == "/mine")
    chosen = choose([mine, other, danger], only_mine, now=0.0)
    assert chosen.remove == (mine,)
    assert [left.why for left in chosen.left] == ["left to its owner"]
    unknown = orphan("/mine", verdict=Verdict.UNKNOWN)
    assert "not proven to be ours" in choose([unknown], only_mine, now=0.0).left[0].why


def test_a_group_of_which_a_member_was_not_asked_for_stays_whole() -> None:
    pair = [orphan("/a", group="g"), orphan("/b", group="g", kind=Kind.SEMAPHORE), orphan("/c")]
    assert len(choose(pair, Selection(orphans=True), now=0.0).remove) == 3
    chosen = choose(pair, Selection(orphans=True, kinds=("segment",)), now=0.0)
    assert [each.ref.name for each in chosen.remove] == ["/c"]
    assert [left.why for left in chosen.left] == ["it goes together with posix-semaphore:/b, which was not asked for"]


def test_age_of_what_is_not_on_record_counts_from_its_last_use() -> None:
    found = orphan()  # last written to at 1000
    assert choose([found], Selection(orphans=True, older_than=60.0), now=1059.0).remove == ()
    assert choose([found], Selection(orphans=True, older_than=60.0), now=1061.0).remove == (found,)


def test_a_second_look_drops_what_was_only_between_two_uses() -> None:
    used = os.stat_result((0o100600, 7, 27, 1, 0, 0, 4096, 0, 1001, 1001))
    chosen = Chosen((orphan("/idle", ino=1), orphan("/held", ino=2), orphan("/used", ino=3), orphan("/gone", ino=4)))
    second = [
        orphan("/idle", ino=1),
        orphan("/held", ino=2, verdict=Verdict.FOREIGN),
        orphan("/used", ino=3, raw=used),
        orphan("/gone", ino=5),  # another one has its name
    ]
    confirmed = confirm(chosen, second)
    assert [each.ref.name for each in confirmed.remove] == ["/idle"]
    assert [left.finding.ref.name for left in confirmed.left] == ["/held", "/used"]
    recorded = finding(Verdict.LEAKED)
    assert confirm(Chosen((recorded,)), []).remove == (recorded,)


def found_now(ref: ObjectRef, group: str = "") -> Finding:
    """A finding of something that is really there, as the survey makes it."""
    inventory = take()
    seen = next(each for each in inventory.objects if each.ref.name == ref.name and each.ref.kind is ref.kind)
    classified = Classified(Verdict.ORPHAN, "its maker is gone", removable=True)
    return Finding(None, None, Holders(()), classified, seen=seen, place=inventory.place, rule="family", group=group)


def segment(name: str) -> ObjectRef:
    spec = Spec(Family.POSIX, Kind.SEGMENT, name=name, size=64)
    return adapter_for(Family.POSIX, Kind.SEGMENT).create(spec).ref


def test_each_removal_of_what_others_made_is_on_record_with_the_evidence(
    desk: Desk, ipc_name: Callable[[], str]
) -> None:
    ref = segment(ipc_name())
    steps: list[str] = []

    def announced(step: str) -> None:
        steps.append(step)
        (row,) = desk.ledger.removals()
        assert (row.outcome, row.reference) == ("removing", str(ref)), "before the call"

    found = found_now(ref)
    cleaned = clean(desk.ledger, Chosen((found,)), checkpoint=announced)
    assert (cleaned.removed, cleaned.exit_code, steps) == ((found,), 0, ["leased", "compared", "aside"])
    (row,) = desk.ledger.removals()
    assert (row.outcome, row.verdict, row.evidence, row.command) == ("removed", "orphan", "its maker is gone", "clean")
    assert (row.pid, row.uid) == (os.getpid(), os.getuid())
    assert found.seen is not None
    assert row.identity.st_ino == found.seen.ino


def test_a_held_member_keeps_its_whole_group(desk: Desk, hold: Hold, ipc_name: Callable[[], str]) -> None:
    refs = [segment(ipc_name()) for _ in range(3)]
    group = [found_now(refs[0], "g"), found_now(refs[1], "g"), found_now(refs[2])]
    with hold(f"/dev/shm{refs[1].name}") as pid:
        cleaned = clean(desk.ledger, Chosen(tuple(group)))
    assert cleaned.removed == (group[2],)
    assert [left.why.partition(" (")[0] for left in cleaned.left] == [
        f"it goes together with {refs[1]}, which is held by {pid}", f"held by {pid}",
    ]  # fmt: skip
    assert clean(desk.ledger, Chosen(tuple(group[:2]))).removed == tuple(group[:2])


def test_a_folder_goes_after_what_lies_in_it(desk: Desk, ipc_name: Callable[[], str]) -> None:
    folder = f"/dev/shm{ipc_name()}"
    os.makedirs(f"{folder}/inner")
    for name in ("a", "inner/b"):
        open(f"{folder}/{name}", "x").close()
    there = [each for each in take().objects if (each.ref.name or "").startswith(folder)]
    place = take().place
    classified = Classified(Verdict.ORPHAN, "its maker is gone", removable=True)
    findings = tuple(
        Finding(None, None, Holders(()), classified, seen=each, place=place, rule="r", group="g") for each in there
    )
    assert len(findings) == 4
    assert len(clean(desk.ledger, Chosen(findings)).removed) == 4
    assert not os.path.exists(folder)


@pytest.mark.parametrize("step", ["", "leased"])
def test_another_one_of_that_name_is_left_alone(desk: Desk, ipc_name: Callable[[], str], step: str) -> None:
    ref = segment(ipc_name())
    path = f"/dev/shm{ref.name}"

    def replace_it(now: str) -> None:
        if now == step:
            os.unlink(path)
            open(path, "x").close()

    found = found_now(ref)
    replace_it("")
    cleaned = clean(desk.ledger, Chosen((found,)), checkpoint=replace_it)
    assert (cleaned.removed, os.path.exists(path)) == ((), True)
    assert cleaned.exit_code == 0, "what was asked for is gone"
    os.unlink(path)


# Removing


def _clean(desk: Desk, **selection: Any) -> Any:
    return clean(desk.ledger, choose(desk.report().findings, Selection(**selection), now=2e10))


def test_exactly_what_one_run_kept_goes(desk: Desk) -> None:
    """`clean --kept --run r1`: every kind goes, what other runs kept or leaked stays."""
    runs = {name: desk.run(name, instance=f"orct-{name}") for name in ("r1", "r2", "r3")}
    made = {name: [desk.make(object_plan(f, k, key=f"{f}-{k}"), runs[name]) for f, k in LASTING] for name in runs}
    for name in ("r1", "r2"):
        for live in made[name]:
            keep_recorded(desk.ledger, live.row, "--leak", by_hand=True)
    cleaned = _clean(desk, kept=True, run="r1")
    assert {each.row.key for each in cleaned.removed} == {f"{f}-{k}" for f, k in LASTING}
    assert {each.row.run for each in cleaned.removed} == {"r1"}
    assert (cleaned.left, cleaned.exit_code) == ((), 0)
    assert {row.state for row in desk.ledger.objects(run="r1")} == {ObjectState.REMOVED}
    for name in ("r2", "r3"):
        for live in made[name]:
            assert adapter_for(live.row.family, live.row.kind).stat(live.handle.ref) is not None
    assert {each.row.run for each in _clean(desk).removed} == {"r3"}
    assert {each.row.run for each in _clean(desk, kept=True).removed} == {"r2"}


def test_live_objects_never_go(desk: Desk) -> None:
    live = desk.make(object_plan(Family.POSIX, Kind.SEGMENT), desk.run())
    desk.live.add("r1")
    cleaned = _clean(desk, kept=True)
    assert (cleaned.removed, cleaned.left) == ((), ())
    assert witness.exists(Family.POSIX, Kind.SEGMENT, live.row.name)


def test_a_holder_that_came_while_somebody_was_asked_is_respected(desk: Desk, hold: Hold) -> None:
    live = desk.make(object_plan(Family.POSIX, Kind.SEMAPHORE), desk.run())
    chosen = choose(desk.report().findings, Selection(), now=2e10)
    assert len(chosen.remove) == 1
    with hold(f"/dev/shm/sem.{live.row.name[1:]}") as pid:
        cleaned = clean(desk.ledger, chosen)
    assert (cleaned.removed, cleaned.exit_code) == ((), 1)
    assert cleaned.left[0].why.startswith(f"held by {pid} (")
    assert cleaned.to_json()["left"][0]["why"] == cleaned.left[0].why
    assert witness.exists(Family.POSIX, Kind.SEMAPHORE, live.row.name)


def test_what_went_by_itself_is_neither_removed_nor_left(desk: Desk) -> None:
    live = desk.make(object_plan(Family.SYSV, Kind.QUEUE), desk.run())
    chosen = choose(desk.report().findings, Selection(), now=2e10)
    adapter_for(Family.SYSV, Kind.QUEUE).remove(ObjectRef(Family.SYSV, Kind.QUEUE, id=live.row.id))
    cleaned = clean(desk.ledger, chosen)
    assert (cleaned.removed, cleaned.left, cleaned.exit_code) == ((), (), 0)


def test_a_stranger_that_came_while_somebody_was_asked_stays(desk: Desk) -> None:
    live = desk.make(object_plan(Family.POSIX, Kind.SEGMENT), desk.run())
    chosen = choose(desk.report().findings, Selection(), now=2e10)
    path = f"/dev/shm{live.row.name}"
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(bytes(4096))
    cleaned = clean(desk.ledger, chosen)
    assert cleaned.removed == ()
    assert os.path.exists(path)
    os.unlink(path)


def test_a_refusal_is_left_with_its_reason(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.make(object_plan(Family.SYSV, Kind.SEMAPHORE), desk.run())

    def refuse(ref: ObjectRef) -> bool:
        raise KernelError(f"could not use {ref}: Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(adapter_for(Family.SYSV, Kind.SEMAPHORE), "remove", refuse)
        cleaned = _clean(desk)
    assert cleaned.exit_code == 1
    assert "Operation not permitted" in cleaned.left[0].why


def test_when_holders_cannot_be_found_out_nothing_goes(desk: Desk) -> None:
    live = desk.make(object_plan(Family.POSIX, Kind.SEGMENT), desk.run())
    chosen = choose(desk.report().findings, Selection(), now=2e10)

    def refuse(_: object) -> Any:
        raise KernelError("/proc is not mounted")

    cleaned = clean(desk.ledger, chosen, world=replace(KERNEL, holders=refuse))
    assert (cleaned.removed, cleaned.exit_code) == ((), 1)
    assert "/proc is not mounted" in cleaned.left[0].why
    assert witness.exists(Family.POSIX, Kind.SEGMENT, live.row.name)


def test_an_unknown_object_is_mentioned_but_no_failure(desk: Desk, ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    desk.run()
    adapter = adapter_for(Family.POSIX, Kind.QUEUE)
    adapter.create(object_spec(name))
    desk.ledger.intend(
        object_row(Family.POSIX, Kind.QUEUE, name=name, uid=os.getuid(), boot_id=KERNEL.here().boot_id,
                   ipc_ns=KERNEL.here().ipc_ns, instance="orct", shape={"name": name})
    )  # fmt: skip
    cleaned = _clean(desk)
    assert (cleaned.removed, cleaned.exit_code) == ((), 0)
    assert "not proven to be ours" in cleaned.left[0].why
    assert witness.exists(Family.POSIX, Kind.QUEUE, name)


def object_spec(name: str) -> Any:
    return Spec(Family.POSIX, Kind.QUEUE, name=name)


def test_cleaning_nothing_is_fine(desk: Desk) -> None:
    assert clean(desk.ledger, Chosen()).to_json() == {"removed": [], "left": []}
