"""The order of a run."""

from __future__ import annotations

from orchestra.topology.compile import compile_plan
from orchestra.topology.steps import steps
from tests.support.hosts import FakeHost
from tests.support.topologies import load_text

TEXT = """version: 1
queues: { jobs: , kept: { on_down: keep }, theirs: { external: true, name: /t } }
semaphores: { gate: }
processes:
  late: { command: [cat], depends_on: { first: completed, db: ready } }
  db: { command: [cat], service: true }
  first: { command: [cat], depends_on: { db: started } }
  again: { command: [cat], depends_on: { db: ready }, replicas: 2 }
"""


def lines(text: str = TEXT, **how: bool | list[str]) -> list[str]:
    plan = compile_plan(load_text(text), instance="i", environment={}, host=FakeHost())
    return [f"{step.action} {step.object or step.process}" for step in steps(plan, **how)]  # type: ignore[arg-type]


def test_the_order_of_a_run() -> None:
    assert lines() == [
        "create jobs", "create kept", "create gate",
        "start db", "start first", "wait first", "wait db", "start late", "start again",
        "wait late", "wait again", "stop db",
        "remove gate", "keep kept", "remove jobs",
    ]  # fmt: skip


def test_what_is_there_already_is_not_made() -> None:
    assert "create kept" not in lines(reused=["kept"])
    assert "keep kept" in lines(reused=["kept"])


def test_leaking_keeps_everything_that_has_a_name() -> None:
    text = TEXT + "pipes: { p: }\n"
    assert [line for line in lines(text, leak=True) if line.startswith(("keep", "remove"))] == [
        "remove p", "keep gate", "keep kept", "keep jobs",
    ]  # fmt: skip


def test_steps_are_numbered() -> None:
    plan = compile_plan(load_text(TEXT), instance="i", environment={}, host=FakeHost())
    found = steps(plan)
    assert [step.n for step in found] == list(range(1, len(found) + 1))


SUPERVISED = """version: 1
queues: { jobs: { max_messages: 4 }, theirs: { family: sysv, key: 7, made_by: maker } }
semaphores: { set: { family: sysv, values: [1, 2] } }
processes:
  maker: { command: [x], service: true, ready: { log: x, timeout: 5s } }
  user:
    command: [x]
    uses: [theirs]
    wait_for:
      jobs: { messages: { min: 1, max: 3 } }
      set: { value: { index: 1, min: 1 } }
      reader: { blocked_on: jobs }
  reader: { command: [x], service: true, restart: always, replicas: 2, stop: { command: [y] } }
  idle: { command: [x], autostart: false }
  last: { command: [x], depends_on: { idle: started } }
"""


def test_waits_and_objects_that_processes_make() -> None:
    plan = compile_plan(load_text(SUPERVISED), instance="i", environment={}, host=FakeHost())
    found = [(step.action, step.object, step.process, step.detail) for step in steps(plan)]
    assert found == [
        ("create", "jobs", None, "posix queue"),
        ("create", "set", None, "sysv semaphore"),
        ("start", None, "maker", ""),
        ("start", None, "reader", "2 replicas, restarted whenever it ends"),
        ("wait", None, "maker", "ready: log, at most 5s"),
        ("wait", "theirs", "maker", "made by maker: checked, from then on ours"),
        ("wait", "jobs", None, "messages: at least 1 and at most 3"),
        ("wait", "set", None, "value of semaphore 1: at least 1"),
        ("wait", "jobs", "reader", "reader is blocked on it"),
        ("start", None, "user", ""),
        ("wait", None, "idle", "started, once it is asked for"),
        ("start", None, "last", ""),
        ("wait", None, "user", "ended"),
        ("wait", None, "last", "ended"),
        ("stop", None, "reader", "once every process that is not a service has ended, by its command"),
        ("stop", None, "maker", "once every process that is not a service has ended"),
        ("remove", "set", None, ""),
        ("remove", "theirs", None, ""),
        ("remove", "jobs", None, ""),
    ]


def test_what_nobody_waits_for_is_made_all_the_same() -> None:
    text = "version: 1\nqueues: {q: {name: /orct.q, made_by: a}}\nprocesses: {a: {command: [x]}}\n"
    assert lines(text) == ["start a", "wait a", "wait q", "remove q"]
    assert lines(text.replace("[x]", "[x], autostart: false")) == []
