"""How a command gets a supervisor: forked before anything heavy is imported, or started as a program of its own."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import NoReturn

from orchestra.errors import OrchestraError
from orchestra.supervisor.channel import Channel
from orchestra.supervisor.signals import STOP_SIGNALS

_prepared: Channel | None = None


def prefork() -> None:
    """Fork the guardian now, while this process is small; `channel` hands it over later.

    While the caller imports and validates, the guardian imports what it needs. When the fork is refused, `channel`
    tries again and says why. It leaves the terminal at once, and what asks it to stop waits until it has a run to stop.
    """
    global _prepared  # noqa: PLW0603 one process has one guardian
    _fill_standard_descriptors()
    ours, theirs = socket.socketpair()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _be_guardian(theirs.fileno())
    except OSError:
        ours.close()
        theirs.close()
        return
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    _prepared = Channel(ours, peer=pid)


def channel() -> Channel:
    """Return the line to a guardian that waits for a plan. Raises OrchestraError when none can be started."""
    global _prepared
    if _prepared is not None:
        ready, _prepared = _prepared, None
        return ready
    return start_guardian()


def start_guardian() -> Channel:
    """Start a guardian as a new program, from a process that is too heavy to fork. Raises OrchestraError."""
    _fill_standard_descriptors()
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.set_inheritable(True)
        command = [sys.executable, "-m", "orchestra.supervisor", str(theirs.fileno())]
        try:
            pid = os.posix_spawn(sys.executable, command, _environment(), setsigmask=STOP_SIGNALS)
        except OSError as err:
            ours.close()
            raise OrchestraError("the supervisor cannot be started", detail=f"{sys.executable}: {err}") from err
    return Channel(ours, peer=pid)


def _environment() -> dict[str, str]:
    """The guardian must import the very package that runs here, wherever it was found."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    before = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{before}" if before else root}


def _be_guardian(fd: int) -> NoReturn:
    try:
        os.setsid()
        from orchestra.supervisor import guardian

        guardian.main(fd)
    finally:
        os._exit(1)


def _fill_standard_descriptors() -> None:
    """Open /dev/null where 0, 1 or 2 is closed, lest a socket take the place that others believe to be stdout."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
