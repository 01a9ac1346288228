"""What the hand-written reference pages promise exists, and what exists is in them."""

from __future__ import annotations

import re

import pytest

from orchestra import bindings
from orchestra.kinds import OBJECT_KINDS, Access, Family, Kind
from tests.support.markdown import ROOT

REFERENCE = ROOT / "docs" / "reference"
HEADINGS = {
    (Family.POSIX, Kind.QUEUE): "POSIX queue",
    (Family.POSIX, Kind.SEGMENT): "POSIX segment",
    (Family.POSIX, Kind.SEMAPHORE): "POSIX semaphore",
    (Family.SYSV, Kind.QUEUE): "System V queue",
    (Family.SYSV, Kind.SEGMENT): "System V segment",
    (Family.SYSV, Kind.SEMAPHORE): "System V semaphore set",
    (Family.FILE, Kind.SEGMENT): "File segment",
    (Family.MEMFD, Kind.SEGMENT): "Memfd segment",
    (Family.ANONYMOUS, Kind.PIPE): "Anonymous pipe",
    (Family.FIFO, Kind.PIPE): "FIFO",
}


@pytest.mark.parametrize("pair", OBJECT_KINDS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def test_each_kind_has_its_section(pair: tuple[Family, Kind]) -> None:
    assert f"\n## {HEADINGS[pair]}\n" in (REFERENCE / "objects.md").read_text()


def test_wiring_names_every_variable_a_child_gets() -> None:
    page = (REFERENCE / "wiring.md").read_text()
    binding = bindings.Binding("obj", Family.SYSV, Kind.QUEUE, Access.READ, id=1, ipc_key=2, fd=3, size=4)
    given = {name.replace("_OBJ", "_<OBJECT>") for name in bindings.object_variables([binding])}
    assert not {name for name in given if f"`{name}`" not in page}
    fields = set(re.findall(r"`(\w+)`", page.partition("## The JSON document")[2].partition("##")[0]))
    assert {"family", "kind", "name", "id", "key", "fd", "size", "access"} <= fields


def test_wiring_names_every_placeholder_field() -> None:
    page = (REFERENCE / "wiring.md").read_text()
    shown = set(re.findall(r"\$\{\w+\.\w+\.(\w+)\}", page))
    assert set(bindings.PLACEHOLDER_FIELDS) <= shown


def test_wiring_states_the_version_in_force() -> None:
    assert f"Version {bindings.CONTRACT_VERSION} of the contract" in (REFERENCE / "wiring.md").read_text()
