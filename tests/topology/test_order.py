"""What waits for what: the words of errors are in the corpus, here are warnings, circles and the logic."""

from __future__ import annotations

import pytest

from orchestra.topology.order import find_cycles
from tests.support.topologies import load_text, problems_of


def warnings(processes: str, objects: str = "") -> list[str]:
    loaded = load_text(f"version: 1\n{objects}processes:\n{processes}")
    return [problem.message for problem in loaded.warnings if problem.code in ("endless", "pointless")]


@pytest.mark.parametrize(
    ("graph", "cycles"),
    [
        ({}, []),
        ({"a": ["b"], "b": []}, []),
        ({"a": ["a"]}, [["a"]]),
        ({"a": ["b"], "b": ["a"]}, [["a", "b"]]),
        ({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}, [["a", "b", "c"]]),
        ({"b": ["a"], "a": ["b"]}, [["b", "a"]]),
        ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, []),
        ({"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}, [["a", "b"], ["c", "d"]]),
        ({"a": ["b", "c"], "b": ["a"], "c": ["a"]}, [["a", "b"]]),
    ],
)
def test_cycles(graph: dict[str, list[str]], cycles: list[list[str]]) -> None:
    assert find_cycles(graph) == cycles


def test_a_long_chain_is_no_problem_for_the_stack() -> None:
    graph = {f"n{n}": [f"n{n + 1}"] for n in range(50_000)}
    graph["n50000"] = ["n0"]
    assert [len(cycle) for cycle in find_cycles(graph)] == [50_001]


def test_a_process_that_always_restarts_keeps_the_run_from_ending() -> None:
    found = warnings("  a: {command: [x], restart: always}\n  b: {command: [x], restart: always, service: true}\n")
    assert found == ["`a` is started again also when it succeeds: the run does not end by itself"]


def test_waiting_for_what_nobody_starts() -> None:
    text = "  a: {command: [x], autostart: false}\n  b: {command: [x], depends_on: [a]}\n"
    assert warnings(text) == ["`b` waits for `a`, which starts only when it is asked for"]
    assert warnings(text + "  c: {command: [x], depends_on: [a], autostart: false}\n") == warnings(text)


def test_an_object_of_ours_always_exists() -> None:
    objects = "queues: {q: , made: {name: /orct.m, made_by: b}}\n"
    text = "  a: {command: [x], uses: [q], wait_for: {q: {exists: true}, made: {exists: true}}}\n"
    text += "  b: {command: [x], uses: [q], ready: {exists: made}}\n"
    assert warnings(text, objects) == ["`q` is made before any process starts, so it always exists"]


@pytest.mark.parametrize(
    ("ready", "is_odd"),
    [("tcp: 80", True), ("unix: ./s", True), ("unix: 'run/${replica}'", False), ("notify: true", False)],
)
def test_one_port_for_several_replicas(ready: str, is_odd: bool) -> None:
    found = warnings(f"  a: {{command: [x], replicas: 3, ready: {{{ready}}}}}\n")
    assert found == ["3 replicas are ready as soon as one of them is"] * is_odd
    assert warnings(f"  a: {{command: [x], ready: {{{ready}}}}}\n") == []


def test_one_standard_input_for_several() -> None:
    assert warnings("  a: {command: [x], stdin: inherit}\n") == []
    found = warnings("  a: {command: [x], stdin: inherit}\n  b: {command: [x], stdin: inherit}\n")
    assert found == ["2 processes read the same standard input: each line goes to one of them"]
    found = warnings("  a: {command: [x], stdin: inherit, replicas: 3}\n")
    assert found == ["3 replicas read the same standard input: each line goes to one of them"]


def test_the_maker_of_an_object_is_waited_for() -> None:
    text = """version: 1
queues: { q: { name: /orct.q, made_by: a } }
processes:
  a: { command: [x], depends_on: [b] }
  b: { command: [x], uses: { q: read } }
"""
    assert [(item.code, item.message) for item in problems_of(text)] == [
        ("cycle", "these processes wait for each other: a → b → a")
    ]
    assert problems_of(text.replace("uses: { q: read }", "replicas: 1")) == []


def test_a_maker_may_use_what_it_makes() -> None:
    text = "version: 1\nqueues: {q: {name: /orct.q, made_by: a}}\nprocesses: {a: {command: [x], uses: [q]}}\n"
    assert problems_of(text) == []
    assert [item.message for item in load_text(text).warnings] == []


@pytest.mark.parametrize(
    ("uses", "fd", "is_free"),
    [
        ("[]", 3, True),
        ("[q]", 3, False),
        ("[q]", 4, True),
        ("[s]", 3, True),
        ("[t, q]", 3, False),
        ("[made, q]", 4, True),
    ],
)
def test_the_descriptor_of_ready_is_none_of_an_object(uses: str, fd: int, is_free: bool) -> None:
    text = f"""version: 1
queues: {{q: , t: {{family: sysv}}, made: {{name: /orct.m, made_by: a}}}}
semaphores: {{s: }}
processes: {{a: {{command: [x], uses: {uses}, ready: {{fd: {fd}}}}}}}
"""
    assert (problems_of(text) == []) == is_free


@pytest.mark.parametrize(
    ("condition", "is_fine"),
    [
        ("q: {messages: {min: 10}}", True), ("q: {messages: 11}", False), ("v: {messages: 11}", True),
        ("theirs: {messages: 999}", True), ("set: {value: {index: 1, min: 1}}", True), ("set: {value: 1}", False),
        ("one: {value: 1}", True), ("made: {value: {index: 7, min: 1}}", True), ("made: {exists: false}", True),
        ("q: {exists: false}", True), ("t: {exists: false}", True),  # a process may remove it
        ("s: {value: {min: 40000}}", True), ("t: {attached: 3}", True), ("a: {blocked_on: set}", True),
    ],
)  # fmt: skip
def test_conditions_that_can_and_cannot_be(condition: str, is_fine: bool) -> None:
    text = f"""version: 1
queues: {{q: , v: {{family: sysv}}, theirs: {{name: /orct.t, external: true}}}}
segments: {{t: {{size: 1}}}}
semaphores: {{s: , set: {{family: sysv, values: [1, 2]}}, one: {{family: sysv}},
  made: {{family: sysv, key: 9, made_by: a}}}}
processes: {{a: {{command: [x]}}, b: {{command: [x], wait_for: {{{condition}}}}}}}
"""
    assert (problems_of(text) == []) == is_fine
