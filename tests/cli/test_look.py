"""Objects on record compared with what the kernel shows."""

from __future__ import annotations

import pytest

from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Handle, Kind, Spec
from orchestra.ledger.rows import ObjectState
from tests.cli.conftest import Record
from tests.support.cli import inside


def test_an_object_that_somebody_removed_is_gone(
    record: Record, queue: tuple[Spec, Handle], capsys: pytest.CaptureFixture[str]
) -> None:
    run = record.run("r1", "pipeline")
    record.object(run, "jobs", queue[0], ObjectState.LIVE, queue[1])
    adapter_for(Family.SYSV, Kind.QUEUE).remove(queue[1].ref)
    lines = inside(capsys, "objects", "pipeline").out.splitlines()
    assert "gone" in lines[1].split()
