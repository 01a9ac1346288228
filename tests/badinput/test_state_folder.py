"""State folders that cannot be used, or must not be changed: each says why, and nothing is lost."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.support.cli import orchestra

TRUE = 'version: 1\nname: demo\nprocesses: {a: {command: ["true"]}}\n'


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_with_other_things_in_it_is_not_closed_to_others(tmp_path: Path) -> None:
    """ORCHESTRA_HOME=/tmp by root must not make /tmp private."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "of-somebody").touch()
    (tmp_path / "orchestra.yaml").write_text(TRUE)
    answer = orchestra("up", home=shared, cwd=tmp_path)
    assert (answer.code, "other files" in answer.err) == (1, True), answer
    assert str(shared / "orchestra") in answer.err
    assert mode(shared) == 0o1777
    assert os.listdir(shared) == ["of-somebody"]


def test_an_empty_folder_and_our_own_are_made_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (tmp_path / "orchestra.yaml").write_text(TRUE)
    assert orchestra("up", home=home, cwd=tmp_path).code == 0
    assert mode(home) == 0o700
    home.chmod(0o755)
    assert orchestra("up", home=home, cwd=tmp_path).code == 0
    assert mode(home) == 0o700


def test_a_file_in_its_place_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "orchestra.yaml").write_text(TRUE)
    (tmp_path / "home").write_text("precious")
    for home in (tmp_path / "home", tmp_path / "home" / "deeper"):
        answer = orchestra("up", home=home, cwd=tmp_path)
        assert (answer.code, f"{tmp_path / 'home'} is not a folder" in answer.err) == (1, True), answer
    assert (tmp_path / "home").read_text() == "precious"
