"""Signals as people know them, and those that ask a run to stop."""

from __future__ import annotations

import signal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # each asks a run to stop


def signal_name(number: int) -> str:
    """Return SIGTERM for 15; a real-time signal is named by its distance from SIGRTMIN."""
    try:
        return signal.Signals(number).name
    except ValueError:
        offset = number - signal.SIGRTMIN
        return f"SIGRTMIN+{offset}" if offset >= 0 else f"signal {number}"
