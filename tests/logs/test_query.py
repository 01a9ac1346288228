from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.errors import NotFound, StateError, UsageError
from orchestra.logs import query
from orchestra.logs.capture import Capture
from orchestra.logs.catalogue import LEVELS
from orchestra.logs.encode import event_record, text_of
from orchestra.logs.files import rotated_path
from orchestra.logs.query import Filter, Target, open_log, parse_grep, parse_level, read, records
from orchestra.logs.records import record_of, split
from orchestra.logs.render import text_of_record
from orchestra.logs.when import SLACK

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


def raw(path: Path, wanted: Filter | None = None, tail: int | None = None) -> bytes:
    with open_log(path) as log:
        return b"".join(read(log, wanted, tail=tail))


def shown(path: Path, wanted: Filter | None = None, tail: int | None = None) -> list[str]:
    found = [json.loads(line) for line in split(raw(path, wanted, tail))]
    return [record.get("event") or record["message"] for record in found]


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
    assert raw(mixed) == mixed.read_bytes()


class TestTornLines:
    def test_the_end_of_a_growing_file_is_left_out(self, mixed: Path) -> None:
        with mixed.open("ab") as log:
            log.write(b'{"timestamp":"2026-01-0')
        assert shown(mixed) == ALL
        assert shown(mixed, tail=1) == ALL[-1:]

    def test_in_the_middle_they_are_left_out(self, mixed: Path) -> None:
        with mixed.open("ab") as log:
            log.write(b'{"timestamp":"2026-01-0\n\nnull\n[]\n')
            log.write(event_record("supervisor.died", timestamp=stamp(7), run="r7", pid=1))
        assert shown(mixed) == [*ALL, "supervisor.died"]
        assert shown(mixed, tail=2) == ["run.ended", "supervisor.died"]
        assert shown(mixed, Filter(since=stamp(6))) == ["run.ended", "supervisor.died"]

    def test_a_file_that_is_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_bytes(b"\xff\n" * 200_000)
        assert shown(tmp_path / "log", Filter(since=stamp(0))) == []
        assert shown(tmp_path / "log", tail=1) == []


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes were read, one number a read."""
    counts: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        found = pread(fd, size, offset)
        counts.append(len(found))
        return found

    monkeypatch.setattr(os, "pread", counted)
    return counts


@pytest.mark.parametrize("width", [20, 3000, 60_000])
def test_by_time_without_reading_it_all(tmp_path: Path, reads: list[int], width: int) -> None:
    log = tmp_path / "log.jsonl"
    count = 8_000_000 // (width + 150)
    log.write_bytes(numbered(count, width=width))
    since, until = count * 2 // 3, count * 2 // 3 + 5
    found = records(log, Filter(since=stamp(since), until=stamp(until)))
    assert [int(record["message"].split()[0]) for record in found] == list(range(since, until))
    window = (SLACK + 5 + SLACK) * (width + 150)
    assert sum(reads) < 4 * max(window, query._FIRST) + 50 * 8192


def test_the_last_lines_without_reading_it_all(tmp_path: Path, reads: list[int]) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(numbered(20_000))
    assert split(raw(log, tail=7)) == split(log.read_bytes())[-7:]
    assert sum(reads) <= query._FIRST + 4096


def test_across_the_files_that_rotation_made(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = split(numbered(4000))
    for number in (3, 4, 10):
        part, lines = lines[:1000], lines[1000:]
        Path(rotated_path(log, number)).write_bytes(b"".join(part))
    log.write_bytes(b"".join(lines) + b'{"timestamp":"2026')
    whole = numbered(4000)
    assert raw(log) == whole
    assert raw(log, tail=3500) == b"".join(split(whole)[-3500:])
    assert raw(log, Filter(since=stamp(1990), until=stamp(2010))) == b"".join(split(whole)[1990:2010])
    Path(rotated_path(log, 4)).unlink()
    assert raw(log, tail=2001) == b"".join(split(whole)[999:1000] + split(whole)[2000:])


def test_lines_from_before_the_clock_was_set_back_are_found(tmp_path: Path) -> None:
    times = [*range(3000), *range(2970, 6000)]
    stream = Capture(run="r", process="p", replica=1, pid=1, stream="stdout")
    lines = [stream.feed(b"%d\n" % second, stamp(second)) for second in times]
    (tmp_path / "log").write_bytes(b"".join(lines))
    found = shown(tmp_path / "log", Filter(since=stamp(2980), until=stamp(2985)))
    assert found == [str(n) for n in (*range(2980, 2985), *range(2980, 2985))]
    assert shown(tmp_path / "log", Filter(since=stamp(2980), until=stamp(2985)), tail=6) == found[-6:]


@given(
    st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=30),
    st.integers(1, 50),
    st.lists(st.integers(0, 900), max_size=3),
)
def test_backwards_is_forwards_reversed(lines: Sequence[bytes], size: int, cuts: Sequence[int]) -> None:
    text = b"".join([line + b"\n" for line in lines])
    cuts = sorted({text.find(b"\n", cut) + 1 for cut in cuts} - {0})
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(query, "_BLOCK", size)
        patch.setattr(query, "_FIRST", size)
        log = Path(folder, "log")
        for number, (start, end) in enumerate(pairwise([0, *cuts]), 1):
            Path(rotated_path(log, number)).write_bytes(text[start:end])
        log.write_bytes(text[cuts[-1] if cuts else 0 :] + b"no end")
        with open_log(log) as opened:
            assert b"".join(query._forward(opened, "")) == text
            blocks = list(query._backward(opened))
    assert b"".join(reversed(blocks)) == text
    assert all(block.endswith(b"\n") for block in blocks)


WORDS = st.sampled_from(["a", "b", "stderr", 'say "a"', "tab\t", "ü", '"event":"run.ended"', "\\", "\x7f", "\u2028"])


@st.composite
def stored_records(draw: st.DrawFn) -> bytes:
    """One line of a log: plain text of a child, a child's JSON, an event, a torn one."""
    when = stamp(draw(st.integers(0, 5)))
    process, replica = draw(st.sampled_from(["a", "b", "ab"])), draw(st.sampled_from([None, 1, 2, 12]))
    match draw(st.integers(0, 4)):
        case 0 | 1:
            text = draw(WORDS).encode()
        case 2:
            data = draw(st.dictionaries(st.sampled_from(["stream", "level", "process", "event"]), WORDS))
            message = {"msg": draw(WORDS), **data, **draw(st.sampled_from([{}, {"level": "error"}, {"level": "info"}]))}
            text = json.dumps(message).encode()
        case 3:
            name = draw(st.sampled_from(["process.started", "process.skipped", "object.gone"]))
            about: dict[str, Any] = {"process": process, "replica": replica or 1}
            return event_record(name, timestamp=when, run="r", **({"object": "a"} if "object" in name else about))
        case _:
            return draw(st.sampled_from([b"\n", b'{"timestamp":"2026-01-02T03:04:0\n', b"null\n", b"[]\n"]))
    stream = draw(st.sampled_from(["stdout", "stderr"]))
    return Capture(run="r", process=process, replica=replica, pid=5, stream=stream).feed(text + b"\n", when)


