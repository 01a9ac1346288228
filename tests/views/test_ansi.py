from __future__ import annotations

import io

import pytest

from orchestra.views.ansi import Paint, clean, is_terminal, terminal_width, wants_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "terminal", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"CLICOLOR_FORCE": "1"}, False, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
    ],
)
def test_who_gets_colour(environment: dict[str, str], terminal: bool, expected: bool) -> None:
    assert wants_colour(Terminal() if terminal else io.StringIO(), environment) is expected


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
    assert clean(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\\xe9"
