"""Long answers on a terminal."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

import pytest

from orchestra.cli.pager import paged


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Give this test a terminal. Not as a fixture: pytest changes sys.stdout between that and the test."""
    made = Terminal()
    monkeypatch.setattr(sys, "stdout", made)
    return made


def test_the_answer_goes_through_the_pager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("PAGER", f"{{ echo $LESS; cat; }} > {tmp_path}/seen")
    monkeypatch.delenv("LESS", raising=False)
    with paged() as out:
        out.write("grüße \ud800\n")
    assert (tmp_path / "seen").read_text() == "FRX\ngrüße \\ud800\n"
    assert terminal.getvalue() == ""


def test_what_a_person_set_for_less_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    monkeypatch.setenv("PAGER", f"echo $LESS > {tmp_path}/seen")
    monkeypatch.setenv("LESS", "-i")
    with paged():
        pass
    assert (tmp_path / "seen").read_text() == "-i\n"


@pytest.mark.parametrize("pager", ["", " ", "cat"])
def test_none_where_none_is_wanted(pager: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("PAGER", pager)
    with paged() as out:
        assert out is terminal


def test_none_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.delenv("PAGER", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with paged() as out:
        assert out is terminal


def test_never_but_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "false")
    with paged() as out:
        assert out is sys.stdout


def test_a_person_may_leave_the_pager_and_ctrl_c_is_the_pager_s(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    monkeypatch.setenv("PAGER", "head -1 >/dev/null")
    before = signal.getsignal(signal.SIGINT)
    written = []
    with paged() as out:
        os.kill(os.getpid(), signal.SIGINT)
        for number in range(10_000):
            out.write("x" * 65536 + "\n")
            written.append(number)
    assert len(written) < 10_000
    assert signal.getsignal(signal.SIGINT) is before


def test_a_pager_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    on_terminal(monkeypatch)
    monkeypatch.setenv("PAGER", "no-such-pager")
    with paged():
        pass
    assert "the pager could not be started: no-such-pager\nhelp: Set PAGER" in capfd.readouterr().err
