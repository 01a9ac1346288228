"""From a topology to the plan of a run."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.bindings import Placeholder
from orchestra.errors import UsageError
from orchestra.kinds import Access, Family, Fill, Kind, OnDown
from orchestra.runplan import Dependency, LogPlan, ObjectPlan, RunPlan, Use
from orchestra.topology.compile import compile_plan
from orchestra.topology.processplans import absolute
from tests.support.hosts import FakeHost
from tests.support.topologies import load_text

HOST = FakeHost(files={"/w/f": b""})


def plan_of(text: str, **how: Any) -> RunPlan:
    return compile_plan(load_text("version: 1\n" + text), **{"instance": "i", "environment": {}, "host": HOST, **how})


def object_of(text: str) -> ObjectPlan:
    return plan_of(text).objects[0]


def test_a_posix_queue() -> None:
    item = object_of('queues: {q: {name: /q, mode: "0640", owner: root, group: 5, on_down: keep, x-a: [1]}}\n')
    assert item == ObjectPlan(
        "q", Family.POSIX, Kind.QUEUE, name="/q", mode=0o640, owner=0, group=5, on_down=OnDown.KEEP,
        max_messages=10, message_size=8192, extra={"x-a": [1]},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "number"),
    [("auto", None), ("private", 0), ("0x10", 16), ("{path: ./f, project: A}", 0x41112222)],
)
def test_keys(key: str, number: int | None) -> None:
    assert object_of(f"queues: {{q: {{family: sysv, key: {key}}}}}\n").ipc_key == number


def test_capacity() -> None:
    item = object_of("queues: {q: {family: sysv, max_messages: 2, message_size: 8}}\n")
    assert (item.capacity, item.max_messages, item.message_size) == (16, None, None)


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ("zeros", Fill()),
        ("{text: a}", Fill(text="a")),
        ("{hex: 0a}", Fill(hex="0a")),
        ("{file: ./g}", Fill(file="/w/g")),
    ],
)
def test_fill(fill: str, expected: Fill) -> None:
    assert object_of(f"segments: {{s: {{size: 9, fill: {fill}}}}}\n").fill == expected


def test_no_fill_is_not_zeros() -> None:
    assert object_of("segments: {s: {size: 9}}\n").fill is None


def test_paths_are_absolute_and_derived_ones_are_left_open() -> None:
    assert object_of("segments: {s: {family: file, path: ../x//y, size: 1}}\n").name == "/x/y"
    assert object_of("segments: {s: {family: file, path: a, size: 1}}\n").on_down is OnDown.KEEP
    assert object_of("pipes: {p: {family: fifo, path: a}}\n").name == "/w/a"
    assert object_of("pipes: {p: {family: fifo}}\n").name is None


def test_of_an_external_object_only_what_is_given_is_checked() -> None:
    item = object_of("queues: {q: {name: /q, external: true, message_size: 9}}\n")
    assert (item.external, item.max_messages, item.message_size) == (True, None, 9)
    assert object_of("semaphores: {s: {family: sysv, key: 1, external: true}}\n").values == ()
    assert object_of("segments: {s: {name: /s, external: true}}\n").size is None


def test_a_process() -> None:
    text = "queues: {q: }\nprocesses:\n  b: {command: [cat]}\n  a:\n    command: [cat, '${queues.q.name}-${replica}']\n"
    text += "    environment: {A: 1.10, B: 'x${queues.q.fd}'}\n    uses: {q: read}\n    depends_on: {b: ended}\n"
    text += "    success: [0, TERM]\n    stop: {signal: INT, grace: 1m}\n    escalate: ignore\n"
    text += "    replicas: 2\n    x-a: b\n"
    process = plan_of(text).processes[1]
    assert process.command == (("cat",), (Placeholder("q", "name"), "-", Placeholder("", "replica")))
    assert process.environment == (("A", ("1.10",)), ("B", ("x", Placeholder("q", "fd"))))
    assert process.uses == (Use("q", Access.READ),)
    assert process.depends_on == (Dependency("b", "ended"),)
    assert (process.success, process.stop_signal, process.grace, process.escalate) == (
        (0, "SIGTERM"),
        2,
        60.0,
        "ignore",
    )
    assert (process.replicas, process.directory, process.extra) == (2, ("/w",), {"x-a": "b"})


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ((), ("/w",)),
        (("a/../b",), ("/w/b",)),
        (("/x",), ("/x",)),
        ((Placeholder("s", "path"), "/x"), (Placeholder("s", "path"), "/x")),
        ((Placeholder("", "replica"),), ("/w/", Placeholder("", "replica"))),
        (("d", Placeholder("", "replica")), ("/w/d", Placeholder("", "replica"))),
        (("/d", Placeholder("", "replica")), ("/d", Placeholder("", "replica"))),
    ],
)
def test_absolute(template: Any, result: Any) -> None:
    assert absolute(template, "/w") == result


THREE = "queues: {q: , r: }\nprocesses:\n  a: {command: [cat]}\n"
THREE += "  b: {command: [cat], uses: [q], depends_on: [a]}\n  c: {command: [cat], uses: [r]}\n"


def test_only_some_processes_bring_what_they_need() -> None:
    plan = plan_of(THREE, only=["b"])
    assert [process.name for process in plan.processes] == ["a", "b"]
    assert [item.key for item in plan.objects] == ["q"]


def test_scale() -> None:
    assert [process.replicas for process in plan_of(THREE, scale={"c": 4}).processes] == [1, 1, 4]


@pytest.mark.parametrize("how", [{"scale": {"d": 1}}, {"only": ["d"]}, {"scale": {"a": 0}}, {"scale": {"a": 10**9}}])
def test_what_cannot_be_asked_for(how: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        plan_of(THREE, **how)


@pytest.mark.parametrize(
    "text",
    [
        "queues: {q: {owner: nope}}\n",
        "queues: {q: {group: nope}}\n",
        "queues: {q: {family: sysv, key: {path: no, project: A}}}\n",
    ],
)
def test_what_is_gone_since_the_checks(text: str) -> None:
    with pytest.raises(UsageError):
        plan_of(text)


def test_the_callers_environment_without_what_is_ours() -> None:
    plan = plan_of(
        "", environment={"A": "1", "ORCHESTRA_X": "2", "LISTEN_FDS": "3", "NOTIFY_SOCKET": "4"}, python_path="/p"
    )
    assert (plan.environment, plan.python_path) == ({"A": "1"}, "/p")


def test_a_plan_survives_its_journey() -> None:
    plan = plan_of(THREE)
    assert RunPlan.from_json(plan.to_json()) == plan


def test_settings_of_the_whole_run() -> None:
    plan = plan_of("isolation: private\nundeclared: fail\nlog: {rotate: {size: 1KiB, keep: 2}, raw: true}\n")
    assert (plan.isolation, plan.undeclared, plan.log) == ("private", "fail", LogPlan(1024, 2, raw=True))
    plan = plan_of("name: x\n")
    assert (plan.isolation, plan.undeclared, plan.log) == ("host", "report", LogPlan())
    assert plan_of("log: {raw: true}\n").log == LogPlan(raw=True)
    assert plan_of("log: {rotate: {size: 1KiB}}\n").log == LogPlan(1024)


def test_isolation_may_be_chosen() -> None:
    assert plan_of("isolation: private\n", isolation="host").isolation == "host"
    assert plan_of("name: x\n", isolation="private").isolation == "private"
    with pytest.raises(UsageError, match="there is no isolation `sealed`"):
        plan_of("name: x\n", isolation="sealed")
    external = "pipes: {p: {family: fifo, path: ./p, external: true}}\n"
    assert plan_of(external, isolation="private").isolation == "private"
    with pytest.raises(UsageError, match="cannot reach `q`, which is external"):
        plan_of(external + "queues: {q: {name: /q, external: true}}\n", isolation="private")


def test_an_object_that_a_process_makes_has_the_shape_that_the_file_gives() -> None:
    item = object_of("queues: {q: {name: /q, made_by: a, mode: 0o640}}\nprocesses: {a: {command: [x]}}\n")
    assert (item.made_by, item.mode, item.max_messages, item.external) == ("a", 0o640, None, False)


def test_huge_pages_and_locked_memory() -> None:
    item = object_of("segments: {s: {family: memfd, size: 4MiB, huge_pages: 2MiB, lock: true}}\n")
    assert (item.huge_pages, item.lock) == (2**21, True)
    item = object_of("segments: {s: {size: 1}}\n")
    assert (item.huge_pages, item.lock) == (None, False)


SELECTED = """queues: {made: {name: /m, made_by: maker}, awaited: , other: , watched: }
processes:
  other: {command: [x], uses: [other]}
  maker: {command: [x], autostart: false, uses: [made]}
  reader: {command: [x]}
  user: {command: [x], uses: [made], wait_for: {awaited: {messages: 0}, reader: {blocked_on: watched}}}
"""


def test_a_selection_brings_along_all_that_it_waits_for() -> None:
    plan = plan_of(SELECTED, only=["user"])
    assert [process.name for process in plan.processes] == ["maker", "reader", "user"]
    assert all(process.autostart for process in plan.processes)
    assert [item.key for item in plan.objects] == ["made", "awaited", "watched"]


def test_a_maker_cannot_be_scaled() -> None:
    with pytest.raises(UsageError, match="it makes `made`"):
        plan_of(SELECTED, scale={"maker": 2})
