"""Rotation, reopening, raw copies: where files end, what stays, and that no line is lost, torn or moved by it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.logs import sink
from orchestra.logs.files import rotated_path, segments_of
from orchestra.logs.sink import LogFile, RawCopy
from tests.logs.test_sink import room


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def line(number: int, length: int = 10) -> bytes:
    return b'{"n":%*d}\n' % (length - 7, number)


def parts(path: Path) -> list[bytes]:
    return [Path(part).read_bytes() for part in segments_of(path)]


def events(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(text) for text in b"".join(parts(path)).splitlines()]
    return [record for record in found if "event" in record]


def numbers(path: Path) -> list[int]:
    found = [json.loads(text) for text in b"".join(parts(path)).splitlines()]
    return [record["n"] for record in found if "n" in record]


def test_no_file_grows_beyond_its_size(path: Path) -> None:
    log = LogFile(path, run="r7", rotate_size=35)
    for number in range(8):
        log.write(line(number))
        log.flush()
    log.close()
    assert [len(part) for part in parts(path)] == [30, 30, 20]
    assert numbers(path) == list(range(8))
    assert [os.path.basename(part) for part in segments_of(path)] == [
        "log.jsonl.000001", "log.jsonl.000002", "log.jsonl",
    ]  # fmt: skip
    assert {os.stat(part).st_mode & 0o777 for part in segments_of(path)} == {0o600}


def test_one_large_write_is_spread_over_files(path: Path) -> None:
    log = LogFile(path, run="r7", rotate_size=100)
    log.write(b"".join([line(number) for number in range(25)]))
    log.close()
    assert [len(part) for part in parts(path)] == [100, 100, 50]
    assert numbers(path) == list(range(25))


def test_a_line_longer_than_a_file_has_one_of_its_own(path: Path) -> None:
    log = LogFile(path, run="r7", rotate_size=30)
    log.write(line(1) + line(2, 100) + line(3))
    log.close()
    assert [len(part) for part in parts(path)] == [10, 100, 10]


def test_the_next_writer_goes_on_where_the_last_one_stopped(path: Path) -> None:
    for start in (0, 4):
        log = LogFile(path, run="r7", rotate_size=30)
        for number in range(start, start + 4):
            log.write(line(number))
        log.close()
    assert [len(part) for part in parts(path)] == [30, 30, 20]
    assert numbers(path) == list(range(8))


@given(
    limit=st.integers(1, 400),
    writes=st.lists(st.lists(st.integers(8, 120), max_size=12), max_size=12),
    gather=st.integers(1, 4),
    at_once=st.sampled_from([1, 100, 100_000]),
)
def test_whatever_the_sizes_nothing_is_lost_torn_or_moved(
    tmp_path_factory: pytest.TempPathFactory, limit: int, writes: list[list[int]], gather: int, at_once: int
) -> None:
    path = tmp_path_factory.mktemp("rotation") / "log.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sink, "_GATHER", gather)
        patch.setattr(sink, "AT_ONCE", at_once)
        log = LogFile(path, run="r7", rotate_size=limit)
        count = 0
        for sizes in writes:
            log.write(b"".join([line(count + index, size) for index, size in enumerate(sizes)]))
            count += len(sizes)
            if len(sizes) % 3 == 0:
                log.flush()
        log.close()
    assert numbers(path) == list(range(count))
    for part in parts(path)[:-1]:
        assert part.endswith(b"\n")
        assert len(part) <= limit or part.count(b"\n") == 1
    following = [part.split(b"\n", 1)[0] + b"\n" for part in parts(path)[1:] if part]
    for part, first in zip(parts(path), following, strict=False):
        assert len(part) + len(first) > limit, "a file ends because the next line would not fit"


def test_the_oldest_go_and_each_is_told(path: Path) -> None:
    log = LogFile(path, run="r7", rotate_size=300, keep=2)
    for number in range(200):
        log.write(line(number))
        log.flush()
    log.close()
    names = [os.path.basename(part) for part in segments_of(path)]
    last = int(names[1].rpartition(".")[2])
    assert names == [f"log.jsonl.{last - 1:06d}", f"log.jsonl.{last:06d}", "log.jsonl"]
    assert numbers(path)[-1] == 199
    assert numbers(path) == list(range(numbers(path)[0], 200)), "no hole but the one at the beginning"
    told = [event["data"] for event in events(path) if event["event"] == "log.dropped"]
    assert told[-1]["file"] == f"log.jsonl.{last - 2:06d}"
    assert 0 < told[-1]["bytes"] <= 300


def test_keeping_none_keeps_the_present_file(path: Path) -> None:
    log = LogFile(path, run="r7", rotate_size=1000, keep=0)
    for number in range(300):
        log.write(line(number))
        log.flush()
    log.close()
    assert segments_of(path) == [str(path)]
    assert numbers(path)[-1] == 299
    told = [event["data"]["file"] for event in events(path)]
    assert told[0] > "log.jsonl.000001", "numbers only grow"


def test_a_rest_of_a_line_stays_in_its_file(path: Path) -> None:
    log = LogFile(path, run="r7", rotate_size=25)
    with room(15):
        log.write(line(1))
        log.write(line(2) + line(3))
        log.flush()
        assert log.problem == "EFBIG"
    log.close()
    assert [part.count(b"\n") for part in parts(path)] == [2, 1]
    assert numbers(path) == [1, 2, 3]


@pytest.mark.parametrize("broken", ["open", "rename"])
def test_without_a_new_file_the_old_one_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    log = LogFile(path, run="r7", rotate_size=1000)
    real: Callable[..., Any] = getattr(os, broken)

    def refused(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, refused)
        for number in range(250):
            log.write(line(number))
            log.flush()
    assert getattr(os, broken) is real
    for number in range(250, 400):
        log.write(line(number))
        log.flush()
    log.close()
    assert numbers(path) == list(range(400))
    told = [(event["event"], event["level"], event["data"]) for event in events(path)]
    assert told == [("log.not_rotated", "warning", {"reason": "ENOSPC"})], "once, not with each line"
    assert [len(part) > 1000 for part in parts(path)] == [True, False, False]


def test_somebody_elses_file_at_the_path_is_not_renamed(path: Path) -> None:
    log = LogFile(path, run="r7", rotate_size=300)
    log.write(line(1))
    log.flush()
    os.rename(path, f"{path}.1")
    path.write_bytes(b'{"n":2}\n')
    for number in range(3, 33):
        log.write(line(number))
    log.close()
    assert segments_of(path) == [str(path)]
    assert numbers(path)[0] == 2
    older = [json.loads(text)["n"] for text in Path(f"{path}.1").read_bytes().splitlines()]
    assert older + numbers(path)[1:] == [1, *range(3, 33)]


def test_reopened_it_goes_on_in_a_new_file(path: Path) -> None:
    log = LogFile(path, run="r7")
    log.write(line(1))
    os.rename(path, f"{path}.1")
    log.write(line(2))
    log.reopen()
    log.write(line(3))
    assert log.flush() is True
    log.close()
    assert Path(f"{path}.1").read_bytes() == line(1) + line(2)
    assert (numbers(path), [event["event"] for event in events(path)]) == ([3], ["log.reopened"])


def test_a_torn_line_is_finished_before_it_is_reopened(path: Path) -> None:
    log = LogFile(path, run="r7")
    with room(5):
        log.write(line(1))
        log.flush()
        os.rename(path, f"{path}.1")
        log.reopen()
        assert not path.exists()
    log.write(line(2))
    log.close()
    assert (Path(f"{path}.1").read_bytes()[:10], numbers(path)) == (line(1), [])
    assert [event["event"] for event in events(path)] == ["log.reopened"]


def test_where_no_new_file_can_be_made_the_old_one_goes_on(path: Path) -> None:
    log = LogFile(path, run="r7")
    moved = path.parent.with_name("moved")
    os.rename(path.parent, moved)
    log.reopen()
    log.write(line(1))
    log.close()
    os.rename(moved, path.parent)
    assert (numbers(path), events(path)[0]["data"]) == ([1], {"reason": "ENOENT"})


def test_a_rotation_that_died_half_way_is_taken_up(path: Path) -> None:
    LogFile(path, run="r7").close()
    os.rename(path, rotated_path(path, 1))  # and no new one yet
    Path(f"{path}.new").write_bytes(b"rubbish")
    log = LogFile(path, run="r7", rotate_size=20)
    for number in range(5):
        log.write(line(number))
    log.close()
    assert numbers(path) == list(range(5))
    assert not Path(f"{path}.new").exists()


def test_what_is_much_is_written_at_once(path: Path) -> None:
    log = LogFile(path, run="r7")
    log.write(line(1) * (sink.AT_ONCE // 10 + 1))
    assert (log.pending, path.stat().st_size > sink.AT_ONCE) == (0, True)
    assert (log.flush(), log.flush()) == (True, False), "told once that it grew"
    log.close()


def test_a_raw_copy_is_what_came(tmp_path: Path) -> None:
    copy = RawCopy(tmp_path / "raw" / "worker.1.stdout")
    assert not (tmp_path / "raw").exists(), "a silent stream has none"
    for chunk in (b"\x00\xff", b"\n\n", b"end"):
        assert copy.write(chunk)
    copy.close()
    again = RawCopy(tmp_path / "raw" / "worker.1.stdout")
    again.write(b"!")
    again.close()
    assert (tmp_path / "raw" / "worker.1.stdout").read_bytes() == b"\x00\xff\n\nend!"
    assert (tmp_path / "raw").stat().st_mode & 0o777 == 0o700


def test_what_a_raw_copy_lacks_is_counted(tmp_path: Path) -> None:
    copy = RawCopy(tmp_path / "raw" / "worker.1.stdout")
    with room(3):
        assert not copy.write(b"12345")
        assert not copy.write(b"678")
    assert (copy.lost, copy.reason) == (5, "EFBIG")
    assert copy.write(b"9")
    copy.close()
    assert (tmp_path / "raw" / "worker.1.stdout").read_bytes() == b"1239"
