"""`${…}`: order of the sources, defaults, escapes, what stays until launch."""

from __future__ import annotations

import pytest

from orchestra.bindings import Placeholder
from orchestra.topology.interpolation import Expanded, Scope, Unresolved, expand
from orchestra.topology.model import Process
from orchestra.topology.nodes import Scalar, Source
from orchestra.topology.processmodels import StdinFile
from tests.support.topologies import load_text, problem_of, problems_of


def scope(given: dict[str, str] | None = None, **variables: str) -> Scope:
    source = Source("x.yaml", "/w", "")
    declared = {name: Scalar(source, 1, 1, 1, text, plain=False) for name, text in variables.items()}
    return Scope(given or {}, declared, {"HOME": "/root", "rate": "from the environment", "EMPTY": ""}, "/here")


def text_of(text: str, given: dict[str, str] | None = None, **variables: str) -> str:
    return "".join(str(part) for part in expand(text, scope(given, **variables), late=False).parts)


def test_set_wins_over_variables_and_those_over_the_environment() -> None:
    assert text_of("${rate}", {"rate": "1"}, rate="2") == "1"
    assert text_of("${rate}", rate="2") == "2"
    assert text_of("${rate}") == "from the environment"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("a${HOME}b", "a/rootb"),
        ("${no:-x}", "x"),
        ("${EMPTY:-x}", "x"),
        ("${HOME:-x}", "/root"),
        ("${no:-${HOME}/y}", "/root/y"),
        ("${no:-}", ""),
        ("${HOME:?must}", "/root"),
        ("$${HOME}", "${HOME}"),
        ("$$${HOME}", "$${HOME}"),
        ("$HOME $ $$ {x}", "$HOME $ $$ {x}"),
        ("${cwd}/x", "/here/x"),
        ("${EMPTY}", ""),
    ],
)
def test_forms(text: str, result: str) -> None:
    assert text_of(text) == result


def test_values_are_not_read_again() -> None:
    assert text_of("${x}", {"x": "${HOME}"}) == "${HOME}"


def test_variables_may_use_each_other() -> None:
    assert text_of("${a}", a="${b}/x", b="${HOME}") == "/root/x"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("${nope}", "undefined_variable", "`nope` is not defined"),
        ("${a}", "undefined_variable", "the variable `a` needs its own value: a → b → a"),
        ("${no:?say it}", "undefined_variable", "say it"),
        ("${no:?}", "undefined_variable", "`no` must have a value"),
        ("${", "bad_substitution", "`${` is never closed"),
        ("${a", "bad_substitution", "`${` is never closed"),
        ("${}", "bad_substitution", "`${}` is not understood"),
        ("${a-b}", "bad_substitution", "`${a-b}` is not understood"),
        ("${1}", "bad_substitution", "`${1}` is not understood"),
        ("${queues.jobs.name}", "bad_placeholder", "`${queues.jobs.name}` is known only when a process starts"),
        ("${replica}", "bad_placeholder", "`${replica}` is known only when a process starts"),
        ("${files.jobs.name}", "bad_placeholder", "`files` is no section of objects"),
        ("${queues.jobs}", "bad_placeholder", "`${queues.jobs}` does not name an object and a field"),
        ("${queues.jobs.colour}", "bad_placeholder", "`colour` is no field of an object"),
    ],
)
def test_what_has_no_value(text: str, code: str, message: str) -> None:
    with pytest.raises(Unresolved) as caught:
        expand(text, scope(a="${b}", b="${a}"), late=False)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_placeholders_stay_where_they_may() -> None:
    found = expand("a${HOME}-${queues.jobs.name}${replica}", scope(), late=True)
    assert found == Expanded(
        ("a/root-", Placeholder("jobs", "name"), Placeholder("", "replica")),
        ("environment HOME",),
        (("queues", "jobs", "name"),),
    )


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(Unresolved) as caught:
        expand("${rte}", scope(width="1", rat="2"), late=False)
    assert caught.value.hint == "Did you mean ${rat}?"


HEAD = "version: 1\nvariables: {n: 3, name: null}\n"


def test_the_result_is_read_as_the_type_of_the_field() -> None:
    text = 'version: 1\nvariables: {n: 3, s: 4KiB, b: true, m: "0640"}\n'
    text += 'queues: {q: {message_size: "${s}", mode: "${m}"}}\n'
    text += 'processes: {a: {command: [cat, "${n}"], replicas: "${n}", service: "${b}", stop: {grace: "${n}s"}}}\n'
    topology = load_text(text).topology
    process = topology.processes["a"]
    assert (process.replicas, process.service, process.stop.grace, process.command[1]) == (3, True, 3.0, ("3",))
    assert getattr(topology.queues["q"], "mode", None) == 0o640


