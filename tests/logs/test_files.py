"""The files of one log: which there are, in which order, and what a reader holds while the writer rotates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestra.logs import files
from orchestra.logs.files import Segment, open_next, open_snapshot, read_blocks, rotated_path, segments_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


@contextmanager
def opened(path: Path) -> Iterator[list[Segment]]:
    with open_snapshot(path) as log:
        found = [log.open(index) for index in range(len(log))]
    segments = [segment for segment in found if segment is not None]
    try:
        yield segments
    finally:
        for segment in segments:
            segment.close()


def text(segments: list[Segment]) -> bytes:
    return b"".join([block for segment in segments for block in read_blocks(segment, size=3)])


def rotate(path: Path, number: int, text: bytes = b"") -> None:
    os.rename(path, rotated_path(path, number))
    path.write_bytes(text)


def test_the_oldest_comes_first_and_the_current_one_last(path: Path) -> None:
    for number in (1000000, 2, 999999, 10):
        Path(rotated_path(path, number)).write_bytes(b"%d " % number)
    path.write_bytes(b"now")
    assert segments_of(path) == [
        f"{path}.000002", f"{path}.000010", f"{path}.999999", f"{path}.1000000", str(path)
    ]  # fmt: skip
    with opened(path) as segments:
        assert text(segments) == b"2 10 999999 1000000 now"
        assert [segment.number for segment in segments] == [2, 10, 999999, 1000000, 1000001]


def test_files_of_other_names_are_not_part_of_it(path: Path) -> None:
    for name in ("log.jsonl.1", "log.jsonl.00001", "log.jsonl.0000001", "log.jsonl.000001.gz", "log.jsonl.new", "a"):
        path.with_name(name).write_bytes(b"x")
    assert segments_of(path) == []
    assert len(open_snapshot(path)) == 0


def test_without_a_folder_there_is_no_log(path: Path) -> None:
    assert len(open_snapshot(path / "deeper")) == 0
    assert segments_of(path / "deeper") == []


def test_the_current_one_may_be_missing_for_a_moment(path: Path) -> None:
    Path(rotated_path(path, 4)).write_bytes(b"four")
    assert segments_of(path) == [f"{path}.000004"]
    with opened(path) as segments:
        assert text(segments) == b"four"


def test_a_rotation_between_two_looks_shows_nothing_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"one")
    listed = files.rotated_numbers

    looks = iter([1, 2])

    def rotated_before_the_second_look(where: Path) -> list[int]:
        if next(looks) == 2:
            rotate(path, 1, b"two")
            rotate(path, 2, b"three")
        return listed(where)

    monkeypatch.setattr(files, "rotated_numbers", rotated_before_the_second_look)
    with opened(path) as segments:
        assert text(segments) == b"one"


def test_a_file_dropped_between_two_looks_is_left_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"now")
    monkeypatch.setattr(files, "rotated_numbers", lambda _: [1, 2])
    Path(rotated_path(path, 2)).write_bytes(b"two ")
    with opened(path) as segments:
        assert text(segments) == b"two now"


def follow(path: Path, last: Segment) -> tuple[bytes, Segment] | None:
    following = open_next(path, last)
    if following is None:
        return None
    return text([following]), following


def test_what_follows_is_found_through_rotations(path: Path) -> None:
    path.write_bytes(b"one")
    with opened(path) as (current,):
        assert open_next(path, current) is None
        rotate(path, 1, b"two")
        found = follow(path, current)
        assert found is not None
        assert found[0] == b"two"
        rotate(path, 2, b"three")
        rotate(path, 3, b"four")
        assert open_next(path, found[1]) is not None
        third = follow(path, found[1])
        assert third is not None
        assert third[0] == b"three"
        fourth = follow(path, third[1])
        assert fourth is not None
        assert (fourth[0], fourth[1].number, open_next(path, fourth[1])) == (b"four", 4, None)
        late = follow(path, current)
        assert late is not None
        assert late[0] == b"two", "the next one, not the newest"


def test_dropped_files_are_passed_over(path: Path) -> None:
    path.write_bytes(b"one")
    with opened(path) as (current,):
        for number in range(1, 5):
            rotate(path, number, b"%d" % (number + 1))
        for number in (1, 2):
            os.unlink(rotated_path(path, number))
        found = follow(path, current)
        assert found is not None
        assert found[0] == b"3"


def test_a_file_that_logrotate_renamed_is_followed_by_the_new_one(path: Path) -> None:
    path.write_bytes(b"one")
    with opened(path) as (current,):
        os.rename(path, f"{path}.1")
        assert open_next(path, current) is None
        path.write_bytes(b"two")
        found = follow(path, current)
        assert found is not None
        assert found[0] == b"two"


def test_no_next_one_while_the_writer_is_between_its_two_steps(path: Path) -> None:
    path.write_bytes(b"one")
    with opened(path) as (current,):
        os.rename(path, rotated_path(path, 1))
        assert open_next(path, current) is None
