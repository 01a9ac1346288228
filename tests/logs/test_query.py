from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.errors import NotFound, StateError, UsageError
from orchestra.logs import query
from orchestra.logs.capture import Capture
from orchestra.logs.encode import event_record, text_of
from orchestra.logs.query import Filter, Line, Target, parse_grep, parse_level, parse_when, read

START = 1_767_323_045  # 2026-01-02T03:04:05Z


def stamp(second: float) -> str:
    return text_of(START * 10**9 + round(second * 1000) * 10**6)


def numbered(count: int, *, width: int = 20) -> bytes:
    """One line a second, `0`, `1` …, from worker.1 and worker.2 in turn."""
    workers = [Capture(run="r7", process="worker", replica=n, pid=n, stream="stdout") for n in (1, 2)]
    lines = [workers[n % 2].feed(b"%d %s\n" % (n, b"x" * width), stamp(n)) for n in range(count)]
    return b"".join(lines)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    out = Capture(run="r7", process="worker", replica=1, pid=5, stream="stdout")
    err = Capture(run="r7", process="worker", replica=2, pid=6, stream="stderr")
    log = tmp_path / "log.jsonl"
    log.write_bytes(
        b"".join(
            [
                event_record("run.started", timestamp=stamp(0), run="r7", instance="i", topology="t", file="f", pid=1),
                event_record(
                    "object.created", timestamp=stamp(1), run="r7", object="jobs", family="posix", kind="queue"
                ),
                event_record("process.started", timestamp=stamp(2), run="r7", process="worker", replica=1, pid=5),
                out.feed(b'plain job 17\n{"msg":"done","level":"info","job":17}\n', stamp(3)),
                err.feed(b'{"msg":"oh no","level":"error"}\nworker jobs "event":"run.started"\n', stamp(4)),
                event_record("process.exited", timestamp=stamp(5), run="r7", process="worker", replica=1, exit_code=0),
                event_record("run.ended", timestamp=stamp(6), run="r7", state="down", exit_code=0),
            ]
        )
    )
    return log


def shown(path: Path, wanted: Filter | None = None, tail: int | None = None) -> list[str]:
    result = []
    for line in read(path, wanted, tail=tail):
        assert line.record is not None
        result.append(line.record.get("event") or line.record["message"])
    return result


ALL = [
    "run.started",
    "object.created",
    "process.started",
    "plain job 17",
    "done",
    "oh no",
    'worker jobs "event":"run.started"',
    "process.exited",
    "run.ended",
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), ALL),
        (Filter(targets=[Target("worker")]), [*ALL[2:8]]),
        (Filter(targets=[Target("worker", 1)]), ["process.started", "plain job 17", "done", "process.exited"]),
        (Filter(targets=[Target("worker", 2)]), ["oh no", 'worker jobs "event":"run.started"']),
        (Filter(targets=[Target("jobs")]), ["object.created"]),
        (Filter(targets=[Target("jobs"), Target("worker", 2)]), ["object.created", *ALL[5:7]]),
        (Filter(targets=[Target("nobody")]), []),
        (Filter(level="error"), ["oh no"]),
        (Filter(level="info"), [*ALL[:3], "done", "oh no", *ALL[7:]]),
        (Filter(stream="stderr"), ALL[5:7]),
        (Filter(events=["process.*"]), ["process.started", "process.exited"]),
        (Filter(events=["run.started", "run.ended"]), ["run.started", "run.ended"]),
        (Filter(grep=re.compile("job.?17")), ["plain job 17", "done"]),  # data is shown as job=17
        (Filter(since=stamp(4)), ALL[5:]),
        (Filter(until=stamp(4)), ALL[:5]),
        (Filter(since=stamp(3), until=stamp(4)), ["plain job 17", "done"]),
    ],
)
def test_filters(mixed: Path, wanted: Filter, expected: list[str]) -> None:
    assert shown(mixed, wanted) == expected
    assert shown(mixed, wanted, tail=100) == expected
    assert shown(mixed, wanted, tail=2) == expected[-2:]
    assert shown(mixed, wanted, tail=0) == []


def test_the_stored_lines_come_out_as_they_are(mixed: Path) -> None:
    assert b"".join(line.raw for line in read(mixed)) == mixed.read_bytes()


