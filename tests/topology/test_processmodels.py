"""The parts of a process: short and long forms, defaults, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from orchestra.topology.fields import Policy, StdinWord
from orchestra.topology.model import Process, Topology
from orchestra.topology.processmodels import Bounds, Dependency, EachCpus, Limit, Ready, Restart, StdinFile, ValueBounds


def process(**keys: Any) -> Process:
    return Process.model_validate({"command": ["cat"], **keys})


def test_a_short_restart_is_a_policy() -> None:
    assert process(restart="always").restart == process(restart={"policy": "always"}).restart
    assert process().restart == Restart(policy=Policy.NEVER)
    assert process(restart={"policy": "on-failure", "within": "2m"}).restart.within == 120.0


def test_a_short_dependency_is_a_condition() -> None:
    short = process(depends_on={"a": "started"})
    assert short.depends_on == process(depends_on={"a": {"condition": "started"}}).depends_on
    assert not short.depends_on["a"].restart
    assert process(depends_on=["a"]).depends_on["a"] == Dependency(condition="ready")  # type: ignore[arg-type]


def test_a_number_is_exact() -> None:
    waits = process(wait_for={"q": {"messages": 3}, "s": {"value": 1}, "t": {"attached": {"min": 2}}}).wait_for
    assert waits["q"].messages == Bounds(min=3, max=3)
    assert waits["s"].value == ValueBounds(min=1, max=1)
    assert waits["t"].attached == Bounds(min=2)


def test_limits() -> None:
    limits = process(limits={"nofile": 3, "core": "unlimited", "as": {"soft": "1K"}, "cpu": {"hard": 9}}).limits
    assert {name: limit.both for name, limit in limits.items()} == {
        "nofile": (3, 3), "core": (-1, -1), "as": (1024, 1024), "cpu": (9, 9),
    }  # fmt: skip
    assert Limit(soft=1, hard=-1).both == (1, -1)


@pytest.mark.parametrize("both", [{"soft": 2, "hard": 1}, {"soft": "unlimited", "hard": 1}, {}])
def test_limits_that_cannot_be(both: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        process(limits={"nofile": both})


def test_processors_for_all_or_for_each() -> None:
    assert process(cpu_affinity=[1, 0]).cpu_affinity == (0, 1)
    assert process(cpu_affinity={"each": [0, [1, 2]]}).cpu_affinity == EachCpus(each=((0,), (1, 2)))


def test_standard_input() -> None:
    assert process().stdin is process(stdin=None).stdin is process(stdin="null").stdin is StdinWord.NULL
    assert process(stdin="inherit").stdin is StdinWord.INHERIT
    assert process(stdin={"file": "a"}).stdin == StdinFile(file=("a",))


@pytest.mark.parametrize(
    ("ready", "kind"),
    [
        ({"notify": True}, "notify"), ({"fd": 3}, "fd"), ({"log": "x"}, "log"), ({"exec": ["x"]}, "exec"),
        ({"tcp": 1}, "tcp"), ({"unix": "s"}, "unix"), ({"exists": "q"}, "exists"), ({"stopped": True}, "stopped"),
    ],
)  # fmt: skip
def test_each_way_to_be_ready(ready: dict[str, Any], kind: str) -> None:
    found = process(ready=ready).ready
    assert found is not None
    assert found.kind == kind
    assert found.timeout == 30.0


@pytest.mark.parametrize("ready", [{}, {"timeout": 3}, {"notify": True, "fd": 3}])
def test_exactly_one_way(ready: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Ready.model_validate(ready)


@pytest.mark.parametrize(
    "keys",
    [
        {}, {"command": ["a"], "function": "a:b"},
        {"command": ["a"], "arguments": {}}, {"command": ["a"], "python": "p"},
        {"command": ["a"], "restart": {"policy": "always", "delay": 3, "max_delay": 2}},
        {"command": ["a"], "wait_for": {"q": {"messages": {"min": 2, "max": 1}}}},
        {"command": ["a"], "wait_for": {"q": {}}}, {"command": ["a"], "wait_for": {"q": {"messages": {}}}},
    ],
)  # fmt: skip
def test_what_does_not_go_together(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Process.model_validate(keys)


def test_the_log() -> None:
    log = Topology.model_validate({"version": 1, "log": {"rotate": {"size": "1MiB"}}}).log
    assert log.rotate is not None
    assert (log.rotate.size, log.rotate.keep, log.raw) == (2**20, None, False)
