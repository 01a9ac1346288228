"""Checks against a host; most words are in the corpus, here is what decides."""

from __future__ import annotations

import pytest

from orchestra.errors import TopologyError
from orchestra.kernel.hostfacts import RealHost
from orchestra.kinds import KernelLimits
from orchestra.topology.limits import queue_bytes
from orchestra.topology.objectmodels import PosixQueue
from orchestra.topology.rules import check, load_checked, may_be_built, warnings
from tests.support.hosts import USUAL_LIMITS, FakeHost
from tests.support.topologies import load_text, reader

BIN = {"/bin/cat": b"\x7fELF", "/w/tool": b"\x7fELF"}


def codes(text: str, host: FakeHost | None = None, limits: KernelLimits = USUAL_LIMITS) -> list[str]:
    host = host or FakeHost(files=dict(BIN), executable=set(BIN))
    loaded = load_text("version: 1\n" + text, environment={"PATH": "/usr/bin:/bin"})
    return [f"{problem.code} {problem.path}" for problem in check(loaded, limits, host)]


def one(command: str, rest: str = "") -> str:
    return f"processes: {{a: {{command: {command}{rest}}}}}\n"


def test_programs_in_path_and_beside_the_file() -> None:
    assert codes(one("[cat]")) == []
    assert codes(one("[./tool]")) == []
    assert codes(one("[/bin/cat]")) == []
    assert codes(one("[tool]")) == ["executable processes.a.command.0"]
    assert codes(one("[bin/tool]")) == ["executable processes.a.command.0"]


def test_a_relative_program_counts_from_the_file_even_with_another_directory() -> None:
    host = FakeHost(files=dict(BIN), executable=set(BIN), folders={"/w/sub"})
    assert codes(one("[./tool]", ", directory: sub"), host) == []


def test_the_childs_own_path_is_searched() -> None:
    assert codes(one("[tool]", ", environment: {PATH: /w}")) == []
    assert codes(one("[tool]", ", environment: {PATH: .}")) == []
    assert codes(one("[cat]", ", environment: {PATH: /w}")) == ["executable processes.a.command.0"]


def test_a_program_known_only_at_launch_is_not_looked_for() -> None:
    assert codes(one("['tool-${replica}']")) == []
    assert codes(one("['./${replica}/tool']")) == []


def test_what_a_completed_process_may_build() -> None:
    text = "processes:\n  cc: {command: [cat]}\n  a: {command: [./new], depends_on: {cc: %s}}\n"
    assert codes(text % "completed") == []
    assert codes(text % "ended") == []
    assert codes(text % "ready") == ["executable processes.a.command.0"]


def test_building_carries_over_a_chain() -> None:
    text = "version: 1\nprocesses:\n  cc: {command: [cat]}\n  a: {command: [cat], depends_on: {cc: completed}}\n"
    topology = load_text(text + "  b: {command: [cat], depends_on: {a: started}}\n  c: {command: [cat]}\n").topology
    assert [name for name in topology.processes if may_be_built(name, topology)] == ["a", "b"]


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"#!/bin/sh\n", []),
        (b"#! /bin/sh -e\n", []),
        (b"#!/usr/bin/env cat\n", []),
        (b"#!/usr/bin/env -S cat x\n", []),
        (b"#!/no/such/sh\n", ["interpreter processes.a.command.0"]),
        (b"#!/usr/bin/env dog\n", ["interpreter processes.a.command.0"]),
        (b"#!/bin/sh\r\n", ["interpreter processes.a.command.0"]),
        (b"#!\n", ["interpreter processes.a.command.0"]),
        (b"\x7fELF", []),
    ],
)
def test_scripts(head: bytes, code: list[str]) -> None:
    files = {**BIN, "/bin/sh": b"\x7fELF", "/usr/bin/env": b"\x7fELF", "/w/tool": head}
    assert codes(one("[./tool]"), FakeHost(files=files, executable=set(files))) == code


def test_a_text_file_without_an_interpreter_is_a_warning() -> None:
    files = {**BIN, "/w/tool": b"print(1)\n"}
    host = FakeHost(files=files, executable=set(files))
    loaded = load_text("version: 1\n" + one("[./tool]"))
    assert check(loaded, USUAL_LIMITS, host) == []
    assert [problem.code for problem in warnings(loaded, host)] == ["executable"]


