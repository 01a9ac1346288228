"""From pydantic's errors to findings: paths without its tags, and the help that fits the place."""

from __future__ import annotations

import pytest

from orchestra.topology.findings import contradictions, keys_of, model_at, path_of
from orchestra.topology.model import Process, Topology
from orchestra.topology.objectmodels import Fill, Ftok, PosixSegment, SysvQueue
from orchestra.topology.processmodels import Stop
from tests.support.topologies import load_text, problem_of, problems_of


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ((), ()),
        (("version",), ("version",)),
        (("queues", "a"), ("queues", "a")),
        (("queues", "a", "posix"), ("queues", "a")),
        (("queues", "a", "posix", "mode"), ("queues", "a", "mode")),
        (("queues", "a", "sysv", "key", "mapping", "path"), ("queues", "a", "key", "path")),
        (("queues", "a", "sysv", "key", "value"), ("queues", "a", "key")),
        (("segments", "a", "posix", "fill", "mapping", "value"), ("segments", "a", "fill", "value")),
        (("semaphores", "value", "sysv", "values", 1), ("semaphores", "value", "values", 1)),
        (("processes", "posix", "stop", "grace"), ("processes", "posix", "stop", "grace")),
        (("processes", "p", "environment", "A", "[key]"), ("processes", "p", "environment", "A")),
    ],
)
def test_paths(location: tuple[str | int, ...], path: tuple[str | int, ...]) -> None:
    assert path_of(location) == path


def test_the_model_of_a_place() -> None:
    places: list[tuple[tuple[str | int, ...], type]] = [
        ((), Topology),
        (("processes", "stop"), Process),
        (("processes", "p", "stop"), Stop),
        (("queues", "key", "sysv"), SysvQueue),
        (("queues", "q", "sysv", "key", "mapping"), Ftok),
        (("segments", "fill", "posix"), PosixSegment),
        (("segments", "s", "posix", "fill", "mapping"), Fill),
    ]
    assert [model_at(location)[0] for location, _ in places] == [model for _, model in places]


def test_keys_are_those_of_a_file() -> None:
    assert "$schema" in keys_of(Topology)
    assert not {"x-*", "schema_", "extensions"} & set(keys_of(Topology))


@pytest.mark.parametrize(
    ("text", "message", "help"),
    [
        ("queues: {q: {capacity: 9}}", "a POSIX queue has no `capacity`", "`max_messages` and `message_size`"),
        ("segments: {s: {size: 1, path: x}}", "a POSIX segment has no `path`", "`family: file` has a path"),
        ("segments: {s: {family: memfd, size: 1, mode: '600'}}", "a memfd has no `mode`", "It is nameless"),
        ("segments: {s: {family: file, path: x, size: 1, key: 3}}", "a mapped file has no `key`", "It has a `path:`."),
        ("queues: {q: {mod: '600'}}", "unknown key `mod`", "Did you mean `mode`?"),
        ("processes: {p: {command: [x], queues: }}", "unknown key `queues`", "top of the file"),
        ("depends_on: [x]", "unknown key `depends_on`", "belongs to a process"),
        ("processes: {p: {command: [x], stop: {sginal: TERM}}}", "unknown key `sginal`", "Did you mean `signal`?"),
        ("segments: {s: {size: 1, fill: {zzzzzzzz: 1, text: a}}}", "unknown key `zzzzzzzz`", "Keys here are text, hex"),
    ],
)
def test_an_unknown_key_gets_the_help_of_its_place(text: str, message: str, help: str) -> None:  # noqa: A002
    problem = next(item for item in problems_of(f"version: 1\n{text}\n") if item.code == "unknown_key")
    assert problem.message == message
    assert help in problem.help


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("processes: [a]", "Write `name:` lines below, without `-`."),
        ("processes: {p: cat}", "Write `command: […]` below the name of the process."),
        ("processes: {p: {command: [x], environment: [A=1]}}", "Write `NAME: value` lines, without `-` and `=`."),
        ("queues: [a]", ""),
    ],
)
def test_the_form_that_was_expected(text: str, help: str) -> None:  # noqa: A002
    problem = problem_of(f"version: 1\n{text}\n")
    assert (problem.code, problem.help) == ("wrong_type", help)
    assert problem.message.startswith("expected a mapping")


def test_a_contradiction_is_found_beside_a_wrong_value() -> None:
    found = problems_of("version: 1\nqueues: {a: {external: true, mode: 600, owner: root}}\n")
    assert [problem.path for problem in found] == ["queues.a.external", "queues.a.mode", "queues.a.owner"]


@pytest.mark.parametrize(
    "text", ["queues: 3", "queues: {a: 3}", "queues: {a: {family: x}}", "queues: {a: {family: []}}"]
)
def test_contradictions_are_not_looked_for_in_what_is_no_object(text: str) -> None:
    marks = load_text("version: 1\n").marks
    assert contradictions(marks) == []
    assert len(problems_of(f"version: 1\n{text}\n")) == 1


def test_what_was_reported_already_is_not_reported_again() -> None:
    assert problem_of("version: 1\nqueues: {a: {family: !x posix}}\n").code == "tag"
    assert problem_of("version: 1\nprocesses: {a: {command: ['${nothing}']}}\n").code == "undefined_variable"
    assert problem_of("version: 1\nprocesses: {a: {command: [x], success: []}}\n").message == "the list is empty"
