"""Loading as a whole: what cannot be read, what one pass finds, what a caller gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestra.errors import TopologyError
from orchestra.topology.loader import load
from tests.support.topologies import load_text, partly, problem_of, problems_of


def test_a_real_file(tmp_path: Path) -> None:
    file = tmp_path / "ring.orchestra.yaml"
    file.write_text("version: 1\nqueues: {jobs: }\n")
    loaded = load(str(file), environment={}, cwd="/")
    assert (loaded.file, loaded.folder, loaded.topology.name) == (str(file), str(tmp_path), "ring")
    assert [warning.code for warning in loaded.warnings] == ["unused"]
    relative = load(file.name, environment={}, cwd=str(tmp_path))
    assert relative.file == str(file)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("version: 1\n")
    for name, words in (("none.yaml", "there is no such file"), (".", "this is a folder"), ("a\0b", "this is no path")):
        with pytest.raises(TopologyError) as caught:
            load(name, environment={}, cwd=str(tmp_path))
        problem = caught.value.problems[0]
        assert (problem.code, problem.line) == ("unreadable", 0)
        assert words in problem.message


def test_no_permission() -> None:
    def read(path: str) -> bytes:
        raise PermissionError(13, "Permission denied", path)

    with pytest.raises(TopologyError) as caught:
        load("x.yaml", environment={}, cwd="/", read=read)
    assert caught.value.problems[0].message == "no permission to read it"


def test_findings_come_in_the_order_of_the_file_and_once() -> None:
    problems = problems_of("version: 2\nqueues: {a: {mode: 600, mode: 600}}\nnmae: x\n")
    assert [problem.line for problem in problems] == [1, 2, 2, 3]


def test_of_thousands_of_slips_the_first_get_help() -> None:
    objects = "".join(f"  object-{number}: \n" for number in range(1000))
    uses = "".join(f"      objcet-{number}: read\n" for number in range(2000))
    text = f"version: 1\nqueues:\n{objects}processes:\n  p:\n    command: [cat]\n    uses:\n{uses}"
    problems = problems_of(text)
    assert len(problems) == 2000
    assert [problem.help for problem in problems[:20]] == [f"Did you mean `object-{number}`?" for number in range(20)]
    assert problems[-1].help == ""


USER = "processes: {p: {command: [cat, '${queues.a.name}'], uses: {a: read-write}}}\n"


def test_an_error_inside_an_object_does_not_make_its_users_wrong() -> None:
    text = "version: 1\nqueues: {a: {mode: 600}}\n" + USER
    assert problem_of(text).code == "bad_mode"


def test_a_wrong_family_leaves_its_users_alone() -> None:
    text = "version: 1\nqueues: {a: {family: amqp}}\n" + USER
    assert problem_of(text).path == "queues.a.family"


def test_no_warnings_beside_errors() -> None:
    with pytest.raises(TopologyError) as caught:
        load_text("version: 1\nqueues: {a: {mode: 600}}\n")
    assert caught.value.warnings == []


def test_what_is_valid_beside_errors() -> None:
    loaded = partly("version: 1\nqueues: {a: , b: {mode: 600}, c: {family: x}}\nprocesses: {p: {comand: x}}\n")
    assert list(loaded.topology.queues) == ["a", "b"]
    assert list(loaded.topology.processes) == ["p"]
    assert loaded.broken == {("queues", "b"), ("queues", "c"), ("processes", "p")}


def test_importing_the_loader_loads_no_more_than_it_needs() -> None:
    """Start-up is part of every command: the loader may cost pydantic and yaml, nothing else that is slow."""
    code = "import sys, orchestra.topology.rules, orchestra.topology.compile; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    unwanted = {
        "jsonschema",
        "structlog",
        "typer",
        "sqlite3",
        "asyncio",
        "difflib",
        "orchestra.topology.schema",
        "http",
    }
    assert unwanted.isdisjoint(loaded)
