"""The table of signals agrees with the host's."""

from __future__ import annotations

import signal

from orchestra.topology.signals import NUMBERS, name_of, normal_name


def test_the_table_is_the_hosts() -> None:
    theirs = {item.name: item.value for item in signal.Signals if item.name not in ("SIGIOT", "SIGCLD", "SIGPOLL")}
    assert theirs == NUMBERS


def test_names() -> None:
    assert normal_name("term") == normal_name("SIGTERM") == "SIGTERM"
    assert normal_name("SIGNOPE") is None
    assert name_of(9) == "SIGKILL"
    assert name_of(200) is None
