from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest

from orchestra.audit.classify import Classified, Verdict
from orchestra.audit.cleanup import Chosen, Selection, choose, clean
from orchestra.audit.report import Finding
from orchestra.errors import KernelError
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import OBJECT_KINDS, Family, Holders, Kind, ObjectRef
from orchestra.ledger.rows import ObjectState
from orchestra.objects import KERNEL, keep_recorded
from orchestra.objects.names import NAMELESS_FAMILIES
from tests.support import witness
from tests.support.rows import object_plan, object_row

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
    assert [each.row.key for each in choose(findings, selection, now=2000.0).remove] == keys


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
    from orchestra.kinds import Spec

    return Spec(Family.POSIX, Kind.QUEUE, name=name)


def test_cleaning_nothing_is_fine(desk: Desk) -> None:
    assert clean(desk.ledger, Chosen()).to_json() == {"removed": [], "left": []}
