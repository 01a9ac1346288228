"""SIGKILL at every step of creating and removing, for every kind and way of naming, with `ls` and `ipcs` as witnesses.

A child process, not a mock, dies at the step. Then the ledger must name what is there, remove what is provably ours,
and leave alone what a stranger made meanwhile under the same or a similar name or key.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import posix_ipc
import pytest

from orchestra.audit.classify import Verdict
from orchestra.audit.cleanup import Selection, choose, clean
from orchestra.audit.report import Report
from orchestra.audit.scan import scan
from orchestra.errors import KernelError
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import OBJECT_KINDS, Family, Kind, ObjectRef, Spec, Stat
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectRow, ObjectState
from orchestra.objects import CREATE_STEPS, REMOVE_STEPS, keep_recorded
from orchestra.objects.names import NAMELESS_FAMILIES
from orchestra.runplan import ObjectPlan
from tests.support import witness
from tests.support.rows import object_plan
from tests.support.zygote import Zygote

DERIVED, EXPLICIT, PRIVATE = "derived", "explicit", "private"
NOBODY = 65534


@dataclass(frozen=True)
class Case:
    family: Family
    kind: Kind
    naming: str

    def __str__(self) -> str:
        return f"{self.family}-{self.kind}-{self.naming}"

    @property
    def is_named(self) -> bool:
        return self.family is not Family.SYSV and self.family not in NAMELESS_FAMILIES

    @property
    def is_provable(self) -> bool:
        """Whether an object caught between its making and its record can be proven ours."""
        if self.naming == DERIVED:
            return True
        if self.family is Family.SYSV:
            return self.kind is Kind.SEGMENT  # cpid tells
        return (self.family, self.kind) != (Family.POSIX, Kind.QUEUE)  # all others begin under a nonce name

    def plan(self, tmp_path: Path) -> ObjectPlan:
        if self.naming == DERIVED:
            return object_plan(self.family, self.kind)
        if self.naming == PRIVATE:
            return object_plan(self.family, self.kind, ipc_key=0)
        if self.family is Family.SYSV:
            return object_plan(self.family, self.kind, ipc_key=secrets.randbelow(2**31 - 1) + 1)
        name = f"/orct.{secrets.token_hex(6)}"
        return object_plan(self.family, self.kind, name=name if self.family is Family.POSIX else f"{tmp_path}{name}")


def _cases() -> Iterator[Case]:
    for family, kind in OBJECT_KINDS:
        yield Case(family, kind, DERIVED)
        if family in (Family.POSIX, Family.SYSV, Family.FILE, Family.FIFO):
            yield Case(family, kind, EXPLICIT)
        if family is Family.SYSV:
            yield Case(family, kind, PRIVATE)


CASES = list(_cases())
NAMED = [case for case in CASES if case.is_named]


@dataclass
class Host:
    """The ledger of one test, and the strangers it has to leave alone."""

    path: Path
    folder: Path
    ledger: Ledger
    strangers: list[ObjectRef]

    def row(self) -> ObjectRow:
        (row,) = self.ledger.objects()
        return row

    def look(self) -> Report:
        return scan(self.ledger, lambda _: False)

    def clean(self) -> None:
        """Clean until nothing eligible stays: another test may be looking into a file just when its lease is asked."""
        for _ in range(5):
            cleaned = clean(self.ledger, choose(self.look().findings, Selection(), now=time.time()))
            if not any(each.eligible for each in cleaned.left):
                return
        raise AssertionError([each.why for each in cleaned.left])

    def stranger(self, plan: ObjectPlan, *, name: str | None = None, key: int | None = None) -> ObjectRef:
        """Make an object of the same kind and shape without any record."""
        spec = Spec(plan.family, plan.kind, name=name, key=key, max_messages=plan.max_messages,
                    message_size=plan.message_size, size=plan.size, values=plan.values)  # fmt: skip
        ref = adapter_for(plan.family, plan.kind).create(spec).ref
        self.strangers.append(ref)
        return ref


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    folder = tmp_path / "run"
    folder.mkdir()
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as ledger:
        host = Host(path, folder, ledger, [])
        yield host
        rows = ledger.objects()
    for ref in host.strangers:
        adapter_for(ref.family, ref.kind).remove(ref)
    for row in rows:
        _sweep(row)


def _sweep(row: ObjectRow) -> None:
    """Whatever the test did not expect to be left: the test has failed by now or knows that it stays."""
    if row.family in NAMELESS_FAMILIES:
        return
    names = {row.name, row.wanted_name, row.shape.get("name")} - {None}
    refs = [ObjectRef(row.family, row.kind, name=name) for name in names]
    if row.ipc_key:
        refs = [ObjectRef(row.family, row.kind, key=row.ipc_key)]
    elif row.family is Family.SYSV:
        refs = [stat.ref for stat in _private(row)]
    for ref in refs:
        try:
            adapter_for(row.family, row.kind).remove(ref)
        except KernelError as err:
            pytest.fail(f"cannot sweep {ref}: {err}")


def _private(row: ObjectRow) -> list[Stat]:
    """Key 0 objects of this test: segments by their maker, queues and sets by their making second."""
    found = []
    for stat in adapter_for(row.family, row.kind).list().stats:
        ctime = next(value for name, value in stat.fields.items() if name.endswith("_ctime"))
        made_then = isinstance(ctime, int) and abs(ctime - row.created_at) <= 2
        if stat.identity.key == 0 and stat.identity.cpid in (None, row.creator_pid) and made_then:
            found.append(stat)
    return found


def _is_there(row: ObjectRow) -> bool:
    """Ask a witness about every name, key and id that the object of `row` may have."""
    if row.family in NAMELESS_FAMILIES:
        return False
    if row.family is Family.SYSV:
        known = witness.sysv(row.kind)
        if row.id is not None:
            return row.id in known
        return row.ipc_key in known.values() if row.ipc_key else bool(_private(row))
    names = {row.name, row.wanted_name, row.shape.get("name"), _first_name(row)} - {None}
    return any(witness.exists(row.family, row.kind, str(name)) for name in names)


def _first_name(row: ObjectRow) -> str | None:
    if row.shape.get("name") is None or (row.family, row.kind) == (Family.POSIX, Kind.QUEUE):
        return row.name
    base = f"orc.orct.board.{row.nonce}"
    return f"/{base}" if row.family is Family.POSIX else os.path.join(os.path.dirname(row.shape["name"]), base)


@pytest.mark.parametrize("step", CREATE_STEPS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_killed_while_creating(zygote: Zygote, host: Host, tmp_path: Path, case: Case, step: str) -> None:
    died = zygote.create(host.path, case.plan(tmp_path), host.folder, step)
    assert died["status"] == -9, died["error"]
    if step == "intending":
        assert host.ledger.objects() == []
        return
    row = host.row()
    there = _is_there(row)
    assert there is (step != "intended" and case.family not in NAMELESS_FAMILIES)
    report = host.look()
    provable = case.is_provable or row.state is ObjectState.LIVE
    assert [finding.verdict for finding in report.findings] == (
        [] if not there else [Verdict.LEAKED] if provable else [Verdict.UNKNOWN]
    )
    assert all(finding.classified.removable is provable for finding in report.findings)
    host.clean()
    assert _is_there(row) is (there and not provable)
    if there and provable:
        assert host.row().state is ObjectState.REMOVED


@pytest.mark.parametrize("step", REMOVE_STEPS)
@pytest.mark.parametrize("case", [case for case in CASES if case.family not in NAMELESS_FAMILIES], ids=str)
def test_killed_while_removing(zygote: Zygote, host: Host, tmp_path: Path, case: Case, step: str) -> None:
    assert zygote.create(host.path, case.plan(tmp_path), host.folder, "never")["status"] == -9
    row = host.row()
    assert _is_there(row)
    died = zygote.remove(host.path, row.recorded, step)
    assert died["status"] == -9, died["error"]
    assert _is_there(row) is (step == "removing")
    host.clean()
    assert not _is_there(row)
    assert host.look().findings == ()


@pytest.mark.parametrize("step", CREATE_STEPS[1:])
@pytest.mark.parametrize("case", [case for case in NAMED if case.naming == EXPLICIT], ids=str)
def test_keeping_what_a_crash_left_keeps_just_the_explicit_name(
    zygote: Zygote, host: Host, tmp_path: Path, case: Case, step: str
) -> None:
    """What never got its name was never used and goes; a nonce name left beside the explicit one goes too."""
    plan = case.plan(tmp_path)
    zygote.create(host.path, plan, host.folder, step)
    was_live = host.row().state is ObjectState.LIVE and host.row().wanted_name is None
    keep_recorded(host.ledger, host.row(), "on_down: keep", by_hand=False)
    row = host.row()
    if not was_live and not case.is_provable and step == "created":
        assert row.state is ObjectState.INTENDED  # unknown: nothing was done
        return
    assert (row.state is ObjectState.KEPT) is was_live
    assert witness.exists(case.family, case.kind, str(plan.name)) is was_live
    if case.is_provable:
        assert not witness.exists(case.family, case.kind, str(_first_name(row)))


@pytest.mark.parametrize("step", CREATE_STEPS[1:])
@pytest.mark.parametrize("case", NAMED, ids=str)
def test_strangers_of_similar_names_stay(zygote: Zygote, host: Host, tmp_path: Path, case: Case, step: str) -> None:
    plan = case.plan(tmp_path)
    zygote.create(host.path, plan, host.folder, step)
    row = host.row()
    for name in (f"{_first_name(row)}x", str(_first_name(row))[:-1], f"{row.shape.get('name') or row.name}.old"):
        host.stranger(plan, name=name)
    host.clean()
    for ref in host.strangers:
        assert witness.exists(case.family, case.kind, str(ref.name))


@pytest.mark.parametrize("step", ["intended", "created", "confirmed"])
@pytest.mark.parametrize("case", [c for c in NAMED if c.naming == EXPLICIT and c.is_provable], ids=str)
def test_a_stranger_who_takes_the_wanted_name_meanwhile_stays(
    zygote: Zygote, host: Host, tmp_path: Path, case: Case, step: str
) -> None:
    plan = case.plan(tmp_path)
    zygote.create(host.path, plan, host.folder, step)
    stranger = host.stranger(plan, name=plan.name)
    host.clean()
    assert witness.exists(case.family, case.kind, str(stranger.name))
    assert not witness.exists(case.family, case.kind, str(_first_name(host.row())))


@pytest.mark.parametrize("step", ["confirmed", "renamed", "named"])
@pytest.mark.parametrize("case", NAMED, ids=str)
def test_a_stranger_who_got_our_name_after_us_stays(
    zygote: Zygote, host: Host, tmp_path: Path, case: Case, step: str
) -> None:
    """Same user, same shape, same name: only the identity tells."""
    plan = case.plan(tmp_path)
    zygote.create(host.path, plan, host.folder, step)
    row = host.row()
    name = str(row.name)
    _remove_by_hand(case, name)
    stranger = host.stranger(plan, name=name)
    host.clean()
    assert witness.exists(case.family, case.kind, str(stranger.name))
    assert [finding.verdict for finding in host.look().findings] == []


def _remove_by_hand(case: Case, name: str) -> None:
    if case.family is not Family.POSIX:
        os.unlink(name)
    elif case.kind is Kind.QUEUE:
        posix_ipc.unlink_message_queue(name)
    else:
        os.unlink(f"/dev/shm/{'sem.' if case.kind is Kind.SEMAPHORE else ''}{name[1:]}")


@pytest.mark.root
@pytest.mark.parametrize("case", [case for case in NAMED if case.naming == DERIVED], ids=str)
def test_another_user_under_our_announced_name_stays(zygote: Zygote, host: Host, public: Path, case: Case) -> None:
    plan = case.plan(public)
    zygote.create(host.path, plan, public, "intended")
    row = host.row()
    made = zygote.stranger(case.family, case.kind, uid=NOBODY, name=row.name, size=plan.size, values=plan.values,
                           max_messages=plan.max_messages, message_size=plan.message_size)  # fmt: skip
    assert made["status"] == 0, made["error"]
    host.strangers.append(ObjectRef(case.family, case.kind, name=row.name))
    report = host.look()
    assert [finding.verdict for finding in report.findings] == [Verdict.UNKNOWN]
    assert f"belongs to uid {NOBODY}" in report.findings[0].classified.evidence
    host.clean()
    assert witness.exists(case.family, case.kind, str(row.name))


@pytest.mark.root
@pytest.mark.other_user
@pytest.mark.parametrize("step", ["created", "confirmed", "never"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.naming == DERIVED and case.family not in NAMELESS_FAMILIES], ids=str
)
def test_an_ordinary_user_cleans_up_after_a_crash(zygote: Zygote, public: Path, case: Case, step: str) -> None:
    """Without any privilege, in a ledger of its own."""
    ledger = public / "record.db"
    died = zygote.create(ledger, case.plan(public), public, step, uid=NOBODY)
    assert died["status"] == -9, died["error"]
    cleaned = zygote.order("clean", ledger=str(ledger), uid=NOBODY)
    assert cleaned["status"] == 0, cleaned["error"]


# System V: keys and ids


@pytest.mark.parametrize("step", ["intended", "created", "confirmed"])
@pytest.mark.parametrize("kind", [Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE])
def test_strangers_of_other_keys_stay(zygote: Zygote, host: Host, kind: Kind, step: str) -> None:
    plan = object_plan(Family.SYSV, kind)
    zygote.create(host.path, plan, host.folder, step)
    key = host.row().ipc_key or 0
    refs = [host.stranger(plan, key=key ^ 1), host.stranger(plan, key=0)]
    host.clean()
    assert {ref.id for ref in refs} <= set(witness.sysv(kind))
    assert key not in witness.sysv(kind).values()


@pytest.mark.parametrize("kind", [Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE])
def test_a_stranger_with_our_explicit_key_stays_when_we_never_made_it(zygote: Zygote, host: Host, kind: Kind) -> None:
    plan = Case(Family.SYSV, kind, EXPLICIT).plan(Path())
    zygote.create(host.path, plan, host.folder, "intended")
    stranger = host.stranger(plan, key=plan.ipc_key)
    assert [finding.verdict for finding in host.look().findings] == [Verdict.UNKNOWN]
    host.clean()
    assert stranger.id in witness.sysv(kind)


@pytest.mark.parametrize("naming", [DERIVED, EXPLICIT])
@pytest.mark.parametrize("kind", [Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE])
def test_a_stranger_who_got_our_key_after_us_stays(zygote: Zygote, host: Host, kind: Kind, naming: str) -> None:
    plan = Case(Family.SYSV, kind, naming).plan(Path())
    zygote.create(host.path, plan, host.folder, "confirmed")
    row = host.row()
    adapter_for(Family.SYSV, kind).remove(ObjectRef(Family.SYSV, kind, id=row.id))
    stranger = host.stranger(plan, key=row.ipc_key)
    host.clean()
    assert stranger.id in witness.sysv(kind)
    assert host.look().findings == ()


def test_a_strangers_segment_under_our_announced_random_key_stays(zygote: Zygote, host: Host) -> None:
    """Same user, same key, same size, same second: the creating process differs."""
    plan = object_plan(Family.SYSV, Kind.SEGMENT)
    zygote.create(host.path, plan, host.folder, "intended")
    stranger = host.stranger(plan, key=host.row().ipc_key)
    assert [finding.verdict for finding in host.look().findings] == [Verdict.UNKNOWN]
    host.clean()
    assert stranger.id in witness.sysv(Kind.SEGMENT)


def test_a_strangers_private_segment_is_not_taken_for_the_announced_one(zygote: Zygote, host: Host) -> None:
    plan = object_plan(Family.SYSV, Kind.SEGMENT, ipc_key=0)
    zygote.create(host.path, plan, host.folder, "intended")
    stranger = host.stranger(plan, key=0)
    host.clean()
    assert stranger.id in witness.sysv(Kind.SEGMENT)