class TestTornLines:
    def test_the_end_of_a_growing_file_is_left_out(self, mixed: Path) -> None:
        with mixed.open("ab") as log:
            log.write(b'{"timestamp":"2026-01-0')
        assert shown(mixed) == ALL
        assert shown(mixed, tail=1) == ALL[-1:]

    def test_in_the_middle_they_are_left_out(self, mixed: Path) -> None:
        with mixed.open("ab") as log:
            log.write(b'{"timestamp":"2026-01-0\nnull\n\n[]\n')
            log.write(event_record("supervisor.died", timestamp=stamp(7), run="r7", pid=1))
        assert shown(mixed) == [*ALL, "supervisor.died"]
        assert shown(mixed, tail=2) == ["run.ended", "supervisor.died"]
        assert shown(mixed, Filter(since=stamp(6))) == ["run.ended", "supervisor.died"]

    def test_a_file_that_is_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_bytes(b"\xff\n" * 200_000)
        assert shown(tmp_path / "log", Filter(since=stamp(0))) == []
        assert shown(tmp_path / "log", tail=1) == []


@pytest.mark.parametrize("width", [20, 3000, 60_000])
def test_by_time_without_reading_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    log = tmp_path / "log.jsonl"
    count = 8_000_000 // (width + 150)
    log.write_bytes(numbered(count, width=width))
    seen = 0
    passes = Filter.passes

    def counted(self: Filter, line: Line) -> bool:
        nonlocal seen
        seen += 1
        return passes(self, line)

    monkeypatch.setattr(Filter, "passes", counted)
    since, until = count * 2 // 3, count * 2 // 3 + 5
    found = [line.record for line in read(log, Filter(since=stamp(since), until=stamp(until)))]
    assert [int(record["message"].split()[0]) for record in found if record] == list(range(since, until))
    assert seen < 70 + 5 + query.SLACK + 2 * 64 * 1024 // (width + 100)


def test_the_last_lines_without_reading_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(numbered(20_000))
    seen = 0

    def counted(self: Filter, line: Line) -> bool:
        nonlocal seen
        seen += 1
        return True

    monkeypatch.setattr(Filter, "passes", counted)
    assert [line.raw for line in read(log, tail=7)] == log.read_bytes().splitlines(keepends=True)[-7:]
    assert seen == 7


def test_lines_from_before_the_clock_was_set_back_are_found(tmp_path: Path) -> None:
    times = [*range(3000), *range(2970, 6000)]
    stream = Capture(run="r", process="p", replica=1, pid=1, stream="stdout")
    lines = [stream.feed(b"%d\n" % second, stamp(second)) for second in times]
    (tmp_path / "log").write_bytes(b"".join(lines))
    found = shown(tmp_path / "log", Filter(since=stamp(2980), until=stamp(2985)))
    assert found == [str(n) for n in (*range(2980, 2985), *range(2980, 2985))]
    assert shown(tmp_path / "log", Filter(since=stamp(2980), until=stamp(2985)), tail=6) == found[-6:]


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=30), st.integers(1, 50))
def test_backwards_is_forwards_reversed(lines: Sequence[bytes], block: int) -> None:
    text = b"".join([line + b"\n" for line in lines]) + b"no end"
    original, query._BLOCK = query._BLOCK, block  # type: ignore[misc]
    try:
        found = [line.raw for line in query._backward(io.BytesIO(text), len(text))]
    finally:
        query._BLOCK = original  # type: ignore[misc]
    expected = [line + b"\n" for line in lines]
    assert found[::-1] == (expected[1:] if expected and expected[0] == b"\n" else expected)


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no log"):
        list(read(tmp_path / "log.jsonl"))
    with pytest.raises(StateError, match="directory"):
        list(read(tmp_path))


def test_an_empty_log(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    assert list(read(tmp_path / "log")) == []
    assert list(read(tmp_path / "log", Filter(since=stamp(0)), tail=3)) == []


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


def test_targets() -> None:
    assert Target.parse("worker.2") == Target("worker", 2)
    assert Target.parse("jobs") == Target("jobs")
    for wrong in ("worker.x", "worker.", "worker.0", "worker.-1", "worker.²"):
        with pytest.raises(UsageError, match="replica"):
            Target.parse(wrong)


def test_a_replica_may_be_missing_in_a_record() -> None:
    assert Target("p", 1).matches({"process": "p"})
    assert not Target("p", 2).matches({"process": "p"})


def test_levels_and_patterns() -> None:
    assert [parse_level(word) for word in ("WARN", "warning", "fatal", "info")] == [
        "warning",
        "warning",
        "critical",
        "info",
    ]
    with pytest.raises(UsageError, match="purple"):
        parse_level("purple")
    assert parse_grep("a.c").search("xabc")
    with pytest.raises(UsageError, match="regular expression"):
        parse_grep("(")


def test_a_record_is_parsed_once() -> None:
    line = Line(json.dumps({"timestamp": "T"}).encode())  # a space after the colon: not our encoder
    record: Any = line.record
    assert line.record is record
    assert line.stamp == "T"
