"""A plan crosses to the supervisor as JSON and comes back the same."""

from __future__ import annotations

import json

import pytest

from orchestra.bindings import Placeholder
from orchestra.kinds import Access, Family, Fill, Kind, OnDown
from orchestra.runplan import (
    Attributes,
    Dependency,
    LogPlan,
    ObjectPlan,
    ProcessPlan,
    Ready,
    Restart,
    RunPlan,
    Use,
    WaitFor,
)

PLAN = RunPlan(
    topology="pipeline",
    instance="pipeline-2",
    file="/srv/p/orchestra.yaml",
    folder="/srv/p",
    objects=(
        ObjectPlan(
            "board", Family.POSIX, Kind.SEGMENT, size=8, fill=Fill(hex="00ff"), on_down=OnDown.KEEP, extra={"x-a": [1]}
        ),
        ObjectPlan("locks", Family.SYSV, Kind.SEMAPHORE, ipc_key=0, values=(1, 0, 8)),
    ),
    processes=(
        ProcessPlan(
            "worker",
            (("python3",), ("--board=", Placeholder("board", "name"), "-", Placeholder("", "replica"))),
            directory=("/srv/p",),
            environment=(("RATE", ("1.10",)),),
            uses=(Use("board", Access.READ),),
            replicas=3,
            success=(0, "SIGSEGV"),
            depends_on=(Dependency("maker", "completed"),),
            grace=0.5,
            wait_for=(WaitFor("board", "attached", 2), WaitFor("maker", "blocked_on", object="locks")),
            ready=Ready("exec", command=(("test", "-e"), (Placeholder("board", "name"),)), timeout=2.5),
            restart=Restart("on-failure", 3, 1.0, 0.1, 2.0),
            watchdog=1.0,
            stop_command=(("stop", Placeholder("", "replica")),),
            stdin="file",
            stdin_file=("/dev/zero",),
            output="line",
            attributes=Attributes(
                user=7, groups=(8, 9), scheduler=("fifo", 80), cpu_affinity=((0,), (1, 2)), limits=(("nofile", 64, -1),)
            ),
        ),
        ProcessPlan("maker", function="pipeline.workers:consume", arguments={"limit": [1, None]}, autostart=False),
    ),
    isolation="private",
    undeclared="fail",
    log=LogPlan(rotate_size=65536, keep=2, raw=True),
    environment={"PATH": "/bin"},
)


def test_a_plan_survives_json() -> None:
    assert RunPlan.from_json(PLAN.to_json()) == PLAN


def test_a_plan_is_one_line() -> None:
    assert "\n" not in PLAN.to_json()


def test_a_plan_of_another_version_is_refused() -> None:
    foreign = json.dumps({**json.loads(PLAN.to_json()), "version": 99})
    with pytest.raises(ValueError, match="another version"):
        RunPlan.from_json(foreign)