@given(
    st.lists(stored_records(), max_size=12),
    st.builds(
        Filter,
        targets=st.lists(st.builds(Target, st.sampled_from(["a", "b"]), st.sampled_from([None, 1, 2])), max_size=2),
        since=st.sampled_from(["", stamp(1), stamp(3)]),
        until=st.sampled_from(["", stamp(4)]),
        level=st.sampled_from(["", "", "info", "warning", "error"]),
        grep=st.sampled_from([None, re.compile("a"), re.compile("\t|ü"), re.compile("stream=")]),
        events=st.sampled_from([(), (), ("process.*",), ("*.started", "object.gone"), ("process.s[kt]*",)]),
        stream=st.sampled_from(["", "stdout", "stderr"]),
    ),
)
def test_looking_for_bytes_selects_what_parsing_every_line_selects(lines: Sequence[bytes], wanted: Filter) -> None:
    def passes(record: dict[str, Any] | None) -> bool:
        if record is None:
            return False
        if record["timestamp"] < wanted.since or (wanted.until and record["timestamp"] >= wanted.until):
            return False
        level = LEVELS.index(record["level"]) if "level" in record else -1
        return (
            wanted.stream in ("", record.get("stream"))
            and (not wanted.targets or any(target.matches(record) for target in wanted.targets))
            and (not wanted.level or level >= LEVELS.index(wanted.level))
            and (not wanted.events or any(fnmatchcase(record.get("event", ""), event) for event in wanted.events))
            and (wanted.grep is None or wanted.grep.search(text_of_record(record)) is not None)
        )

    expected = [line for line in lines if passes(record_of(line))]
    assert wanted.select(b"".join(lines)) == b"".join(expected)


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no log"):
        open_log(tmp_path / "log.jsonl")
    with pytest.raises(StateError, match="directory"):
        raw(tmp_path)


def test_an_empty_log(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    assert raw(tmp_path / "log") == b""
    assert raw(tmp_path / "log", Filter(since=stamp(0)), tail=3) == b""


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


def test_a_log_that_was_cut_off_meanwhile_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(numbered(5000))
    with open_log(path) as log:
        backwards = query._backward(log)
        assert next(backwards)
        os.truncate(path, 0)
        assert list(backwards) == []
        assert list(read(log)) == list(read(log, tail=3)) == []


def test_files_that_the_rotation_dropped_before_they_were_read_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for number in (1, 2, 3):
        Path(rotated_path(path, number)).write_bytes(numbered(1))
    path.write_bytes(numbered(1))
    with open_log(path) as log:
        blocks = read(log)
        next(blocks)
        os.unlink(rotated_path(path, 2))
        assert (len(list(blocks)), log.dropped) == (2, 1)
