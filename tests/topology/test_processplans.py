"""From a process to its plan."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.bindings import Placeholder
from orchestra.errors import UsageError
from orchestra.runplan import Attributes, Dependency, ProcessPlan, Ready, Restart, WaitFor
from orchestra.topology.compile import compile_plan
from orchestra.topology.processplans import absolute, scheduler_of
from tests.support.hosts import FakeHost
from tests.support.topologies import load_text

FILES = {"/w/a.env": b"A=1\nB=a\nE=\n", "/w/b.env": b"B=b\n"}


def plan_of(keys: str, rest: str = "", host: FakeHost | None = None, **how: Any) -> ProcessPlan:
    text = f"version: 1\n{rest}processes:\n  a: {{{keys}}}\n  b: {{command: [x]}}\n"
    asked: dict[str, Any] = {"instance": "i", "environment": {}, "host": host or FakeHost(files=FILES), **how}
    return compile_plan(load_text(text), **asked).processes[0]


def test_a_function() -> None:
    plan = plan_of('function: "m:f", arguments: {a: [1, "2"]}, python: ./venv/bin/python')
    assert (plan.function, plan.arguments, plan.python) == ("m:f", {"a": [1, "2"]}, "/w/venv/bin/python")
    assert plan.command == ()
    assert plan_of('function: "m:f", python: python3').python == "python3"


READY = [
    ("{notify: true}", Ready("notify")),
    ("{fd: 7, timeout: 1m}", Ready("fd", fd=7, timeout=60.0)),
    ("{log: x}", Ready("log", pattern="x")),
    ("{exec: [./check, 1.10]}", Ready("exec", command=(("./check",), ("1.10",)))),
    ("{tcp: 80}", Ready("tcp", port=80)),
    ("{unix: ./s}", Ready("unix", path=("/w/s",))),
    ("{exists: q}", Ready("exists", object="q")),
    ("{stopped: true}", Ready("stopped")),
]


@pytest.mark.parametrize(("written", "ready"), READY)
def test_ways_to_be_ready(written: str, ready: Ready) -> None:
    assert plan_of(f"command: [x], ready: {written}", "queues: {q: }\n").ready == ready


def test_programs_are_beside_the_file_whatever_the_folder() -> None:
    keys = "command: [x], directory: /, ready: {exec: ./check}, stop: {command: [bin/stop, '${replica}']}"
    plan = plan_of(keys)
    assert plan.ready is not None
    assert plan.ready.command == (("/w/check",),)
    assert plan.stop_command == (("/w/bin/stop",), (Placeholder("", "replica"),))


def test_restarts() -> None:
    assert plan_of("command: [x]").restart == Restart()
    assert plan_of("command: [x], restart: always").restart == Restart("always")
    long = "{policy: on-failure, limit: 2, within: 1s, delay: 1s, max_delay: 2s}"
    assert plan_of(f"command: [x], restart: {long}").restart == Restart("on-failure", 2, 1.0, 1.0, 2.0)
    assert plan_of("command: [x], restart: {policy: always, delay: 20s}").restart.max_delay == 20.0


def test_conditions() -> None:
    waits = "{q: {messages: {min: 1}, exists: true}, s: {value: {index: 1, max: 3}}, b: {blocked_on: q}}"
    rest = "queues: {q: {name: /orct.q, external: true}}\nsemaphores: {s: {family: sysv, values: [1, 2]}}\n"
    assert plan_of(f"command: [x], wait_for: {waits}", rest).wait_for == (
        WaitFor("q", "messages", 1, None),
        WaitFor("q", "exists"),
        WaitFor("s", "value", 0, 3, member=1),
        WaitFor("b", "blocked_on", object="q"),
    )


@pytest.mark.parametrize(
    ("depends", "dependency"),
    [
        ("{}", Dependency("b", "ready")),
        ("[b]", Dependency("b", "ready")),
        ("{b: {condition: started, restart: true}}", Dependency("b", "ready", restart=True)),
        ("{b: completed}", Dependency("b", "completed")),
        ("{b: ended}", Dependency("b", "ended")),
    ],
)
def test_the_maker_of_an_object_is_waited_for(depends: str, dependency: Dependency) -> None:
    rest = "queues: {q: {name: /orct.q, made_by: b}}\n"
    assert plan_of(f"command: [x], uses: [q], depends_on: {depends}", rest).depends_on == (dependency,)


def test_files_of_variables() -> None:
    plan = plan_of("command: [x], env_file: [a.env, ./b.env], environment: {A: own}")
    assert plan.environment == (("A", ("own",)), ("B", ("b",)), ("E", ()))
    with pytest.raises(UsageError, match=r"/w/c\.env cannot be read"):
        plan_of("command: [x], env_file: c.env")


def test_standard_input_and_output() -> None:
    plan = plan_of("command: [x], stdin: {file: in.txt}", "output: line\n")
    assert (plan.stdin, plan.stdin_file, plan.output) == ("file", ("/w/in.txt",), "line")
    plan = plan_of("command: [x], stdin: inherit, output: pipe", "output: tty\n")
    assert (plan.stdin, plan.stdin_file, plan.output) == ("inherit", (), "pipe")
    assert plan_of("command: [x]").stdin == "null"


def test_what_it_runs_as() -> None:
    keys = "user: nobody, umask: 0o27, nice: -3, scheduler: rr:7, cpu_affinity: [1, 0], "
    keys += "limits: {core: 0, nofile: {soft: 3, hard: 9}}"
    assert plan_of(f"command: [x], {keys}").attributes == Attributes(
        user=65534, group=65534, groups=(65534,), home="/home/nobody", login="nobody", umask=0o27, nice=-3,
        scheduler=("rr", 7), cpu_affinity=((0, 1),), limits=(("core", 0, 0), ("nofile", 3, 9)),
    )  # fmt: skip
    assert plan_of("command: [x], user: nobody, group: root").attributes.group == 0
    assert plan_of("command: [x], user: 77, group: 5").attributes == Attributes(user=77, group=5, groups=())
    assert plan_of("command: [x], cpu_affinity: {each: [1, [2, 3]]}").attributes.cpu_affinity == ((1,), (2, 3))
    assert plan_of("command: [x]").attributes == Attributes()


def test_who_we_are_needs_no_change() -> None:
    host = FakeHost(users={"me": 1000}, uid=1000)
    assert plan_of("command: [x], user: me", host=host).attributes == Attributes(home="/home/me", login="me")


@pytest.mark.parametrize("keys", ["user: ghost", "group: ghosts"])
def test_nobody_knows_them(keys: str) -> None:
    with pytest.raises(UsageError, match="this host has no"):
        plan_of(f"command: [x], {keys}")


def test_keep_going_changes_only_what_was_not_said() -> None:
    assert plan_of("command: [x]", keep_going=True).escalate == "stop-dependants"
    assert plan_of("command: [x], escalate: stop-all", keep_going=True).escalate == "stop-all"
    assert plan_of("command: [x]").escalate == "stop-all"


def test_schedulers() -> None:
    assert scheduler_of("fifo:80") == ("fifo", 80)
    assert scheduler_of("idle") == ("idle", 0)


def test_absolute() -> None:
    assert absolute((), "/w") == ("/w",)
    assert absolute(("/a", Placeholder("", "replica")), "/w") == ("/a", Placeholder("", "replica"))
