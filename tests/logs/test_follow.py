"""Following a log: every whole line once, in order, whatever rotation does to its files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestra.logs.files import open_snapshot, rotated_numbers, rotated_path
from orchestra.logs.follow import Follower, end_of_lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


@pytest.fixture
def follower(path: Path) -> Iterator[Follower]:
    with Follower(path) as made:
        yield made


def append(path: Path, text: bytes) -> None:
    with path.open("ab", buffering=0) as log:
        log.write(text)


def rotate(path: Path) -> None:
    os.rename(path, rotated_path(path, max(rotated_numbers(path), default=0) + 1))


def test_whole_lines_as_they_come(path: Path, follower: Follower) -> None:
    assert follower.read() == b""
    assert follower.file is None
    append(path, b"one\ntwo\nthr")
    assert follower.read() == b"one\ntwo\n"
    assert follower.read() == b""
    append(path, b"ee\r\x85\n")
    assert follower.read() == b"three\r\x85\n"
    assert follower.files == 1


def test_a_little_at_a_time_and_lines_of_any_length(path: Path, follower: Follower) -> None:
    lines = [b"%d" % n * (n % 50) + b"\n" for n in range(500)] + [b"x" * 5000 + b"\n"]
    path.write_bytes(b"".join(lines))
    found = list(iter(lambda: follower.read(limit=100), b""))
    assert b"".join(found) == b"".join(lines)
    assert all(part.endswith(b"\n") for part in found)
    assert len(found) > 100


def test_it_begins_with_the_oldest_file(path: Path, follower: Follower) -> None:
    for number in (7, 8):
        append(Path(rotated_path(path, number)), b"%d\n" % number)
    append(path, b"now\n")
    assert [follower.read() for _ in range(4)] == [b"7\n", b"8\n", b"now\n", b""]
    assert follower.files == 3


def test_what_was_written_just_before_a_rotation_is_read_before_what_came_after(path: Path, follower: Follower) -> None:
    append(path, b"one\n")
    assert follower.read() == b"one\n"
    append(path, b"two\n")
    rotate(path)
    assert follower.read() == b"two\n"
    assert follower.read() == b""  # for a moment there is no log.jsonl
    append(path, b"three\n")
    rotate(path)
    append(path, b"four\n")
    assert [follower.read() for _ in range(3)] == [b"three\n", b"four\n", b""]


def test_files_that_were_dropped_are_skipped_but_not_the_one_that_is_open(path: Path, follower: Follower) -> None:
    append(path, b"one\n")
    assert follower.read() == b"one\n"
    append(path, b"two\n")
    for text in (b"three\n", b"four\n", b"five\n"):
        rotate(path)
        append(path, text)
    for number in (1, 2):
        os.unlink(rotated_path(path, number))
    assert [follower.read() for _ in range(4)] == [b"two\n", b"four\n", b"five\n", b""]


def test_a_file_that_somebody_moved_away_is_read_to_its_end(path: Path, follower: Follower) -> None:
    append(Path(rotated_path(path, 1)), b"zero\n")
    append(path, b"one\n")
    assert [follower.read(), follower.read()] == [b"zero\n", b"one\n"]
    append(path, b"two\n")
    os.rename(path, path.with_name("elsewhere"))
    append(path, b"three\n")
    assert [follower.read() for _ in range(3)] == [b"two\n", b"three\n", b""]


def test_files_that_were_dropped_unread_are_counted(path: Path, follower: Follower) -> None:
    append(path, b"one\n")
    assert follower.read() == b"one\n"
    for text in (b"two\n", b"three\n", b"four\n", b"five\n"):
        rotate(path)
        append(path, text)
    assert (follower.read(), follower.missed) == (b"two\n", 0)
    for number in (1, 2, 3):
        os.unlink(rotated_path(path, number))
    assert [follower.read() for _ in range(3)] == [b"four\n", b"five\n", b""]
    assert follower.missed == 1, "the file of `three`"


def test_a_file_that_others_made_waits_for_its_writer(path: Path, follower: Follower) -> None:
    """`create` of logrotate: until the writer has heard of it, it goes on in the file that was moved away."""
    append(path, b"one\n")
    assert follower.read() == b"one\n"
    for name in ("moved", "moved again"):
        elsewhere = path.with_name("moved")
        os.rename(path, path.with_name(name))
        path.touch()
        assert follower.read() == b""
        append(elsewhere, b"late\n")
        assert follower.read() == b"late\n"
    append(elsewhere, b"last\n")
    append(path, b"two\n")
    assert [follower.read() for _ in range(3)] == [b"last\n", b"two\n", b""]


def test_a_file_that_was_cut_off_is_read_from_its_beginning(path: Path, follower: Follower) -> None:
    """`copytruncate` of logrotate."""
    append(path, b"one\ntwo\n")
    assert follower.read() == b"one\ntwo\n"
    os.truncate(path, 0)
    assert follower.read() == b""
    append(path, b"three\n")
    assert [follower.read(), follower.read()] == [b"three\n", b""]


def test_after_a_snapshot_comes_what_was_not_whole_then(path: Path) -> None:
    append(path, b"one\ntwo\nthr")
    with open_snapshot(path) as log:
        append(path, b"ee\n")
        rotate(path)
        append(path, b"four\n")
        follower = Follower.after(path, log)
    with follower:
        assert [follower.read() for _ in range(3)] == [b"three\n", b"four\n", b""]


def test_after_an_empty_snapshot_comes_everything(path: Path) -> None:
    with open_snapshot(path) as log:
        follower = Follower.after(path, log)
    with follower:
        append(path, b"one\n")
        assert follower.read() == b"one\n"


def test_the_end_of_the_last_whole_line(path: Path) -> None:
    for text, end in ((b"", 0), (b"no end", 0), (b"one\n", 4), (b"one\nrest", 4), (b"\n" + b"x" * 9999, 1)):
        path.write_bytes(text)
        with path.open("rb") as log:
            assert end_of_lines(log.fileno(), len(text)) == end


class Rotation(RuleBasedStateMachine):
    """A writer that writes lines, in parts, and rotates between two of them; a reader that reads now and then."""

    def __init__(self) -> None:
        super().__init__()
        from tempfile import TemporaryDirectory

        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name, "log.jsonl")
        self.written = b""
        self.found = b""
        self.follower = Follower(self.path)

    @rule(text=st.binary(min_size=1, max_size=12))
    def write(self, text: bytes) -> None:
        append(self.path, text)
        self.written += text

    @precondition(lambda self: self.path.exists() and self.written.endswith(b"\n"))
    @rule()
    def rotate(self) -> None:
        rotate(self.path)

    @rule(limit=st.integers(1, 20))
    def read(self, limit: int) -> None:
        self.found += self.follower.read(limit)

    @rule()
    def begin_anew_in_the_middle(self) -> None:
        while more := self.follower.read():
            self.found += more
        self.follower.close()
        with open_snapshot(self.path) as log:
            self.follower = Follower.after(self.path, log)

    @invariant()
    def all_of_it_and_nothing_twice(self) -> None:
        assert self.written.startswith(self.found)

    def teardown(self) -> None:
        while more := self.follower.read():
            self.found += more
        self.follower.close()
        self.folder.cleanup()
        assert self.found == self.written[: self.written.rfind(b"\n") + 1]


TestRotation = Rotation.TestCase
