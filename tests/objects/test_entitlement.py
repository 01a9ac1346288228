"""The rule of removal, over every combination of what the ledger says and what the kernel shows."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from orchestra.kinds import OBJECT_KINDS, Family, Identity, Kind, ObjectRef, Stat
from orchestra.ledger.rows import ObjectRow, ObjectState
from orchestra.objects.entitlement import (
    CREATION_WINDOW,
    FOLDER_DEVICE,
    Decision,
    Here,
    Sighting,
    entitlement,
    same_object,
)
from orchestra.objects.names import NAMELESS_FAMILIES, PATH_FAMILIES
from tests.support.rows import BOOT, NAMESPACE, NONCE, object_row

HERE = Here(BOOT, NAMESPACE)
NAMED = [pair for pair in OBJECT_KINDS if pair[0] is not Family.SYSV and pair[0] not in NAMELESS_FAMILIES]
SYSV = [pair for pair in OBJECT_KINDS if pair[0] is Family.SYSV]
OPEN = (ObjectState.LIVE, ObjectState.KEPT)
REMOVE, GONE, REFUSE = Decision.REMOVE, Decision.GONE, Decision.REFUSE
_CTIME = {Kind.QUEUE: "msg_ctime", Kind.SEGMENT: "shm_ctime", Kind.SEMAPHORE: "sem_ctime"}


def identity_of(family: Family, kind: Kind, **changes: Any) -> Identity:
    """The identity of the object that the default row announced."""
    if family is not Family.SYSV:
        birth = None if kind is Kind.QUEUE else 5
        return Identity(family, kind, st_dev=26, st_ino=7, birth_ns=birth)._replace(**changes)
    own = Identity(family, kind, boot_id=BOOT, ipc_ns=NAMESPACE, id=3, key=0x1234ABCD, cuid=1000, cgid=100)
    if kind is Kind.SEGMENT:
        own = own._replace(size=4096, cpid=4711)
    if kind is Kind.SEMAPHORE:
        own = own._replace(nsems=2)
    return own._replace(**changes)


def stat_of(identity: Identity, **changes: Any) -> Stat:
    """A sighting of an object with this identity, made in the second of the announcement."""
    ref = ObjectRef(identity.family, identity.kind, id=identity.id, key=identity.key)
    fields: dict[str, Any] = {}
    if identity.family is Family.SYSV:
        fields[_CTIME[identity.kind]] = 1000
    return Stat(ref, identity, 0o600, 1000, 100, size=identity.size, fields=fields)._replace(**changes)


def intended(family: Family, kind: Kind, **changes: Any) -> ObjectRow:
    return object_row(family, kind, **{"shape": {"size": 4096} if kind is Kind.SEGMENT else {}, **changes})


def recorded(family: Family, kind: Kind, state: ObjectState = ObjectState.LIVE, **changes: Any) -> ObjectRow:
    return intended(family, kind, **{"state": state, "identity": identity_of(family, kind), "id": 3, **changes})


def decide(row: ObjectRow, stat: Stat | None, **seen: Any) -> Decision:
    name = row.name if row.family is not Family.SYSV else None
    return entitlement(row, Sighting(stat, **{"name": name, **seen}), HERE).decision


# On record


@pytest.mark.parametrize(("family", "kind"), NAMED + SYSV)
@pytest.mark.parametrize("state", OPEN)
def test_the_very_object_on_record_may_go(family: Family, kind: Kind, state: ObjectState) -> None:
    row = recorded(family, kind, state)
    assert row.identity is not None
    assert decide(row, stat_of(row.identity)) is REMOVE


@pytest.mark.parametrize(("family", "kind"), NAMED + SYSV)
@pytest.mark.parametrize("state", OPEN)
def test_nothing_there_is_gone(family: Family, kind: Kind, state: ObjectState) -> None:
    assert decide(recorded(family, kind, state), None) is GONE


@pytest.mark.parametrize(("family", "kind"), NAMED + SYSV)
def test_any_other_identity_is_somebody_elses(family: Family, kind: Kind) -> None:
    row = recorded(family, kind)
    own = row.identity
    assert own is not None
    for name, value in own.to_json().items():
        if name in ("family", "kind"):
            continue
        changed: dict[str, Any] = {name: "other" if isinstance(value, str) else value + 1}
        ruling = entitlement(row, Sighting(stat_of(own._replace(**changed)), name=row.name), HERE)
        assert (ruling.decision, "left alone" in ruling.why) == (GONE, True), name
    if kind is not Kind.QUEUE and family is not Family.SYSV:
        assert decide(row, stat_of(own._replace(birth_ns=None))) is GONE


@pytest.mark.parametrize(("family", "kind"), SYSV)
def test_key_zero_is_ours_only_when_marked_for_removal(family: Family, kind: Kind) -> None:
    """A recycled id with key 0 is somebody's private object; IPC_RMID of an attached segment zeroes our key too."""
    row = recorded(family, kind)
    seen = stat_of(identity_of(family, kind, key=0))
    assert decide(row, seen) is GONE
    assert decide(row, seen._replace(marked=True)) is REMOVE


