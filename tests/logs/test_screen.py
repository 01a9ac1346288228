"""What a terminal is sent: colour by the rules, and nothing that drives it."""

from __future__ import annotations

import io
import re
import sys

import pytest

from orchestra.logs import screen
from orchestra.logs.screen import escape, use_colour


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("one\rtwo", "one\\rtwo"),
        ("back\x08space\x7f", "back\\x08space\\x7f"),
        ("c1 \x9b31m", "c1 \\x9b31m"),
        ("nul\0", "nul\\x00"),
        ("abc\u202edcb", "abc\\u202edcb"),
        ("isolate \u2066 x \u2069", "isolate \\u2066 x \\u2069"),
        ("line\u2028sep", "line\\u2028sep"),
        ("lone \ud800", "lone \\ud800"),
        ("tab\tstays", "tab\tstays"),
        ("new\nline", "new\\nline"),
        ("grüße → 🎻", "grüße → 🎻"),
    ],
)
def test_controls_are_shown_not_sent(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_everything_unsafe_is_escaped_by_the_short_way_too() -> None:
    unsafe = re.compile(screen._UNSAFE)
    for number in range(sys.maxunicode + 1):
        if unsafe.match(chr(number)):
            assert not chr(number).isprintable(), hex(number)


@pytest.mark.parametrize(
    ("environment", "terminal", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, True, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, False, True),
        ({"TERM": "xterm"}, True, True),
    ],
)
def test_when(environment: dict[str, str], terminal: bool, expected: bool) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    assert use_colour(Stream(), environment) is expected


def test_a_closed_stream_has_none() -> None:
    stream = io.StringIO()
    stream.close()
    assert use_colour(stream, {}) is False
