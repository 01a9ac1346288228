"""A name that is moved aside comes back, whatever happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.kernel import aside


@pytest.fixture
def path(ipc_name: Callable[[], str]) -> Iterator[str]:
    path = f"/dev/shm{ipc_name()}"
    Path(path).write_text("x")
    yield path
    Path(path).unlink(missing_ok=True)


def test_there_and_back(path: str) -> None:
    moved = aside.move(path)
    assert moved is not None
    assert os.path.dirname(moved) == "/dev/shm"
    assert aside.original(moved) == path
    assert not os.path.exists(path)
    assert aside.put_back(moved)
    assert Path(path).read_text() == "x"
    assert not aside.put_back(moved), "there is nothing any more"


def test_another_object_keeps_the_name_it_was_given_meanwhile(path: str) -> None:
    moved = aside.move(path)
    assert moved is not None
    Path(path).write_text("other")
    try:
        assert not aside.put_back(moved)
        assert aside.put_back_all() == []
        assert Path(path).read_text() == "other"
        assert Path(moved).read_text() == "x"
    finally:
        os.unlink(moved)


def test_what_somebody_holds_may_be_a_removal_under_way(path: str) -> None:
    moved = aside.move(path)
    assert moved is not None
    with open(moved):
        assert path not in aside.put_back_all()
        assert os.path.exists(moved)
    assert path in aside.put_back_all()
    assert os.path.exists(path)


def test_names_too_long_and_files_that_are_gone(path: str, tmp_path: Path) -> None:
    (tmp_path / ("n" * 250)).touch()
    assert aside.move(str(tmp_path / ("n" * 250))) is None
    with pytest.raises(FileNotFoundError):
        aside.move(path + ".none")
    assert aside.put_back_all(str(tmp_path / "none")) == []


@given(st.text(min_size=1))
def test_only_a_moved_name_has_an_original(name: str) -> None:
    assert aside.original(f"{name}~orchestra.0123abcd") == name
    assert aside.original(f"{name}~orchestra.0123abc") in (None, aside.original(name))
    assert aside.original("~orchestra.0123abcd") is None
