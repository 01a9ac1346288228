from __future__ import annotations

import io

import pytest

from orchestra.views.ansi import Paint, clean, is_terminal, paint_for, terminal_width


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint_for(Terminal()).enabled
    assert not paint_for(io.StringIO()).enabled
    monkeypatch.setenv("NO_COLOR", "1")
    assert not paint_for(Terminal()).enabled


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not is_terminal(stream)


def test_a_pipe_has_no_width() -> None:
    assert terminal_width(io.StringIO()) is None


def test_paint_leaves_words_alone_when_it_is_off() -> None:
    assert Paint(enabled=False)("failed", "red") == "failed"
    assert Paint(enabled=True)("failed", "bold", "red") == "\x1b[1;31mfailed\x1b[0m"


def test_clean_spells_out_what_a_terminal_would_obey() -> None:
    assert clean("plain ünïcödé\t") == "plain ünïcödé\t"
    assert clean("\x1b[2J\x00\x7f\x9b") == "\\x1b[2J\\x00\\x7f\\x9b"
    assert clean(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\\udce9"
