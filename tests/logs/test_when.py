"""Moments as people give them."""

from __future__ import annotations

import pytest

from orchestra.errors import UsageError
from orchestra.logs.encode import text_of
from orchestra.logs.when import moved, parse_when

START = 1_767_323_045  # 2026-01-02T03:04:05Z


def stamp(second: float) -> str:
    return text_of(START * 10**9 + round(second * 1000) * 10**6)


def test_moving_a_timestamp() -> None:
    assert moved(stamp(0), 60) == "2026-01-02T03:05:05.000000Z"
    assert moved(stamp(0.5), -0.25) == stamp(0.25)


class TestWhen:
    NOW = START + 0.25

    @pytest.mark.parametrize(
        ("text", "ago"),
        [("90", 90), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("500ms", 0.5), ("1.5s", 1.5)],
    )
    def test_how_long_ago(self, text: str, ago: float) -> None:
        assert parse_when(text, self.NOW) == stamp(0.25 - ago)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
            ("2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.123456Z"),
            ("2026-01-02 03:04:05+02:00", "2026-01-02T01:04:05.000000Z"),
            ("0001-01-01T00:00:00Z", "1970-01-01T00:01:00.000000Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:58:59.000000Z"),
        ],
    )
    def test_a_moment(self, text: str, expected: str) -> None:
        assert parse_when(text, self.NOW) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2026-01-02", "2026-01-02T05:00:00.000000Z"),
            ("2026-01-02T10:30", "2026-01-02T15:30:00.000000Z"),
            ("20:15", "2026-01-02T01:15:00.000000Z"),  # there it is still January 1st
            ("7:15:30", "2026-01-01T12:15:30.000000Z"),
        ],
    )
    def test_local_time(self, text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
        import time

        monkeypatch.setenv("TZ", "EST5")
        time.tzset()
        try:
            assert parse_when(text, self.NOW) == expected
        finally:
            monkeypatch.undo()
            time.tzset()

    @pytest.mark.parametrize("text", ["", "yesterday-ish", "5x", "25:00", "2026-13-01", "-5m", "1e5"])
    def test_nonsense(self, text: str) -> None:
        with pytest.raises(UsageError, match="is not a time"):
            parse_when(text)