def test_same_object_needs_every_field_that_is_on_record() -> None:
    own = identity_of(Family.SYSV, Kind.SEGMENT)
    assert same_object(own, stat_of(own))
    assert not same_object(own, stat_of(own._replace(cpid=1)))
    assert not same_object(own, stat_of(own._replace(cpid=1, key=0), marked=True))


def test_without_an_identity_on_record_nothing_goes() -> None:
    row = recorded(Family.POSIX, Kind.SEGMENT, identity=None)
    assert decide(row, stat_of(identity_of(Family.POSIX, Kind.SEGMENT))) is REFUSE


@pytest.mark.parametrize(("family", "kind"), [pair for pair in OBJECT_KINDS if pair[0] in NAMELESS_FAMILIES])
@pytest.mark.parametrize("state", [ObjectState.INTENDED, *OPEN])
def test_nameless_objects_need_no_removal(family: Family, kind: Kind, state: ObjectState) -> None:
    assert decide(intended(family, kind, state=state), None) is GONE


@pytest.mark.parametrize("state", [ObjectState.REMOVED, ObjectState.GONE, ObjectState.ABANDONED])
@pytest.mark.parametrize(("family", "kind"), NAMED + SYSV)
def test_a_settled_row_entitles_to_nothing(family: Family, kind: Kind, state: ObjectState) -> None:
    row = recorded(family, kind, state)
    assert row.identity is not None
    assert decide(row, stat_of(row.identity)) is GONE


@pytest.mark.parametrize(("family", "kind"), NAMED + SYSV)
def test_a_borrowed_object_never_goes(family: Family, kind: Kind) -> None:
    row = recorded(family, kind, ObjectState.BORROWED)
    assert row.identity is not None
    assert decide(row, stat_of(row.identity)) is REFUSE


def test_what_could_not_be_looked_at_is_refused_with_the_reason() -> None:
    ruling = entitlement(recorded(Family.POSIX, Kind.QUEUE), Sighting(name="/x", refused="no permission"), HERE)
    assert (ruling.decision, ruling.why) == (REFUSE, "it could not be looked at: no permission")


def test_another_kind_of_file_in_its_place_is_left_alone() -> None:
    for row in (recorded(Family.POSIX, Kind.SEGMENT), intended(Family.POSIX, Kind.SEGMENT)):
        ruling = entitlement(row, Sighting(name=row.name, other="/dev/shm/x is a folder"), HERE)
        assert (ruling.decision, ruling.why) == (GONE, "/dev/shm/x is a folder, which was left alone")


# Only announced


@pytest.mark.parametrize(("family", "kind"), NAMED)
def test_an_announced_name_with_our_nonce_and_owner_may_go(family: Family, kind: Kind) -> None:
    row = intended(family, kind)
    assert decide(row, stat_of(identity_of(family, kind))) is REMOVE
    assert decide(row, None) is GONE


@pytest.mark.parametrize(("family", "kind"), NAMED)
def test_another_owner_of_the_announced_name_is_left_alone(family: Family, kind: Kind) -> None:
    assert decide(intended(family, kind), stat_of(identity_of(family, kind), uid=1001)) is REFUSE


