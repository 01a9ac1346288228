"""Finding a moment: everything that is late enough comes after the place, and little else does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.logs.encode import text_of
from orchestra.logs.files import open_snapshot, rotated_path
from orchestra.logs.seek import offset_at, start_of

MAGIC = 1_700_000_000


def line(second: int, length: int = 60) -> bytes:
    return f'{{"timestamp":"{stamp(second)}","message":"{"x" * length}"}}\n'.encode()


def stamp(second: int) -> str:
    return text_of((MAGIC + second) * 1_000_000_000)


def written(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(lines))
    return path


@pytest.mark.parametrize("second", [0, 1, 777, 4999, 9_999])
def test_only_older_lines_come_before(tmp_path: Path, second: int) -> None:
    path = written(tmp_path / "log", [line(n) for n in range(10_000)])
    offset = offset_at(path, stamp(second))
    size = len(line(0))
    assert offset % size == 0
    assert second * size - 64 * 1024 <= offset <= second * size


def test_a_moment_before_and_after_everything(tmp_path: Path) -> None:
    path = written(tmp_path / "log", [line(n) for n in range(10_000)])
    assert offset_at(path, stamp(-5)) == 0
    assert path.stat().st_size - 64 * 1024 - len(line(0)) <= offset_at(path, stamp(99_999)) <= path.stat().st_size


def test_long_lines_torn_lines_and_an_empty_file(tmp_path: Path) -> None:
    lines = [
        line(1, 200_000),
        b'{"timest\n',
        b"\n",
        line(2, 200_000),
        b"no record\n" * 9_000,
        line(3),
        b'{"timestamp":"2',
    ]
    path = written(tmp_path / "log", lines)
    assert offset_at(path, stamp(1)) == 0
    assert offset_at(path, stamp(2)) in {0, path.read_bytes().index(line(2, 200_000))}
    assert offset_at(path, stamp(3)) <= path.read_bytes().index(line(3))
    assert offset_at(written(tmp_path / "empty", []), stamp(1)) == 0


@given(
    gaps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9_000)), max_size=60),
    wanted=st.integers(-1, 120),
)
def test_no_line_that_is_late_enough_is_missed(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[tuple[int, int]], wanted: int
) -> None:
    lines: list[bytes] = []
    second, first = 0, None
    for gap, length in gaps:
        second += gap
        if second >= wanted and first is None:
            first = len(b"".join(lines))
        lines.append(line(second, length))
    path = written(tmp_path_factory.getbasetemp() / "any", lines)
    offset = offset_at(path, stamp(wanted))
    assert offset in [len(b"".join(lines[:n])) for n in range(len(lines) + 1)]
    assert first is None or offset <= first


@pytest.mark.parametrize("second", [0, 5, 50, 51, 99, 100])
def test_the_right_file_of_many(tmp_path: Path, second: int) -> None:
    path = tmp_path / "log.jsonl"
    for number in range(1, 11):
        written(Path(rotated_path(path, number)), [line(n) for n in range((number - 1) * 10, number * 10)])
    written(path, [])
    with open_snapshot(path) as log:
        index, offset = start_of(log, stamp(second))
    assert offset == 0
    assert index == max(0, (second - 1) // 10), "the last file that begins with an older line"


def test_nothing_at_all(tmp_path: Path) -> None:
    assert start_of(open_snapshot(tmp_path / "log.jsonl"), stamp(0)) == (0, 0)


def test_files_dropped_while_it_looks(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for number in range(1, 11):
        written(Path(rotated_path(path, number)), [line(number)])
    with open_snapshot(path) as log:
        for number in range(1, 9):
            Path(rotated_path(path, number)).unlink()
        assert start_of(log, stamp(9)) == (7, 0)
        assert start_of(log, stamp(10)) == (8, 0)
