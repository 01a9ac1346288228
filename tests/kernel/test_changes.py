"""Hearing of a file that grows."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.kernel.changes import Changes


@pytest.fixture
def changes(tmp_path: Path) -> Iterator[Changes]:
    with Changes(str(tmp_path)) as made:
        yield made


def told(changes: Changes) -> bool:
    """Whether something happened since this was asked last."""
    ready = bool(select.select([changes], [], [], 0)[0])
    changes.take()
    return ready


def test_a_file_that_is_made_or_moved_in_is_told(tmp_path: Path, changes: Changes) -> None:
    assert not told(changes)
    (tmp_path / "log").touch()
    assert told(changes)
    (tmp_path / "log").rename(tmp_path / "other")
    assert told(changes)
    (tmp_path / "other").unlink()
    assert not told(changes)


def test_what_is_written_to_one_file_is_told_and_not_to_others(tmp_path: Path, changes: Changes) -> None:
    one, two = ((tmp_path / name).open("wb", buffering=0) for name in ("one", "two"))
    with one, two:
        changes.watch(one.fileno())
        told(changes)
        two.write(b"x")
        assert not told(changes)
        (tmp_path / "one").rename(tmp_path / "one.1")
        told(changes)
        one.write(b"x" * 100)
        one.write(b"y")
        assert told(changes)
        assert not told(changes)
        changes.watch(two.fileno())
        told(changes)
        one.write(b"x")
        assert not told(changes)
        two.write(b"x")
        assert told(changes)
        changes.watch(None)
        told(changes)
        two.write(b"x")
        assert not told(changes)


def test_watching_the_same_file_twice_and_one_that_was_removed(tmp_path: Path, changes: Changes) -> None:
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as log, (tmp_path / "next").open("wb", buffering=0) as following:
        changes.watch(log.fileno())
        changes.watch(log.fileno())
        told(changes)
        log.write(b"x")
        assert told(changes)
        path.unlink()
        log.close()
        changes.watch(following.fileno())
        told(changes)
        following.write(b"x")
        assert told(changes)


def test_no_folder_and_no_file_are_errors_and_nothing_stays_open(tmp_path: Path, changes: Changes) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Changes(str(tmp_path / "none"))
    with pytest.raises(OSError) as caught:
        changes.watch(9999)
    assert caught.value.errno == errno.ENOENT
    assert len(os.listdir("/proc/self/fd")) == before
