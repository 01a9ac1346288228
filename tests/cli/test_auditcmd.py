"""audit -- CMD: the command is itself, and what it left is told; as root, as an ordinary user, forced either way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from orchestra.kernel.namespaces import can_isolate
from tests.support.cli import Answer, child_environment, inside

ROOT = Path(__file__).parents[2]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
USERS = [
    pytest.param([], id="this-user"),
    pytest.param(NOBODY, id="nobody", marks=[pytest.mark.root, pytest.mark.other_user]),
]
pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the ordinary user may write to."""
    with tempfile.TemporaryDirectory() as name:
        if os.getuid() == 0:
            os.chown(name, 65534, 65534)
        Path(name).chmod(0o755)
        yield Path(name)


def audit(user: list[str], folder: Path, *words: str, given: str = "") -> Answer:
    done = subprocess.run(
        [*user, sys.executable, "-m", "orchestra", "audit", *words],
        cwd=ROOT, env=child_environment(folder / "home"), input=given, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("user", USERS)
def test_a_leak_is_told_on_stderr_and_changes_only_a_good_exit_code(
    user: list[str], folder: Path, ipc_name: Callable[[], str]
) -> None:
    path = f"/dev/shm{ipc_name()}"
    try:
        done = audit(user, folder, "--", "sh", "-c", f"cat; : >{path}", given="to stdin\n")
        assert (done.code, done.out) == (3, "to stdin\n")
        assert f"leaked   posix-segment:{path.removeprefix('/dev/shm')}" in done.err
        private = not user and os.getuid() == 0 and not can_isolate()
        where = "in an IPC namespace of its own" if private else "on the host, by difference"
        assert f"left 1 object (exit code 0; {where})" in done.err
        assert os.path.exists(path) is not private
    finally:
        Path(path).unlink(missing_ok=True)


@pytest.mark.parametrize("user", USERS)
def test_private_and_host_as_asked(user: list[str], folder: Path, ipc_name: Callable[[], str]) -> None:
    if can_isolate():
        pytest.skip(can_isolate())
    path = f"/dev/shm{ipc_name()}"
    words = ["sh", "-c", f": >{path}; ipcmk -Q >/dev/null; exit 5"]
    done = audit(user, folder, "--private", "--format", "json", "-o", str(folder / "left.json"), "--", *words)
    assert done.code == 5
    assert not os.path.exists(path)
    answer = json.loads((folder / "left.json").read_text())
    assert answer["schema"] == "orchestra/audit/1"
    assert [each["verdict"] for each in answer["findings"]] == ["leaked", "leaked"]
    assert {each["kind"] for each in answer["findings"]} == {"segment", "queue"}
    told = answer["command"]
    assert (told["argv"], told["exit_code"], told["private"], told["still_running"]) == (words, 5, True, [])
    try:
        host = audit(
            user, folder, "--host", "--ignore", f"{path.removeprefix('/dev/shm')}*", "--", "sh", "-c", f": >{path}"
        )
        assert "note: 1 object left and ignored, as --ignore asks" in host.err
        assert os.path.exists(path)
    finally:
        Path(path).unlink(missing_ok=True)


def test_who_still_runs_is_told_and_left_alone(folder: Path, ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    sleeper = f"sleep 1000 </dev/null >/dev/null 2>&1 4</dev/shm{name} &"
    words = f": >/dev/shm{name}; {sleeper} until grep -qx sleep /proc/$!/comm; do :; done; echo $!"
    done = audit([], folder, "--", "sh", "-c", words)
    pid = int(done.out)
    try:
        assert f"note: processes it started still run: {pid} (sleep)" in done.err
        assert f"held by {pid} (sleep)" in done.err
        os.kill(pid, 0)
    finally:
        os.kill(pid, 9)
        Path(f"/dev/shm{name}").unlink(missing_ok=True)


def test_junit_and_exit_zero(folder: Path) -> None:
    if can_isolate():
        pytest.skip(can_isolate())
    report = folder / "left.xml"
    report.write_text("what was there before, and is longer than what comes " * 50)
    words = ["--private", "--format", "junit", "-o", str(report), "--exit-zero", "--", "ipcmk", "-Q"]
    assert audit([], folder, *words).code == 0
    suite = ET.fromstring(report.read_text())
    assert suite.attrib["failures"] == "1"
    assert suite[0][0].tag == "failure"
    clean = audit([], folder, "--private", "--", "true")
    assert (clean.code, clean.out) == (0, "")
    assert clean.err == "audit: `true` left nothing (exit code 0; in an IPC namespace of its own)\n"


def test_mistakes(home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert inside(capsys, "audit", "true").err == (
        "error: audit takes no `true`\nhelp: To run it and report what it left: orchestra audit -- true\n"
    )
    for words in (["--"], ["--exit-zero", "--"], ["--host", "--"]):  # as in `audit -- $TESTS`, with nothing in TESTS
        refused = inside(capsys, "audit", *words)
        assert (refused.code, "there is no command behind `--`" in refused.err) == (2, True)
    for words in (["--private"], ["--ignore", "x"]):
        refused = inside(capsys, "audit", *words)
        assert (refused.code, "are about a command" in refused.err) == (2, True)
    assert inside(capsys, "audit", "--all", "--", "true").code == 2
    assert inside(capsys, "audit", "-f", "x.yaml", "--", "true").code == 2
    missing = tmp_path / "no" / "report"
    unwritable = inside(capsys, "audit", "--host", "-o", str(missing), "--", "touch", str(tmp_path / "ran"))
    assert (unwritable.code, unwritable.err) == (1, f"error: cannot write {missing}: No such file or directory\n")
    assert not (tmp_path / "ran").exists(), "it is found out before the command runs"


def test_what_cannot_be_executed(folder: Path) -> None:
    assert audit([], folder, "--host", "--", "no-such-program-anywhere").code == 127
    assert audit([], folder, "--host", "--", "").err == "error: cannot run ``: it has no name\n"
    text = folder / "text"
    text.touch(0o644)
    refused = audit([], folder, "--host", "--", str(text))
    assert (refused.code, refused.err) == (126, f"error: cannot run `{text}`: Permission denied\n")