@pytest.mark.parametrize(("family", "kind"), NAMED)
def test_the_declared_owner_counts_as_us(family: Family, kind: Kind) -> None:
    row = intended(family, kind, shape={"owner": 33})
    assert decide(row, stat_of(identity_of(family, kind), uid=33)) is REMOVE
    assert decide(row, stat_of(identity_of(family, kind), uid=34)) is REFUSE


@pytest.mark.parametrize(
    "name", ["/jobs", f"/orc.pipeline.board.{NONCE}x", f"/orc.{NONCE}.board", f"/x{NONCE}", "/orc."]
)
@pytest.mark.parametrize(("family", "kind"), NAMED)
def test_an_announced_name_without_our_nonce_proves_nothing(family: Family, kind: Kind, name: str) -> None:
    row = intended(family, kind, name=name)
    ruling = entitlement(row, Sighting(stat_of(identity_of(family, kind)), name=name), HERE)
    assert (ruling.decision, "its name proves nothing" in ruling.why) == (REFUSE, True)


_YES_NO = (True, False)
_SYSV_CASES = [
    (kind, *rest)
    for kind in (Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE)
    for rest in itertools.product(("random", "explicit", "private"), _YES_NO, _YES_NO, _YES_NO, _YES_NO)
]


@pytest.mark.parametrize(("kind", "naming", "by_us", "by_our_process", "in_time", "of_size"), _SYSV_CASES)
def test_an_announced_system_v_object(
    kind: Kind, naming: str, by_us: bool, by_our_process: bool, in_time: bool, of_size: bool
) -> None:
    """Random key: our uid, and for a segment our process. Explicit, private: segments only, if all else fits too."""
    key = {"random": 0x1234ABCD, "explicit": 0x77, "private": 0}[naming]
    shape = {"size": 4096, **({} if naming == "random" else {"ipc_key": key})}
    row = intended(Family.SYSV, kind, ipc_key=key, shape=shape)
    own = identity_of(Family.SYSV, kind, key=key, cuid=1000 if by_us else 1001)
    size = 4096 if of_size else 8192
    if kind is Kind.SEGMENT:
        own = own._replace(cpid=4711 if by_our_process else 4712, size=size)
    made = 1000 if in_time else 990
    seen = stat_of(own, size=size, fields={_CTIME[kind]: made})
    proven = by_us and in_time and (kind is not Kind.SEGMENT or by_our_process)
    if naming != "random":
        proven = proven and kind is Kind.SEGMENT and of_size
    assert decide(row, seen) is (REMOVE if proven else REFUSE)


def test_a_random_key_needs_no_time_but_an_explicit_one_does() -> None:
    own = identity_of(Family.SYSV, Kind.SEGMENT)
    assert decide(intended(Family.SYSV, Kind.SEGMENT), stat_of(own, fields={})) is REMOVE
    explicit = intended(Family.SYSV, Kind.SEGMENT, shape={"size": 4096, "ipc_key": 0x1234ABCD})
    assert decide(explicit, stat_of(own, fields={})) is REFUSE


def test_an_explicit_segment_made_much_later_by_a_process_of_that_number_is_not_ours() -> None:
    explicit = intended(Family.SYSV, Kind.SEGMENT, shape={"size": 4096, "ipc_key": 0x1234ABCD}, created_at=1000.9)
    own = identity_of(Family.SYSV, Kind.SEGMENT)
    for made, decision in ((999, REFUSE), (1000, REMOVE), (1000 + int(CREATION_WINDOW), REMOVE), (1011, REFUSE)):
        assert decide(explicit, stat_of(own, fields={"shm_ctime": made})) is decision, made


def test_the_clock_of_creation_times_may_lag_a_tick_behind_ours() -> None:
    """Announced at 1001.003; the kernel's clock still said 1000.999 and kept 1000."""
    own = identity_of(Family.SYSV, Kind.SEGMENT)
    row = intended(Family.SYSV, Kind.SEGMENT, created_at=1001.003)
    for made, decision in ((999, REFUSE), (1000, REMOVE), (1001, REMOVE)):
        assert decide(row, stat_of(own, fields={"shm_ctime": made})) is decision, made


