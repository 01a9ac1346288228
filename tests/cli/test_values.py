from __future__ import annotations

import pytest

from orchestra.cli.values import parse_duration, parse_scale, parse_settings
from orchestra.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("0.5", 0.5), ("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), (" 1s ", 1)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--timeout") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5x", "s", "-5", "1s-", "1 h", "٣s", "5m30", "1e3"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="--timeout"):
        parse_duration(text, "--timeout")


def test_settings() -> None:
    assert parse_settings(["a=1", "b=", "c=x=y"]) == {"a": "1", "b": "", "c": "x=y"}
    bad = ((["a"], "has no `=`"), (["=1"], "has no name before its `=`"), (["a=1", "a=2"], "given twice"))
    for words, problem in bad:
        with pytest.raises(UsageError, match=problem):
            parse_settings(words)


def test_scale() -> None:
    assert parse_scale(["worker=3"]) == {"worker": 3}
    for words in (["worker"], ["worker=x"], ["worker=-1"], ["worker=1.5"], ["worker="], ["worker=٣"]):
        with pytest.raises(UsageError):
            parse_scale(words)
