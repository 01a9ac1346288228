"""What programs of others leave when they are killed, and what `clean --orphans` removes of it: the real programs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import ROOT, Box, box
from tests.support.cli import Answer, child_environment

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.other_user]
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def until(holds: Callable[[], object], *, seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it never came"
        os.sched_yield()
    return found


def orchestra(inside: Box, home: Path, *arguments: str) -> Answer:
    done = subprocess.run(
        inside.words(sys.executable, "-m", "orchestra", *arguments),
        cwd=ROOT, env=child_environment(home), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def verdicts(inside: Box, home: Path) -> dict[str, str]:
    answer = orchestra(inside, home, "audit", "--format", "json")
    found: dict[str, str] = {}
    for each in answer.json["findings"]:
        found[f"{each['family']}-{each['kind']}:{each['name'] or each['id']}"] = each["verdict"]
    return found


# PostgreSQL


@contextmanager
def server(inside: Box, data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running server, ready for connections."""
    postgres = subprocess.Popen(
        inside.words(*AS_NOBODY, str(INSTALLED[-1]), "-D", str(data), "-k", str(data), "-c", "listen_addresses=",
                     "-c", "shared_buffers=1MB", "-c", "max_connections=10", "-c", "fsync=off"),
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: _status(data).startswith("ready") or postgres.poll() is not None)
        assert postgres.poll() is None
        yield postgres
    finally:
        if postgres.poll() is None:
            postgres.send_signal(signal.SIGQUIT)
            postgres.wait(30)


def _status(data: Path) -> str:
    """The last line of postmaster.pid."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()[7]
    except (OSError, IndexError):
        return ""


def _interlock(data: Path) -> str:
    """Line 7 of postmaster.pid holds key and id of the System V segment that guards the data directory."""
    return f"sysv-segment:{(data / 'postmaster.pid').read_text().splitlines()[6].split()[1]}"


@pytest.fixture
def clusters() -> Iterator[tuple[Path, Path]]:
    if not INSTALLED:
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        Path(folder).chmod(0o711)
        yield _two_clusters(Path(folder))


def _two_clusters(folder: Path) -> tuple[Path, Path]:
    first, second = folder / "first", folder / "second"
    first.mkdir()
    os.chown(first, 65534, 65534)
    initdb = INSTALLED[-1].with_name("initdb")
    subprocess.run(
        [*AS_NOBODY, str(initdb), "-D", str(first), "-A", "trust", "-N", "--no-locale"],
        check=True, capture_output=True, cwd="/",
    )  # fmt: skip
    shutil.copytree(first, second)
    subprocess.run(["chown", "-R", "65534:65534", str(second)], check=True)
    second.chmod(0o700)
    return first, second


def test_a_killed_postgresql_beside_a_running_one(clusters: tuple[Path, Path], tmp_path: Path) -> None:
    """What proves itself goes at once; what may be the other server's stays until that one has ended, too."""
    home = tmp_path / "home"
    with box() as inside:
        with server(inside, clusters[1]) as running:
            before = verdicts(inside, home)
            assert set(before.values()) == {"foreign"}, before
            with server(inside, clusters[0]) as killed:
                theirs = set(verdicts(inside, home)) - set(before)
                interlock = _interlock(clusters[0])
                assert interlock in theirs
                assert len(theirs) >= 2, theirs
                os.killpg(killed.pid, signal.SIGKILL)
                killed.wait(30)
            until(lambda: verdicts(inside, home)[interlock] == "orphan")
            listed = orchestra(inside, home, "clean", "--orphans", "--dry-run", "--format", "json").json
            assert [f"sysv-segment:{each['id']}" for each in listed["removed"]] == [interlock]

            done = orchestra(inside, home, "clean", "--orphans", "--yes")
            assert done.code == 0, done
            after = verdicts(inside, home)
            assert set(after) == (set(before) | theirs) - {interlock}
            assert set(after.values()) == {"foreign"}
            assert running.poll() is None
            psql = INSTALLED[-1].with_name("psql")
            asked = subprocess.run(
                [*AS_NOBODY, str(psql), "-h", str(clusters[1]), "-d", "postgres", "-Atc", "select 6 * 7"],
                cwd="/", capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert asked.stdout == "42\n", asked.stderr
        until(lambda: not (clusters[1] / "postmaster.pid").exists())
        done = orchestra(inside, home, "clean", "--orphans", "--yes", "--format", "json")
        assert {f"posix-segment:{each['name']}" for each in done.json["removed"]} == theirs - {interlock}
        assert verdicts(inside, home) == {}
        records = orchestra(inside, home, "ls").code
        assert records == 0


# Python


SHARED = """
import sys
from multiprocessing import shared_memory
print(shared_memory.SharedMemory(create=True, size=4096).name, flush=True)
sys.stdin.read()
"""


def test_a_killed_python_and_its_shared_memory(tmp_path: Path) -> None:
    """Killed with its resource tracker, which would have cleaned up."""
    home = tmp_path / "home"
    with box() as inside:
        with subprocess.Popen(
            inside.words(*AS_NOBODY, "/usr/bin/python3", "-c", SHARED),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            name = child.stdout.readline().strip()
            address = f"posix-segment:/{name.lstrip('/')}"
            assert verdicts(inside, home) == {address: "foreign"}
            kept = orchestra(inside, home, "clean", "--orphans", "--yes")
            assert (kept.code, kept.err) == (0, "nothing to clean\n")
            os.killpg(child.pid, signal.SIGKILL)
        until(lambda: verdicts(inside, home) == {address: "orphan"})
        done = orchestra(inside, home, "clean", "--orphans", "--yes", "--format", "json").json
        assert [each["name"] for each in done["removed"]] == [address.partition(":")[2]]
        assert verdicts(inside, home) == {}
