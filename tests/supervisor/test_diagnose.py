"""Words for what the kernel refuses. Most is tested with a real exec in test_spawn; here is what needs more."""

from __future__ import annotations

import errno
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.kernel import namespaces
from orchestra.runplan import Ready
from orchestra.supervisor import diagnose

AS_NOBODY = ["setpriv", "--reuid", "65534", "--clear-groups", "/usr/bin/env", "python3", "-c"]
EXPLAIN = (
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    "from orchestra.supervisor.diagnose import exec_failed\n"
    "for path in sys.argv[2:]: print(exec_failed(path, 13).problem)\n"
)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.root
def test_what_another_user_may_not_reach_or_execute(open_folder: Path) -> None:
    locked = open_folder / "locked"
    locked.mkdir(mode=0o700)
    ours = open_folder / "ours"
    for path in (locked / "x", ours):
        path.write_text("#!/bin/sh\n")
        path.chmod(0o700)
    copy = open_folder / "copy"
    shutil.copytree("orchestra", copy / "orchestra", ignore=shutil.ignore_patterns("__pycache__"))
    found = subprocess.run([*AS_NOBODY, EXPLAIN, copy, locked / "x", ours], capture_output=True, text=True)
    if found.returncode == 127 or "SyntaxError" in found.stderr or "cannot import" in found.stderr:
        pytest.skip(f"no python3 >= 3.11 that another user can run: {found.stderr[-200:]}")
    assert found.returncode == 0, found.stderr
    first, second = found.stdout.splitlines()
    assert first == f"{locked}/x cannot be reached: Permission denied"
    assert second == f"you may not execute {ours} (mode 0o700)"


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_no_further_process(number: int) -> None:
    error = diagnose.exec_failed("/bin/true", number)
    assert error.problem.startswith("no further process can be started")
    assert "ulimit -u" in error.hint


def test_an_errno_without_a_story_is_told_in_the_system_s_words() -> None:
    error = diagnose.exec_failed("/bin/true", errno.ELOOP)
    assert error.problem == "/bin/true: Too many levels of symbolic links"
    assert error.detail == "execve('/bin/true') -> ELOOP"


def test_a_damaged_program_is_no_reason_to_fail(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x7fELF\x02\x01" + b"\xff" * 100)
    assert "cannot be found" in diagnose.exec_failed(str(path), errno.ENOENT).problem


def test_a_stage_before_exec() -> None:
    error = diagnose.stage_failed("descriptors", "", errno.EMFILE)
    assert (error.stage, error.problem, error.detail) == (
        "descriptors", "Too many open files", "descriptors -> EMFILE",
    )  # fmt: skip


def test_a_full_descriptor_table_names_the_limit() -> None:
    assert "ulimit -n" in diagnose.stage_failed("pipe", "", errno.EMFILE).hint


@pytest.mark.parametrize(("by_signal", "output", "said"), [("SIGSEGV", "pipe", True), ("SIGSEGV", "line", False),
                                                           (None, "pipe", False)])  # fmt: skip
def test_what_a_signal_may_have_cost(by_signal: str | None, output: str, said: bool) -> None:
    assert ("output: line" in diagnose.lost_output(by_signal, output)) == said


def test_why_it_was_not_ready() -> None:
    log = Ready("log", pattern="^up$", timeout=1.5)
    assert diagnose.not_ready(log, "pipe", "") == (
        "was not ready within 1.5 s: no line matched '^up$'; what it wrote to a pipe may still be in its buffer, which "
        "`output: line` avoids"
    )
    assert diagnose.not_ready(log, "tty", "it has written nothing yet").endswith("'^up$' (it has written nothing yet)")
    assert diagnose.not_ready(Ready("tcp", port=80), "pipe", "Connection refused") == (
        "was not ready within 30 s: nobody accepted a connection on port 80 (Connection refused)"
    )


def test_a_refused_namespace_is_said_as_for_a_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "read_policy", lambda: namespaces.HostPolicy(max_user_namespaces="0"))
    failed = diagnose.stage_failed("isolation", "/bin/x", errno.ENOSPC)
    assert (
        failed.problem
        == "a namespace of its own was refused: this host allows no user namespaces: user.max_user_namespaces is 0"
    )
    assert "root" in failed.hint
