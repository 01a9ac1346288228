"""relay: what three programs in two languages and one that is nobody's hand on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.topologies.conftest import Up, said

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine"),
    pytest.mark.skipif(shutil.which("ipcs") is None, reason="no ipcs on this machine"),
]


def test_every_line_arrives_and_ipcs_sees_them_on_the_way(up: Up, tmp_path: Path) -> None:
    answer = up("relay")
    assert answer.code == 0, answer.err
    assert said(answer, "relay") == ["relayed 5 messages"]
    assert any("qnum=5" in line and "qbytes=4096" in line for line in said(answer, "look"))
    assert said(answer, "sink") == [
        "5 ALL IS WELL THAT ENDS WELL",
        "4 STILL WATERS RUN DEEP",
        "3 THE EARLY BIRD CATCHES THE WORM",
        "2 LOOK BEFORE YOU LEAP",
        "1 MANY HANDS MAKE LIGHT WORK",
    ]
    assert not list(tmp_path.glob("orc.*")), "the folder of the built program is left"
