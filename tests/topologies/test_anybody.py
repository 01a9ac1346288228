"""The shipped topologies as an ordinary user starts them: read-only, and beside another user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.cli import orchestra
from tests.support.markdown import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.root]
NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
NEEDS_CC = {"ring", "relay"}
SHOWN = {
    "wordcount": "170 words, 125 different",
    "ring": "received 5000 frames",
    "relay": "1 MANY HANDS MAKE LIGHT WORK",
    "leftovers": "letters: 0 messages from before",
}


@pytest.fixture
def world() -> Iterator[Path]:
    """A folder that everybody can reach: the project, read-only, and a place for nobody's own files."""
    folder = Path(tempfile.mkdtemp(prefix="orct-"))  # pytest's own folders are closed to others
    folder.chmod(0o755)
    try:
        for part in ("orchestra", "topologies"):
            shutil.copytree(ROOT / part, folder / "project" / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "LICENSE", folder)
        for path in (folder / "project").rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        own = folder / "own"
        own.mkdir()
        os.chown(own, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder)


def environment(world: Path) -> dict[str, str]:
    libraries = sysconfig.get_path("purelib")
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(world / "own"),
        "ORCHESTRA_HOME": str(world / "own" / "state"),
        "TMPDIR": str(world / "own"),
        "PYTHONPATH": f"{world / 'project'}:{libraries}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "USER": "nobody",
        **{name: value for name, value in os.environ.items() if name.startswith("ORCT_")},
    }


@pytest.fixture
def python(world: Path) -> str:
    """An interpreter that nobody can start and that can load what orchestra needs."""
    for candidate in (sys.executable, os.path.realpath(sys.executable), "/usr/local/bin/python3", "/usr/bin/python3"):
        command = [*AS_NOBODY, candidate, "-c", "import pydantic, yaml, typer, posix_ipc, orchestra"]
        try:
            if subprocess.run(command, env=environment(world), capture_output=True, cwd=world).returncode == 0:
                return candidate
        except FileNotFoundError:
            continue
    pytest.skip("no interpreter here that another user can start and that finds the libraries")


def up(world: Path, python: str, name: str) -> subprocess.CompletedProcess[str]:
    file = world / "project" / "topologies" / name / "orchestra.yaml"
    more = ["--set", "file=LICENSE"] if name == "wordcount" else []
    return subprocess.run(
        [*AS_NOBODY, python, "-m", "orchestra", "up", str(file), *more],
        cwd=world,
        env=environment(world),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", SHOWN)
def test_an_ordinary_user_runs_it_from_a_read_only_folder(name: str, world: Path, python: str) -> None:
    if name in NEEDS_CC and shutil.which("cc") is None:
        pytest.skip("no C compiler on this machine")
    done = up(world, python, name)
    try:
        assert done.returncode == 0, done.stderr
        assert SHOWN[name] in done.stdout
    finally:
        subprocess.run(
            [*AS_NOBODY, python, "-m", "orchestra", "clean", "--kept", "--yes"], env=environment(world), cwd=world
        )
    assert {path.name for path in (world / "own").iterdir()} <= {"state"}


def test_two_users_run_the_same_file_at_the_same_time(world: Path, python: str, home: Path) -> None:
    file = world / "project" / "topologies" / "wordcount" / "orchestra.yaml"
    with ThreadPoolExecutor(2) as both:
        theirs = both.submit(up, world, python, "wordcount")
        ours = both.submit(orchestra, "up", str(file), "--set", "file=LICENSE", home=home, cwd=world)
    assert (theirs.result().returncode, ours.result().code) == (0, 0), theirs.result().stderr + ours.result().err
    assert SHOWN["wordcount"] in theirs.result().stdout
    assert SHOWN["wordcount"] in ours.result().out
