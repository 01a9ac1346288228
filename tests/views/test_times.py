from __future__ import annotations

import time

import pytest

from orchestra.views.times import clock, rfc3339


def test_programs_get_utc_with_microseconds() -> None:
    assert rfc3339(1_790_000_000.25) == "2026-09-21T14:13:20.250000Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert rfc3339(None) is None


def test_people_get_local_time_and_the_date_only_when_it_is_another_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert clock(1_790_000_000, now=1_790_000_060) == "23:13:20"
        assert clock(1_790_000_000, now=1_790_000_000 + 86_400) == "2026-09-21 23:13"
        assert clock(None, now=0) is None
    finally:
        monkeypatch.undo()
        time.tzset()
