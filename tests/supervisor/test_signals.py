"""Signals by their names."""

from __future__ import annotations

import signal

import pytest

from orchestra.supervisor.signals import signal_name


@pytest.mark.parametrize(
    ("number", "name"), [(15, "SIGTERM"), (int(signal.SIGRTMIN) + 3, "SIGRTMIN+3"), (32, "signal 32")]
)
def test_names_of_signals(number: int, name: str) -> None:
    assert signal_name(number) == name
