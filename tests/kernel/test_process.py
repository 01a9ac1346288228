"""Signals that cannot hit a stranger, and who is whose child."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.kernel import process
from orchestra.kernel.procfs import start_time
from tests.conformance.worlds import in_child


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for its input to end."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as running:
        yield running


def ended(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(10_000)


def test_a_process_is_opened_by_pid_and_start_time(child: subprocess.Popen[bytes]) -> None:
    began = start_time(child.pid)
    assert began is not None
    fd = process.open_process(child.pid, began)
    assert fd is not None
    assert not process.has_exited(fd)
    assert process.is_running(child.pid, began)
    assert process.send_signal(fd, signal.SIGTERM)
    ended(fd)
    assert process.has_exited(fd)
    assert not process.is_running(child.pid, began), "a zombie does not run"
    child.wait()
    assert not process.send_signal(fd, signal.SIGTERM)
    os.close(fd)
    assert process.open_process(child.pid, began) is None
    assert not process.is_running(child.pid, began)


def test_another_start_time_is_another_process(child: subprocess.Popen[bytes]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    began = start_time(child.pid) or 0
    assert process.open_process(child.pid, began + 1) is None
    assert not process.is_running(child.pid, began + 1)
    assert not process.is_running(child.pid, None)
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_a_start_time_the_pid_must_do(child: subprocess.Popen[bytes]) -> None:
    fd = process.open_process(child.pid)
    assert fd is not None
    os.close(fd)


def test_a_child_is_among_the_children(child: subprocess.Popen[bytes]) -> None:
    assert child.pid in process.children(os.getpid())
    assert child.pid in process.descendants(os.getpid())


def test_the_name_is_set() -> None:
    def rename() -> str:
        process.set_comm("orct")
        return Path("/proc/self/comm").read_text()

    assert in_child(rename) == "orct\n"


@pytest.mark.root
def test_somebody_else_s_process_is_refused() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as theirs:

        def kill() -> bool:
            fd = process.open_process(theirs.pid)
            assert fd is not None
            try:
                process.send_signal(fd, signal.SIGKILL)
            except PermissionError:
                return True
            return False

        assert in_child(kill, as_nobody=True)
        assert theirs.poll() is None
