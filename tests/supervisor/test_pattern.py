"""Searches that end, whatever the pattern."""

from __future__ import annotations

import os
import signal

import pytest

from orchestra.supervisor import pattern
from orchestra.supervisor.pattern import Pattern, TookTooLong


@pytest.mark.parametrize(
    ("text", "lines", "is_in"),
    [("^ready$", ["not ready", "ready"], True), ("ready", [], False), ("^$", ["x"], False), ("", [""], True)],
)
def test_one_line_that_matches_is_enough(text: str, lines: list[str], is_in: bool) -> None:
    assert Pattern(text).is_in(lines) is is_in


@pytest.mark.parametrize(("text", "line"), [("(a+)+$", "a" * 60 + "!"), ("(?:x*)*y", "x" * 65536)])
def test_a_search_that_would_not_end_is_broken_off(text: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern, "LIMIT", 0.02)
    searched = Pattern(text)
    with pytest.raises(TookTooLong):
        searched.is_in(["first", line])
    assert searched.is_in(["y a"]), "it is good for another line"
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    os.kill(os.getpid(), signal.SIGVTALRM)  # one that comes late changes nothing
