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
