"""From what a command raises to words and an exit status; one row for each status."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestra.cli.exits import ExitCode, guarded, tell
from orchestra.errors import (
    Conflict,
    DeadlinePassed,
    KernelError,
    LaunchFailed,
    LedgerError,
    NotFound,
    ObjectExists,
    OrchestraError,
    Problem,
    ShapeMismatch,
    StateError,
    TopologyError,
    UsageError,
)
from tests.support.cli import child_environment, orchestra


def raising(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OrchestraError("x"), 1),
        (KernelError("x"), 1),
        (LedgerError("x"), 1),
        (StateError("x"), 1),
        (LaunchFailed("x", stage="exec", errno=2, path="/x"), 1),
        (UsageError("x"), 2),
        (TopologyError([Problem("f.yaml", 1, 1, "c", "p", "x")]), 2),
        (NotFound("x"), 4),
        (Conflict("x"), 5),
        (ObjectExists("x"), 5),
        (ShapeMismatch("x"), 5),
        (DeadlinePassed("x"), 124),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_every_error_has_its_status(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(error)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert ("x" in err) is not isinstance(error, KeyboardInterrupt)


def test_statuses_are_the_documented_ones() -> None:
    assert sorted(ExitCode) == [0, 1, 2, 3, 4, 5, 124, 126, 127, 129, 130, 141, 143]


def test_the_answer_of_a_command_is_its_status() -> None:
    assert guarded(lambda: 3) == 3


def test_debugging_shows_where_it_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_DEBUG", "1")
    with pytest.raises(NotFound):
        guarded(raising(NotFound("x")))
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 // 0)


def test_what_nobody_foresaw_is_called_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: 1 // 0) == 1
    assert "ZeroDivisionError" in (err := capsys.readouterr().err)
    assert "ORCHESTRA_DEBUG=1" in err


def test_a_reader_that_left_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "orchestra", "--help"],
            stdout=writer, stderr=subprocess.PIPE, env=child_environment(tmp_path / "home"), check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_answer_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "orchestra", "ls"],
            stdout=full, stderr=subprocess.PIPE, text=True, env=child_environment(tmp_path / "home"), check=False,
        )  # fmt: skip
    last = done.stderr.splitlines()[-1]  # hints may come before: the answer is only lost when it leaves the buffer
    assert (done.returncode, last) == (1, "error: the answer could not be written: No space left on device")


class Telling(io.RawIOBase):
    """A stream on which a message has to be told in the middle of a write, as by a signal handler."""

    def __init__(self) -> None:
        self.told = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self.told:
            self.told = True
            tell("stopping")
        return len(data)


def test_a_signal_in_the_middle_of_a_write_can_still_say_something(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = Telling()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(raw)))
    sys.stdout.write("a line")
    sys.stdout.flush()
    assert raw.told
    assert capfd.readouterr().err == "stopping\n"


def test_a_closed_stderr_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert guarded(raising(OSError(errno.EACCES, "x"))) == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ls"], 0),
        (["frobnicate"], 2),
        (["ps", "-n", "nobody"], 4),
        (["clean", "--run", "nothing"], 4),
        (["clean", "--kind", "sausage"], 2),
        (["clean", "--older-than", "soon"], 2),
        (["logs", "--since", "whenever"], 2),
        (["logs", "--level", "loud"], 2),
        (["logs", "--grep", "("], 2),
        (["logs", "--stream", "stdin"], 2),
        (["inspect", "posix-queue:nope"], 2),
        (["down", "nobody"], 4),
        (["audit", "-o", "/nonexistent/folder/audit.xml"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_commands_end_with_it(words: list[str], code: int, tmp_path: Path) -> None:
    answer = orchestra(*words, home=tmp_path / "home")
    assert answer.code == code
    assert "Traceback" not in answer.err
    assert (answer.err.startswith("error: ")) is (code != 0)