# --- limits ----------------------------------------------------------------------------------------------------

LIFTED = USUAL_LIMITS._replace(cap_sys_resource=True)


def test_capabilities_lift_what_they_lift() -> None:
    assert codes("queues: {q: {max_messages: 11}}\n") == ["limit queues.q.max_messages"]
    assert codes("queues: {q: {max_messages: 11, message_size: 100}}\n", limits=LIFTED) == []
    assert codes("queues: {q: {message_size: 17MiB}}\n", limits=LIFTED._replace(rlimit_msgqueue=None)) == [
        "limit queues.q.message_size"
    ]
    assert codes("queues: {q: {family: sysv, capacity: 1MiB}}\n") == ["limit queues.q.capacity"]
    assert codes("queues: {q: {family: sysv, capacity: 1MiB}}\n", limits=LIFTED) == []


def test_the_cost_of_a_queue_is_the_kernels() -> None:
    """nobody got nine default queues and not the tenth, with the usual limit of 819200."""
    assert 9 * queue_bytes(PosixQueue()) <= 819200 < 10 * queue_bytes(PosixQueue())


def test_the_sum_of_queues() -> None:
    nine = "queues: {" + ", ".join(f"q{n}: " for n in range(9)) + "}\n"
    ten = "queues: {" + ", ".join(f"q{n}: " for n in range(10)) + "}\n"
    assert codes(nine) == []
    assert codes(ten) == ["limit queues.q0"]
    assert codes(ten, limits=USUAL_LIMITS._replace(rlimit_msgqueue=None)) == []


def test_external_objects_cost_nothing() -> None:
    assert codes("queues: {q: {name: /q, external: true, max_messages: 5000}}\n") == []


def test_what_exists_already_counts() -> None:
    full = USUAL_LIMITS._replace(sysv_queues_now=32000)
    assert codes("queues: {q: {family: sysv}}\n", limits=full) == ["limit queues.q"]
    assert codes("queues: {q: {family: sysv, on_down: keep}}\n", limits=full) == []


def test_unknown_limits_refuse_nothing() -> None:
    text = "queues: {a: {max_messages: 60000}, b: {family: sysv, capacity: 1GiB}}\n"
    text += "segments: {c: {size: 1GiB}, d: {family: sysv, size: 1GiB}}\n"
    text += "semaphores: {e: {family: sysv, values: [1, 2]}, f: }\n"
    assert codes(text, limits=KernelLimits()) == []


def test_dev_shm() -> None:
    small = USUAL_LIMITS._replace(shm_free=8192)
    assert codes("segments: {a: {size: 8192}}\n", limits=small) == []
    assert codes("segments: {a: {size: 8193}}\n", limits=small) == ["limit segments.a.size"]
    assert codes("segments: {a: {size: 4096}}\nsemaphores: {b: , c: }\n", limits=small) == ["limit segments.a.size"]
    assert codes("segments: {a: {size: 1MiB, family: sysv}}\n", limits=small) == []
    gone = USUAL_LIMITS._replace(shm_mounted=False, shm_free=None)
    assert codes("semaphores: {b: }\n", limits=gone) == ["no_dev_shm semaphores.b"]
    assert codes("segments: {a: {size: 1, family: memfd}}\n", limits=gone) == []


def test_a_file_with_errors_is_checked_against_the_host_in_the_same_pass() -> None:
    text = "version: 1\nqueues: {a: {max_messages: 11}, b: {mode: 600}}\nprocesses: {p: {command: [dog], uses: [c]}}\n"
    with pytest.raises(TopologyError) as caught:
        load_checked(
            "orchestra.yaml",
            environment={},
            cwd="/w",
            limits=lambda: USUAL_LIMITS,
            host=FakeHost(),
            read=reader("orchestra.yaml", text, {}),
        )
    assert [problem.code for problem in caught.value.problems] == ["limit", "bad_mode", "unknown_name"]


