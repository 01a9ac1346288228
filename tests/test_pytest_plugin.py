"""The plugin in a project of its own: silent until asked, fails what leaked, beside other workers too."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.box import ROOT, box

pytestmark = pytest.mark.slow

TESTS = """
import subprocess, sys
import posix_ipc, pytest, sysv_ipc

NAME = {name!r}

def test_tidy():
    queue = posix_ipc.MessageQueue(NAME + ".a", posix_ipc.O_CREX)
    queue.close()
    queue.unlink()

def test_leaves_a_queue():
    posix_ipc.MessageQueue(NAME + ".b", posix_ipc.O_CREX).close()

def test_leaves_a_segment():
    sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=10)

@pytest.fixture(scope="module")
def board():
    posix_ipc.SharedMemory(NAME + ".board", posix_ipc.O_CREX, size=10).close_fd()
    yield
    posix_ipc.unlink_shared_memory(NAME + ".board")

def test_a_fixture_of_the_module(board):
    pass

def test_may_leave(ipc_leaks):
    ipc_leaks.ignore(NAME + ".cache*")
    posix_ipc.SharedMemory(NAME + ".cache1", posix_ipc.O_CREX, size=10).close_fd()
"""


def run(
    project: Path, *options: str, inside: Callable[..., list[str]] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run pytest there; with the plugin by its module where the installed metadata does not name it yet."""
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *_plugin(), *options, str(project)]
    return subprocess.run(
        inside(*words) if inside else words,
        cwd=ROOT, env={**os.environ, "PYTEST_ADDOPTS": "", "COLUMNS": "150"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def _plugin() -> list[str]:
    from importlib.metadata import entry_points

    named = any(each.value == "orchestra.pytest_plugin" for each in entry_points(group="pytest11"))
    return [] if named else ["-p", "orchestra.pytest_plugin"]


@pytest.fixture
def project(tmp_path: Path, ipc_name: Callable[[], str]) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_ipc.py").write_text(TESTS.format(name=ipc_name()))
    return tmp_path


@pytest.fixture
def boxed(project: Path) -> Path:
    """The project, where what it leaves is nobody's worry."""
    from orchestra.kernel.namespaces import can_isolate

    if can_isolate():
        pytest.skip(can_isolate())
    return project


def test_each_test_that_leaked_fails(boxed: Path) -> None:
    (boxed / "pytest.ini").write_text("[pytest]\nipc_leaks = true\nipc_leaks_ignore =\n    /none*\n    /orct.*.board\n")
    with box() as inside:
        done = run(boxed, inside=inside.words)
    assert done.returncode == 1
    assert "5 passed, 2 errors" in done.stdout, done.stdout
    assert re.findall(r"^ERROR .*::(\w+)", done.stdout, re.MULTILINE) == [
        "test_leaves_a_queue",
        "test_leaves_a_segment",
    ]
    assert "this test left 1 IPC object behind:\n  posix-queue:/orct." in done.stdout
    assert re.search(r"sysv-segment:\d+: made by process \d+ \(\w+\)", done.stdout)


@pytest.mark.skipif(importlib.util.find_spec("xdist") is None, reason="needs pytest-xdist")
def test_beside_other_workers_each_is_blamed_for_its_own(boxed: Path) -> None:
    with box() as inside:
        done = run(boxed, "--ipc-leaks", "-n", "2", inside=inside.words)
    assert done.returncode == 1
    assert re.findall(r"^ERROR .*::(\w+)", done.stdout, re.MULTILINE) == ["test_leaves_a_segment"], done.stdout
    behind = done.stdout.partition("IPC objects left behind")[2]
    assert re.search(r"posix-queue:/orct\.\S+\.b: left by .*test_leaves_a_queue", behind), done.stdout
    assert "/orct.a" not in behind
    assert ".cache1" not in behind


def test_nothing_happens_and_nothing_is_imported_before_it_is_asked_for(tmp_path: Path) -> None:
    """Everybody who has orchestra installed loads the plugin with each pytest."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\ndef test_nothing():\n"
        "    print(sorted(name for name in sys.modules if name.startswith('orchestra')))\n"
    )
    done = run(tmp_path, "-s")
    assert "['orchestra', 'orchestra.pytest_plugin']" in done.stdout, done.stdout
