from __future__ import annotations

import pytest

from orchestra.kinds import OBJECT_KINDS, Family, Kind, ObjectRef
from orchestra.ledger.rows import ObjectState
from orchestra.objects.names import (
    carries_nonce,
    derived_fifo,
    has_random_key,
    is_linkable,
    names_of,
    nonce_name,
    ref_of,
)
from tests.support.rows import NONCE, object_row


def test_nonce_names_tell_instance_object_and_nonce() -> None:
    assert nonce_name(Family.POSIX, "pipeline", "jobs", NONCE, folder="") == f"/orc.pipeline.jobs.{NONCE}"
    assert nonce_name(Family.FILE, "pipeline", "jobs", NONCE, folder="/a") == f"/a/orc.pipeline.jobs.{NONCE}"
    assert nonce_name(Family.MEMFD, "pipeline", "jobs", NONCE, folder="") == f"orc.pipeline.jobs.{NONCE}"
    assert nonce_name(Family.ANONYMOUS, "pipeline", "jobs", NONCE, folder="") is None
    assert nonce_name(Family.SYSV, "pipeline", "jobs", NONCE, folder="") is None
    assert derived_fifo("/runs/r1", "control", NONCE) == f"/runs/r1/orc.control.{NONCE}"


def test_the_longest_derived_name_fits_a_semaphore() -> None:
    name = nonce_name(Family.POSIX, "i" * 31, "k" * 31, NONCE, folder="")
    assert name is not None
    assert len(name) <= 251  # sem_overview(7)


def test_kinds_whose_name_is_a_file_can_be_linked() -> None:
    assert {pair for pair in OBJECT_KINDS if is_linkable(*pair)} == {
        (Family.POSIX, Kind.SEGMENT),
        (Family.POSIX, Kind.SEMAPHORE),
        (Family.FILE, Kind.SEGMENT),
        (Family.FIFO, Kind.PIPE),
    }


@pytest.mark.parametrize(
    ("name", "carries"),
    [
        (f"/orc.a.b.{NONCE}", True),
        (f"/x.{NONCE}", True),
        (f"/{NONCE}", False),
        (f"/orc.{NONCE}.b", False),
        (None, False),
    ],
)
def test_a_name_carries_the_nonce_as_its_last_part(name: str | None, carries: bool) -> None:
    assert carries_nonce(object_row(), name) is carries


def test_a_random_key_is_one_that_was_not_declared() -> None:
    row = object_row(Family.SYSV, Kind.QUEUE)
    assert has_random_key(row)
    assert not has_random_key(row._replace(shape={"ipc_key": row.ipc_key}))
    assert not has_random_key(row._replace(ipc_key=0, shape={"ipc_key": 0}))
    assert not has_random_key(object_row())


def test_names_to_look_at_follow_the_steps_of_an_explicit_name() -> None:
    first, last = f"/orc.pipeline.board.{NONCE}", "/board"
    row = object_row(name=first, wanted_name=last)
    assert names_of(row) == [first]  # announced: it is linked only once it is on record
    assert names_of(row._replace(state=ObjectState.LIVE)) == [first, last]
    renamed = row._replace(name=last, wanted_name=None, state=ObjectState.LIVE)
    assert names_of(renamed) == [last, first]
    assert names_of(renamed._replace(state=ObjectState.KEPT)) == [last, first]
    assert names_of(renamed._replace(state=ObjectState.BORROWED)) == [last]


def test_first_names_of_paths_lie_in_the_same_folder() -> None:
    row = object_row(Family.FIFO, Kind.PIPE, name="/a/b/control", state=ObjectState.LIVE)
    assert names_of(row) == ["/a/b/control", f"/a/b/orc.pipeline.board.{NONCE}"]
    derived = object_row(Family.FIFO, Kind.PIPE, name=f"/runs/r1/orc.board.{NONCE}", state=ObjectState.LIVE)
    assert names_of(derived) == [f"/runs/r1/orc.board.{NONCE}"]


def test_an_explicit_queue_has_one_name() -> None:
    assert names_of(object_row(Family.POSIX, Kind.QUEUE, name="/jobs", state=ObjectState.LIVE)) == ["/jobs"]


def test_system_v_and_nameless_objects_have_no_names() -> None:
    assert names_of(object_row(Family.SYSV, Kind.QUEUE, state=ObjectState.LIVE)) == []
    assert names_of(object_row(Family.MEMFD, Kind.SEGMENT, state=ObjectState.LIVE)) == []
    assert names_of(object_row(Family.ANONYMOUS, Kind.PIPE, state=ObjectState.LIVE)) == []


def test_the_address_on_record() -> None:
    assert ref_of(object_row(Family.SYSV, Kind.QUEUE, id=0)) == ObjectRef(Family.SYSV, Kind.QUEUE, id=0, key=0x1234ABCD)
    assert ref_of(object_row(name="/x")) == ObjectRef(Family.POSIX, Kind.SEGMENT, name="/x")