def test_the_real_host_runs_a_shell() -> None:
    loaded = load_text("version: 1\n" + one("[sh]"), environment={"PATH": "/usr/bin:/bin"})
    assert check(loaded, KernelLimits(), RealHost()) == []


MODULES = {"/w/m.py": b"", "/w/p/__init__.py": b"", "/w/p/q.py": b""}


def function(name: str, rest: str = "") -> str:
    return f'processes: {{a: {{function: "{name}:f"{rest}}}}}\n'


def test_modules_of_functions() -> None:
    host = FakeHost(files={**BIN, **MODULES}, executable=set(BIN), modules={"installed"})
    for name in ("m", "p", "p.q", "installed"):
        assert codes(function(name), host) == []
    for name in ("n", "p.n", "m.n"):
        assert codes(function(name), host) == ["module processes.a.function"]
    assert codes(function("n", ", python: /bin/cat"), host) == []  # what another interpreter finds, it alone knows
    assert codes(function("n", ", python: /bin/none"), host) == ["executable processes.a.python"]
    assert codes(function("n", ", environment: {PYTHONPATH: /lib}"), host) == []


def test_a_module_may_be_built() -> None:
    text = 'processes:\n  cc: {command: [cat]}\n  a: {function: "n:f", depends_on: {cc: completed}}\n'
    assert codes(text) == []


def test_programs_of_ready_and_stop() -> None:
    assert codes(one("[cat]", ", ready: {exec: [./tool]}, stop: {command: [cat]}")) == []
    assert codes(one("[cat]", ", ready: {exec: [./no]}, stop: {command: [no]}")) == [
        "executable processes.a.ready.exec.0",
        "executable processes.a.stop.command.0",
    ]


def test_a_path_out_of_a_file_of_variables() -> None:
    host = FakeHost(files={**BIN, "/w/e": b"PATH=/w\n"}, executable=set(BIN))
    assert codes(one("[tool]", ", env_file: e"), host) == []
    assert codes(one("[tool]", ", env_file: e, environment: {PATH: /bin}"), host) == [
        "executable processes.a.command.0"
    ]


def test_one_file_of_variables_is_reported_once() -> None:
    host = FakeHost(files={**BIN, "/w/e": b"A\n"}, executable=set(BIN))
    text = "processes:\n  a: {command: [cat], env_file: e}\n  b: {command: [cat], env_file: [./e]}\n"
    loaded = load_text("version: 1\n" + text, environment={"PATH": "/bin"})
    found = check(loaded, USUAL_LIMITS, host)
    assert [(item.file, item.line, item.column, item.excerpt) for item in found] == [("/w/e", 1, 1, "A")]


def test_input_that_is_made_first() -> None:
    text = "processes:\n  cc: {command: [cat]}\n  a: {command: [cat], stdin: {file: new}, depends_on: {cc: %s}}\n"
    assert codes(text % "completed") == []
    assert codes(text % "ready") == ["unreadable processes.a.stdin.file"]
    assert codes(one("[cat]", ", stdin: {file: '${replica}.txt'}")) == []
    assert codes(one("[cat]", ", stdin: {file: tool}")) == []


def test_paths_of_sockets() -> None:
    assert codes(one("[cat]", f", ready: {{unix: /{'s' * 106}}}")) == []
    assert codes(one("[cat]", f", ready: {{unix: /{'s' * 107}}}")) == ["out_of_range processes.a.ready.unix"]
    assert codes(one("[cat]", f", ready: {{unix: '/{'s' * 107}${{replica}}'}}")) == []


def test_limits_of_a_namespace_of_its_own() -> None:
    text = "version: 1\nqueues: {q: {max_messages: 99, message_size: 9}}\n"

    def load_as(isolation: str | None, more: str = "") -> None:
        read = reader("orchestra.yaml", text + more, {})
        load_checked(
            "orchestra.yaml", environment={}, cwd="/w", limits=lambda: USUAL_LIMITS, host=FakeHost(), read=read,
            isolation=isolation,
        )  # fmt: skip

    load_as("private")
    load_as(None, "isolation: private\n")
    for isolation, more in ((None, ""), ("host", "isolation: private\n")):
        with pytest.raises(TopologyError):
            load_as(isolation, more)