def test_a_wrong_result_is_reported_where_it_is_used() -> None:
    problem = problem_of("version: 1\nvariables: {n: many}\nprocesses: {a: {command: [cat], replicas: '${n}'}}\n")
    assert (problem.line, problem.code, problem.path) == (3, "wrong_type", "processes.a.replicas")


def test_a_variable_that_must_be_given() -> None:
    text = HEAD + "processes: {a: {command: [cat, '${name}', '${name}']}}\n"
    problem = problem_of(text)
    assert (problem.line, problem.path, problem.help) == (2, "variables.name", "Add --set name=…")
    assert load_text(text, variables={"name": "x"}).topology.processes["a"].command[1:] == (("x",), ("x",))
    assert problem_of(text, environment={"name": "not enough"}).code == "undefined_variable"


def test_an_unknown_name_of_set() -> None:
    problem = problem_of(HEAD, variables={"name": "x", "nn": "1"})
    assert problem.message == "--set nn: the file has no variable `nn`"
    assert problem.help == "Did you mean `n`?"


def test_set_may_replace_what_would_come_from_the_environment() -> None:
    text = "version: 1\nprocesses: {a: {command: [cat, '${HOME}']}}\n"
    loaded = load_text(text, variables={"HOME": "/x"}, environment={"HOME": "/y"})
    assert loaded.topology.processes["a"].command[1] == ("/x",)


def test_the_caret_stands_below_the_placeholder() -> None:
    problem = problem_of("version: 1\nprocesses:\n  a: {command: [cat, 'before ${nope} after']}\n")
    assert problem.excerpt[problem.column - 1 :][: problem.width] == "${nope}"


def test_anchors_at_the_top_are_filled_in_where_they_are_used() -> None:
    text = "version: 1\nx-env: &env {Q: '${queues.q.name}', U: '${unused:-1}'}\nqueues: {q: }\n"
    text += "processes:\n  a: {command: [cat], uses: [q], environment: *env}\n"
    text += "  b: {command: [cat], uses: [q], environment: *env}\n"
    for process in load_text(text).topology.processes.values():
        assert dict(process.environment) == {"Q": (Placeholder("q", "name"),), "U": ("1",)}


def test_a_shared_placeholder_is_checked_for_each_user() -> None:
    text = "version: 1\nqueues: {q: }\nprocesses:\n"
    text += "  a: &a {command: [cat, '${queues.q.name}'], uses: [q]}\n  b: {<<: *a, uses: []}\n"
    assert [problem.code for problem in problems_of(text)] == ["not_in_uses"]


def test_a_model_made_in_python_takes_placeholders_too() -> None:
    process = Process(command=["cat", "${queues.q.name} $${x}"], uses=["q"])  # type: ignore[arg-type]
    assert process.command[1] == (Placeholder("q", "name"), " ${x}")


def test_placeholders_in_the_parts_of_a_process() -> None:
    text = """version: 1
queues: { q: { name: /q } }
segments: { s: { family: file, path: ./s, size: 1 } }
variables: { n: 3 }
processes:
  a:
    command: [x]
    uses: [q, s]
    ready: { exec: "check --name ${queues.q.name} '${n} ${replica}'", timeout: "${n}s" }
    stop: { command: "kill ${replica}", grace: "${n}" }
    stdin: { file: "${segments.s.path}" }
  b: { command: [x], ready: { unix: "run/${replica}" } }
"""
    process = load_text(text).topology.processes["a"]
    assert process.ready is not None
    assert process.ready.exec == (
        ("check",), ("--name",), (Placeholder("q", "name"),), ("3 ", Placeholder("", "replica")),
    )  # fmt: skip
    assert process.ready.timeout == process.stop.grace == 3.0
    assert process.stop.command == (("kill",), (Placeholder("", "replica"),))
    assert process.stdin == StdinFile(file=(Placeholder("s", "path"),))
    other = load_text(text).topology.processes["b"].ready
    assert other is not None
    assert other.unix == ("run/", Placeholder("", "replica"))


@pytest.mark.parametrize(
    "keys",
    [
        "ready: {log: '${replica}'}", "ready: {notify: true, timeout: '${replica}'}", "env_file: '${replica}'",
        "nice: '${replica}'", "stop: {grace: '${queues.q.name}'}", "wait_for: {q: {messages: '${replica}'}}",
    ],
)  # fmt: skip
def test_no_placeholders_elsewhere(keys: str) -> None:
    found = problem_of(f"version: 1\nqueues: {{q: }}\nprocesses: {{a: {{command: [x], uses: [q], {keys}}}}}\n")
    assert found.code == "bad_placeholder"


def test_shell_syntax_in_the_commands_of_a_process() -> None:
    text = "version: 1\nprocesses: {a: {command: [x], ready: {exec: a | b}, stop: {command: 'a; b'}}}\n"
    assert [(item.code, item.path) for item in problems_of(text)] == [
        ("shell_syntax", "processes.a.ready.exec"),
        ("shell_syntax", "processes.a.stop.command"),
    ]