def test_a_random_key_that_leads_to_another_key_is_refused() -> None:
    seen = stat_of(identity_of(Family.SYSV, Kind.QUEUE, key=0x1234ABCE))
    assert decide(intended(Family.SYSV, Kind.QUEUE), seen) is REFUSE


@pytest.mark.parametrize(("family", "kind"), SYSV)
def test_who_owns_it_now_does_not_matter_for_system_v_but_who_made_it(family: Family, kind: Kind) -> None:
    """IPC_SET hands an object over; cuid stays."""
    assert decide(intended(family, kind), stat_of(identity_of(family, kind), uid=33)) is REMOVE


# Out of reach


@pytest.mark.parametrize("state", [ObjectState.INTENDED, *OPEN])
@pytest.mark.parametrize(("family", "kind"), NAMED + SYSV)
def test_a_restart_of_the_host_ends_what_lives_in_memory(family: Family, kind: Kind, state: ObjectState) -> None:
    row = recorded(family, kind, state, boot_id="an-earlier-boot")
    assert row.identity is not None
    ruling = entitlement(row, Sighting(stat_of(row.identity), name=row.name), HERE)
    if family in PATH_FAMILIES:
        assert ruling.decision is REMOVE  # files outlast a restart, and the identity decides
    else:
        assert (ruling.decision, "restarted" in ruling.why) == (GONE, True)


def test_an_unknown_boot_is_out_of_reach_unless_both_are_unknown() -> None:
    row = recorded(Family.POSIX, Kind.SEGMENT)
    seen = Sighting(stat_of(identity_of(Family.POSIX, Kind.SEGMENT)), name=row.name)
    ruling = entitlement(row, seen, Here("", NAMESPACE))
    assert (ruling.decision, ruling.elsewhere) == (REFUSE, True)
    assert entitlement(row._replace(boot_id=""), seen, HERE).decision is REFUSE
    assert entitlement(row._replace(boot_id=""), seen, Here("", NAMESPACE)).decision is REMOVE


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("state", [ObjectState.INTENDED, *OPEN])
@pytest.mark.parametrize(("family", "kind"), NAMED + SYSV)
def test_another_ipc_namespace_is_out_of_reach(family: Family, kind: Kind, state: ObjectState, there: bool) -> None:
    row = recorded(family, kind, state, ipc_ns=17)
    assert row.identity is not None
    ruling = entitlement(row, Sighting(stat_of(row.identity) if there else None, name=row.name), HERE)
    if family is Family.SYSV or (family, kind) == (Family.POSIX, Kind.QUEUE):
        assert (ruling.decision, ruling.elsewhere) == (REFUSE, True)
        assert "IPC namespace 17" in ruling.why
    else:
        assert ruling.decision is (REMOVE if there else GONE)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("state", [ObjectState.INTENDED, *OPEN])
@pytest.mark.parametrize(("family", "kind"), [pair for pair in NAMED if pair != (Family.POSIX, Kind.QUEUE)])
def test_another_mount_of_the_folder_is_out_of_reach(
    family: Family, kind: Kind, state: ObjectState, there: bool
) -> None:
    row = recorded(family, kind, state, shape={FOLDER_DEVICE: 26})
    assert row.identity is not None
    stat = stat_of(row.identity) if there else None
    ruling = entitlement(row, Sighting(stat, name=row.name, device=27), HERE)
    assert (ruling.decision, ruling.elsewhere) == (REFUSE, True)
    for device in (26, None):
        expected = REMOVE if there else GONE
        assert entitlement(row, Sighting(stat, name=row.name, device=device), HERE).decision is expected


def test_every_ruling_has_a_reason() -> None:
    for family, kind in OBJECT_KINDS:
        for state in ObjectState:
            for stat in (None, stat_of(identity_of(family, kind))):
                row = recorded(family, kind, state)
                assert entitlement(row, Sighting(stat, name=row.name), HERE).why
