"""What a caller may hand to `orchestra`: closed descriptors, a removed folder, names that are no text."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cli import Answer, child_environment, orchestra

TRUE = 'version: 1\nname: demo\nprocesses: {a: {command: ["true"]}}\n'
NOT_TEXT = os.fsdecode(b"caf\xe9")  # Latin-1


def in_shell(script: str, home: Path, folder: Path) -> Answer:
    """Run a shell script in which `$O` is orchestra."""
    done = subprocess.run(
        ["/bin/sh", "-c", script.replace("$O", f"{sys.executable} -m orchestra")],
        cwd=folder, env=child_environment(home), stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    return Answer(done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))


def check_refused(answer: Answer, code: int, words: str) -> None:
    """One plain error, and nothing that says it is a defect."""
    assert (answer.code, words in answer.err) == (code, True), answer
    assert "Traceback" not in answer.err
    assert "foresee" not in answer.err


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["up orchestra.yaml", "audit", "--version"])
def test_closed_descriptors_change_no_result(command: str, closed: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "orchestra.yaml").write_text(TRUE)
    answer = in_shell(f"$O {command} {closed}", home, tmp_path)
    assert (answer.code, "Traceback" in answer.err) == (0, False), answer


@pytest.mark.parametrize("command", ["up", "up ../orchestra.yaml", "validate", "config x.yaml"])
def test_the_current_folder_was_removed(command: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "orchestra.yaml").write_text(TRUE)
    answer = in_shell(f"mkdir gone && cd gone && rmdir ../gone && $O {command}", home, tmp_path)
    check_refused(answer, 2, "the current folder")


def test_what_needs_no_folder_works_where_there_is_none(home: Path, tmp_path: Path) -> None:
    (tmp_path / "orchestra.yaml").write_text(TRUE)
    assert orchestra("up", home=home, cwd=tmp_path).code == 0
    for command in ("ls", "ps demo", "logs demo", "down demo"):
        answer = in_shell(f"mkdir gone && cd gone && rmdir ../gone && $O {command}", home, tmp_path)
        assert answer.code == 0, answer


def named_file(folder: Path) -> list[str]:
    (folder / f"{NOT_TEXT}.yaml").write_text(TRUE)
    return [f"{NOT_TEXT}.yaml"]


def named_folder(folder: Path) -> list[str]:
    (folder / NOT_TEXT).mkdir()
    (folder / NOT_TEXT / "orchestra.yaml").write_text(TRUE)
    return [f"{NOT_TEXT}/"]


@pytest.mark.parametrize("make", [named_file, named_folder])
@pytest.mark.parametrize("command", ["up", "plan"])
def test_a_path_that_is_no_text_is_refused_by_name(
    command: str, make: Callable[[Path], list[str]], home: Path, tmp_path: Path
) -> None:
    answer = in_shell(f"$O {command} {make(tmp_path)[0]}", home, tmp_path)
    check_refused(answer, 2, "is not UTF-8")
    assert not (home / "ledger.db").exists()


def test_a_state_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "orchestra.yaml").write_text(TRUE)
    for command in ("up", "ls"):
        answer = orchestra(command, home=tmp_path / NOT_TEXT, cwd=tmp_path)
        check_refused(answer, 1, "is not UTF-8")


def test_an_object_whose_path_is_no_text_is_refused(home: Path, tmp_path: Path) -> None:
    segment = "variables: {where: null}\nsegments: {s: {family: file, size: 5, path: '${where}'}}\n"
    (tmp_path / "orchestra.yaml").write_text(segment + TRUE)
    answer = orchestra("up", "--set", f"where={tmp_path}/{NOT_TEXT}", home=home, cwd=tmp_path)
    check_refused(answer, 2, "is not UTF-8")
    assert not (tmp_path / NOT_TEXT).exists()
