"""Wild input: whatever the bytes, only TopologyError; JSON means what json says it means; dump and load agree."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestra.bindings import Placeholder
from orchestra.errors import TopologyError
from orchestra.kinds import Access, OnDown
from orchestra.runplan import ProcessPlan, RunPlan
from orchestra.topology.compile import compile_plan
from orchestra.topology.composer import compose
from orchestra.topology.dump import dump, to_data, to_json
from orchestra.topology.fields import (
    Condition,
    Escalate,
    Isolation,
    KeyForm,
    Output,
    Policy,
    StdinWord,
    Undeclared,
)
from orchestra.topology.keys import TAKEN, TAKEN_ENDINGS
from orchestra.topology.loader import examine, load
from orchestra.topology.model import Topology
from orchestra.topology.nodes import plain_data
from orchestra.topology.processvalues import LIMIT_NAMES
from orchestra.topology.resolved import resolve
from orchestra.topology.signals import NUMBERS
from orchestra.topology.steps import steps
from orchestra.topology.words import SplitError, split
from tests.support.hosts import FakeHost

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)


def load_bytes(data: bytes, name: str = "x.yaml") -> Any:
    return load(name, environment={"HOME": "/root"}, cwd="/w", read=lambda _: data)


# --- nothing but TopologyError ---------------------------------------------------------------------------------

PIECES = """version: 1\n|queues:\n|  jobs: |{|}|[|]|, |: |- |\n|  |\t|&a |*a|<<: |!|!!str |"|'|${|}|$
|${queues.jobs.name}|${x}|0600|0o600|~|null|true|yes|x-a: |processes:\n|  a:\n|    command: |[cat]|uses: |64KiB
|depends_on: |name: |#|%|@|`|\\|\r\n|\u2028|é|\U0001f600|? |include: |[x.yaml]|fill: |segments:\n|pipes:\n
|family: sysv|variables: {x: 1}\n|ready: {exec: a}|restart: always|wait_for: {jobs: {messages: 1}}|made_by: a
|function: "a:b"|limits: {nofile: 1}|stdin: |cpu_affinity: [0]|env_file: x|arguments: {a: |
|--- |\n...\n|stop: {grace: 5s}|replicas: 3|external: true
|key: {path: f, project: A}|$${"""
FRAGMENTS = st.sampled_from(PIECES.split("|"))


@RELAXED
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for name in ("x.yaml", "x.json"):
        with suppress(TopologyError):
            load_bytes(data, name)


@settings(RELAXED, max_examples=120)
@given(st.lists(FRAGMENTS, max_size=40).map("".join), st.sampled_from(["", "version: 1\n"]))
def test_anything_that_looks_like_a_topology(text: str, start: str) -> None:
    with suppress(TopologyError):
        loaded = load_bytes((start + text).encode())
        plan = compile_plan(loaded, instance="i", environment={}, host=FakeHost(files={"/w/f": b""}))
        assert plan.instance == "i"


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ANY_NUMBER = st.integers(-(10**20), 10**20) | FLOATS
JSON = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
WORDS = """version name variables include queues segments semaphores pipes processes jobs a b command uses
environment size family mode key fill stop success depends_on replicas external value values x-a on_down path ready
restart wait_for limits stdin function arguments made_by log rotate output env_file user umask scheduler cpu_affinity
nofile policy min max messages exists notify exec fd each soft hard isolation lock huge_pages watchdog autostart"""
SOME_KEYS = st.sampled_from(WORDS.split())
SOME_TEXTS = st.sampled_from(["a", "jobs", "sysv", "${x}", "64KiB", "0600", "read", ""])
LIKELY = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70000) | SOME_TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SOME_KEYS, inner, max_size=5),
    max_leaves=25,
)


@settings(RELAXED, max_examples=60)
@given(st.dictionaries(SOME_KEYS, LIKELY, max_size=6))
def test_any_structure(data: dict[str, Any]) -> None:
    text = json.dumps({"version": 1, **data}).encode()
    for name in ("x.yaml", "x.json"):
        _, problems = examine(name, environment={}, cwd="/w", read=lambda _: text)
        assert all(problem.message for problem in problems)


@RELAXED
@given(st.text(alphabet="ab '\"\\$({})|&;<>*?~\n=", max_size=30))
def test_any_command_splits_or_says_why(text: str) -> None:
    with suppress(SplitError):
        assert all(isinstance(word, str) for word in split(text))


# --- JSON ------------------------------------------------------------------------------------------------------


@settings(RELAXED, max_examples=25)
@given(st.dictionaries(st.text(), JSON, max_size=5), st.booleans(), st.sampled_from([None, 0, 2, "\t"]))
def test_json_means_what_json_says(data: dict[str, Any], ascii_only: bool, indent: int | str | None) -> None:
    text = json.dumps(data, ensure_ascii=ascii_only, indent=indent)
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return  # half of a surrogate pair: no UTF-8 file can hold it
    root, problems = compose(encoded, "x.json", "/")
    if any(0xD800 <= ord(char) <= 0xDFFF for char in json.dumps(data, ensure_ascii=False)):
        assert problems
        return
    assert problems == []
    assert plain_data(root) == json.loads(text)


PRINTABLE = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"], exclude_characters="\ufeff\u2028\u2029")
YAML_TEXT = st.text(PRINTABLE, max_size=30)
YAML_JSON = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | YAML_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(YAML_TEXT, inner, max_size=4),
    max_leaves=20,
)


@settings(RELAXED, max_examples=25)
@given(st.dictionaries(YAML_TEXT.filter(lambda key: key != "<<"), YAML_JSON, max_size=5))
def test_yaml_reads_json_too(data: dict[str, Any]) -> None:
    text = json.dumps(data, ensure_ascii=False)
    root, problems = compose(text.encode(), "x.yaml", "/")
    assert problems == []
    assert plain_data(root) == json.loads(text)


# --- dump and load ---------------------------------------------------------------------------------------------

KEYS = st.from_regex(r"[a-z][a-z0-9-]{0,6}", fullmatch=True)
OBJECT_KEYS = KEYS.filter(lambda key: key not in TAKEN and not key.endswith(TAKEN_ENDINGS))
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
NAMES = st.from_regex(r"/[a-zA-Z0-9._-]{1,20}", fullmatch=True).filter(lambda name: name.strip("/.") != "")
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=5,
)
EXTENSIONS = st.dictionaries(TEXTS.map(lambda text: f"x-{text}"), PLAIN, max_size=2)
SIZES = st.integers(2, 2**40)


def some(**choices: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return dicts with some of the keys."""
    return st.fixed_dictionaries({}, optional=choices)


OWNED = {
    "mode": st.integers(0, 0o777),
    "owner": st.integers(0, 2**31) | st.sampled_from(["root", "${user}"]),
    "on_down": st.sampled_from(list(OnDown)),
}
SYSV_KEY = st.sampled_from(list(KeyForm)) | st.integers(1, 2**32 - 1) | st.just({"path": "./f", "project": 65})
FILL = st.just("zeros") | st.fixed_dictionaries({"file": TEXTS.filter(bool)}) | st.just({"hex": "00ff"})
QUEUES = some(**OWNED, name=NAMES, max_messages=st.integers(1, 65536), message_size=SIZES) | some(
    **OWNED, key=SYSV_KEY, capacity=SIZES
).map(lambda item: {"family": "sysv", **item})
MEMFDS = SIZES.map(lambda size: {"family": "memfd", "size": size})
SEGMENTS = st.builds(lambda size, rest: {"size": size, **rest}, SIZES, some(**OWNED, name=NAMES, fill=FILL)) | MEMFDS
SEMAPHORES = some(**OWNED, value=st.integers(0, 9)) | st.lists(st.integers(0, 9), min_size=1, max_size=3).map(
    lambda found: {"family": "sysv", "values": found}
)
PIPES: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.just({"family": "fifo", "path": "./x y"})


LOG = some(
    raw=st.booleans(), rotate=st.fixed_dictionaries({"size": SIZES}, optional={"keep": st.none() | st.integers(1, 9)})
)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Any valid topology."""
    keys = draw(st.lists(OBJECT_KEYS, unique=True, max_size=5))
    settings = some(
        description=TEXTS, isolation=st.sampled_from(list(Isolation)), output=st.sampled_from(list(Output)),
        undeclared=st.sampled_from(list(Undeclared)), log=LOG,
    )  # fmt: skip
    data: dict[str, Any] = {"version": 1, "name": draw(KEYS), **draw(settings), **draw(EXTENSIONS)}
    sections = {"queues": QUEUES, "segments": SEGMENTS, "semaphores": SEMAPHORES, "pipes": PIPES}
    where: dict[str, str] = {}
    taken: set[Any] = set()
    for key in keys:
        section = where[key] = draw(st.sampled_from(sorted(sections)))
        item = {**draw(sections[section]), **draw(EXTENSIONS)}
        for address in sorted({"name", "key", "path"} & set(item)):
            if repr(item[address]) in taken or "sem." in str(item[address]):
                del item[address]
            else:
                taken.add(repr(item[address]))
        data.setdefault(section, {})[key] = item
    names = draw(st.lists(KEYS, unique=True, max_size=3))
    for index, name in enumerate(names):
        data.setdefault("processes", {})[name] = draw(process(where, data, names[:index]))
    return Topology.model_validate(data)


@st.composite
def process(draw: st.DrawFn, where: dict[str, str], data: dict[str, Any], before: list[str]) -> dict[str, Any]:
    """Any valid process that may wait for those before it."""
    uses: dict[str, Access] = {}
    for key in draw(st.lists(st.sampled_from(sorted(where)), unique=True) if where else st.just([])):
        uses[key] = draw(st.sampled_from(list(Access)))
        if where[key] == "semaphores":
            uses[key] = Access.READ_WRITE
        elif where[key] == "pipes" and uses[key] is Access.READ_WRITE:
            uses[key] = Access.READ
    late = [Placeholder("", "replica")]
    late += [Placeholder(key, "name") for key in uses if where[key] == "queues" and "family" not in data["queues"][key]]
    part = TEXTS.map(lambda text: text.replace("$", "$ ")) | st.sampled_from(late)
    template = st.lists(part, min_size=1, max_size=3).map(merged)
    words = st.lists(template, min_size=1, max_size=3).filter(lambda found: bool(found[0]))
    conditions = st.sampled_from([Condition.STARTED, Condition.READY])
    long = st.fixed_dictionaries({"condition": conditions}, optional={"restart": st.booleans()})
    waits = st.dictionaries(st.sampled_from(before), conditions | long) if before else st.just({})
    rest = some(
        directory=template.filter(bool),
        environment=st.dictionaries(st.sampled_from(["A", "B c", "ü"]), template, max_size=2),
        uses=st.just(uses),
        replicas=st.integers(1, 10_000),
        service=st.booleans(),
        success=st.lists(st.integers(0, 255) | st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=2),
        depends_on=waits,
        stop=some(
            signal=st.sampled_from(sorted(NUMBERS)), grace=st.integers(0, 100) | st.floats(0, 100), command=words
        ),
        escalate=st.sampled_from(list(Escalate)),
        ready=ready(words, template),
        wait_for=st.just({key: draw(CONDITIONS[where[key]]) for key in uses if where[key] in CONDITIONS}),
        stdin=st.sampled_from(list(StdinWord)) | template.filter(bool).map(lambda file: {"file": file}),
        **SUPERVISION,
    )
    what = draw(st.fixed_dictionaries({"command": words}) | FUNCTIONS)
    return {**what, "uses": uses, **draw(rest), **draw(EXTENSIONS)}


BOUNDS = st.just(0) | st.fixed_dictionaries({"min": st.integers(0, 1)}, optional={"max": st.integers(1, 9)})
CONDITIONS = {"queues": BOUNDS.map(lambda bounds: {"messages": bounds})}
DURATIONS = st.integers(0, 100) | st.floats(0, 100)
POSITIVE = st.integers(1, 100) | st.floats(0.001, 100)
LIMIT = st.integers(0, 2**40) | st.just("unlimited") | st.fixed_dictionaries({"soft": st.integers(0, 9)})
FUNCTIONS = st.fixed_dictionaries(
    {"function": st.sampled_from(["a:b", "a.b:c.d"])},
    optional={
        "arguments": st.dictionaries(st.sampled_from(["a", "b_1", "ü"]), PLAIN, max_size=2),
        "python": TEXTS.filter(bool),
    },
)
SUPERVISION = {
    "restart": st.sampled_from(list(Policy))
    | st.fixed_dictionaries(
        {"policy": st.sampled_from(list(Policy))},
        optional={"limit": st.integers(1, 9), "within": POSITIVE, "delay": DURATIONS},
    ),
    "watchdog": POSITIVE,
    "autostart": st.booleans(),
    "output": st.sampled_from(list(Output)),
    "user": st.sampled_from(["root", "${user}", 7]),
    "group": st.integers(0, 2**31),
    "umask": st.integers(0, 0o777),
    "nice": st.integers(-20, 19),
    "scheduler": st.sampled_from(["fifo:1", "rr:99", "batch", "idle", "other"]),
    "cpu_affinity": st.lists(st.integers(0, 9), min_size=1, max_size=2)
    | st.lists(st.integers(0, 9) | st.just([1, 2]), min_size=1, max_size=2).map(lambda found: {"each": found}),
    "limits": st.dictionaries(st.sampled_from(LIMIT_NAMES), LIMIT, max_size=2),
}


def ready(words: st.SearchStrategy[Any], template: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any way to be ready that needs no object."""
    ways: dict[str, st.SearchStrategy[Any]] = {
        "notify": st.just(value=True),
        "stopped": st.just(value=True),
        "fd": st.integers(900, 1023),
        "log": st.sampled_from(["^a$", "${x}", "a: b"]),
        "tcp": st.integers(1, 65535),
        "exec": words,
        "unix": template.filter(bool),
    }
    one = st.sampled_from(sorted(ways)).flatmap(lambda way: st.fixed_dictionaries({way: ways[way]}))
    return st.builds(lambda way, timeout: {**way, **timeout}, one, some(timeout=POSITIVE))


def merged(parts: list[str | Placeholder]) -> tuple[str | Placeholder, ...]:
    """Return a template as the loader makes it: no empty texts, no two texts side by side."""
    found: list[str | Placeholder] = []
    for part in parts:
        if part == "":
            continue
        if found and isinstance(part, str) and isinstance(found[-1], str):
            found[-1] += part
        else:
            found.append(part)
    return tuple(found)


@settings(RELAXED, max_examples=25)
@given(topologies())
def test_what_is_dumped_loads_as_the_same(topology: Topology) -> None:
    assert load_bytes(dump(topology).encode()).topology == topology
    as_json = json.dumps(to_json(to_data(topology)))
    if "Infinity" not in as_json:
        assert load_bytes(as_json.encode(), "x.json").topology == topology


@settings(RELAXED, max_examples=20)
@given(topologies())
def test_the_resolved_form_is_the_same_run(topology: Topology) -> None:
    loaded = load_bytes(dump(topology).encode())
    again = load_bytes(resolve(loaded).to_yaml().encode())
    host = FakeHost(files={"/w/f": b""}, users={"root": 0, "${user}": 7})
    first = compile_plan(loaded, instance="i", environment={}, host=host)
    assert compile_plan(again, instance="i", environment={}, host=host).objects == first.objects
    assert RunPlan.from_json(first.to_json()) == first
    starting = {item.name for item in first.processes if item.autostart}
    assert {step.process for step in steps(first) if step.action == "start"} == starting
    second = compile_plan(again, instance="i", environment={}, host=host)
    assert [without_paths(item) for item in second.processes] == [without_paths(item) for item in first.processes]


def without_paths(item: ProcessPlan) -> ProcessPlan:
    """Return a process without what the resolved form makes absolute."""
    ready = item.ready and item.ready._replace(command=(), path=())
    return item._replace(command=(), directory=(), python="", stdin_file=(), stop_command=(), ready=ready)


@pytest.mark.parametrize("name", ["x.yaml", "x.json"])
def test_a_deep_or_wide_bomb_is_refused_at_once(name: str) -> None:
    for data in (b"[" * 100_000, b'{"a":' * 100_000, b"[" + b"1," * 250_000 + b"1]"):
        root, problems = compose(data, name, "/")
        assert root is None
        assert problems
