"""From paths to places."""

from __future__ import annotations

from orchestra.topology.composer import compose
from orchestra.topology.marks import Marks, Path

TEXT = """version: 1
queues:
  jobs: { mode: 0o600, name: }
processes:
  a:
    command:
      - cat
      - dog
    uses: [jobs, log]
"""


def marks() -> Marks:
    root, _ = compose(TEXT.encode(), "x.yaml", "/w/f")
    assert root is not None
    return Marks(root)


def at(*path: str | int, key: bool = False) -> tuple[int, int]:
    place = marks().place(path, key=key)
    return place.line, place.column


def test_values_and_keys() -> None:
    assert at("version") == (1, 10)
    assert at("version", key=True) == (1, 1)
    assert at("queues", "jobs", "mode") == (3, 17)
    assert at("queues", "jobs", "mode", key=True) == (3, 11)


def test_a_mapping_a_list_and_nothing_are_shown_at_their_key() -> None:
    assert at("queues") == (2, 1)
    assert at("processes", "a", "command") == (6, 5)
    assert at("queues", "jobs", "name") == (3, 24)


def test_items_of_a_list_by_number_and_by_text() -> None:
    assert at("processes", "a", "command", 1) == (8, 9)
    assert at("processes", "a", "uses", "log") == (9, 18)


def test_parts_that_the_file_does_not_have_are_passed_over() -> None:
    assert at("queues", "jobs", "posix", "mode") == (3, 17)
    assert at("nothing", "here") == (1, 1)
    assert at("processes", "a", "command", 7) == (6, 5)
    assert at() == (1, 1)


def test_a_problem_has_everything() -> None:
    path: Path = ("queues", "jobs", "mode")
    problem = marks().problem(path, "code", "message", "help")
    assert (problem.file, problem.line, problem.column, problem.width) == ("x.yaml", 3, 17, 5)
    assert (problem.path, problem.excerpt) == ("queues.jobs.mode", "  jobs: { mode: 0o600, name: }")


def test_the_folder_of_a_part() -> None:
    assert marks().folder(("queues", "jobs")) == "/w/f"
