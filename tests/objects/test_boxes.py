"""Into the box of a run and out again with an answer."""

from __future__ import annotations

import os

import pytest

from orchestra.errors import KernelError, NotFound
from orchestra.kernel.host import boot_id
from orchestra.kernel.process import start_time
from orchestra.kinds import Family, Kind
from orchestra.ledger.rows import ObjectRow, RunRow
from orchestra.objects import boxes

HOST = RunRow("r1", "t", "t", "/t.yaml", "/", "down", 0.0, boot_id(), 0)
GONE = HOST._replace(box_pid=2**22 - 1, box_start=1)
SEGMENT = ObjectRow("r1", "t", "board", Family.POSIX, Kind.SEGMENT, 0o600, "n", 1, 1, 0, "", 1)


def test_a_run_on_the_host_needs_no_box() -> None:
    assert boxes.box_of(HOST) is None
    assert boxes.within(HOST, os.getpid) == os.getpid()
    boxes.enter(HOST)


def test_a_box_that_has_ended_cannot_be_entered() -> None:
    assert boxes.box_of(GONE) is None
    with pytest.raises(KernelError, match="has ended"):
        boxes.within(GONE, os.getpid)


def test_a_number_that_went_to_another_process_is_no_box() -> None:
    assert boxes.box_of(HOST._replace(box_pid=os.getpid(), box_start=1)) is None


def test_a_number_of_another_boot_is_no_box() -> None:
    ours = HOST._replace(box_pid=os.getpid(), box_start=start_time(os.getpid()))
    assert boxes.box_of(ours) == (os.getpid(), start_time(os.getpid()))
    assert boxes.box_of(ours._replace(boot_id="of another boot")) is None


def test_files_are_the_hosts_also_in_a_private_run() -> None:
    assert boxes.is_boxed(SEGMENT, GONE)
    assert not boxes.is_boxed(SEGMENT, HOST)
    assert not boxes.is_boxed(SEGMENT, None)
    assert not boxes.is_boxed(SEGMENT._replace(family=Family.FILE), GONE)


def test_errors_come_out_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "enter", lambda _run: None)

    def fail() -> None:
        raise NotFound("there is no jobs", hint="look elsewhere")

    with pytest.raises(NotFound, match="there is no jobs") as caught:
        boxes.within(GONE, fail)
    assert caught.value.hint == "look elsewhere"
    assert boxes.within(GONE, lambda: {"pid": os.getpid()})["pid"] != os.getpid()
