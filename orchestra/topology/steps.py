"""The steps of a run in the order they happen, for `orchestra plan`.

Objects are made in the order of the file and taken away in reverse. A process starts as soon as all it depends on is
as wanted, so processes appear in an order that fits the file; waits that are over already are not repeated.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from orchestra.kinds import Family, OnDown
from orchestra.runplan import ObjectPlan, ProcessPlan, RunPlan

_ENDED = ("completed", "ended")


class Step(NamedTuple):
    """One step: create start wait stop remove keep. `detail` says what a word alone does not."""

    n: int
    action: str
    object: str | None = None
    process: str | None = None
    detail: str = ""


def steps(plan: RunPlan, *, reused: Collection[str] = (), leak: bool = False) -> list[Step]:
    """Return the steps of a run that goes well. `reused` are the keys of kept objects that are there already."""
    made = [item for item in plan.objects if not item.external]
    found: list[tuple[str, str | None, str | None, str]] = []
    found += [("create", item.key, None, _made(item)) for item in made if item.key not in reused]
    over: set[tuple[str, str]] = set()
    for process in start_order(plan.processes):
        for dependency in process.depends_on:
            wait = (dependency.process, dependency.condition)
            if dependency.condition != "started" and wait not in over:
                over.add(wait)
                found.append(("wait", None, dependency.process, dependency.condition))
        found.append(("start", None, process.name, _started(process)))
    started = start_order(plan.processes)
    awaited = {name for name, condition in over if condition in _ENDED}
    found += [("wait", None, item.name, "ended") for item in started if not item.service and item.name not in awaited]
    found += [("stop", None, item.name, _stopped(item)) for item in reversed(started) if item.service]
    found += [(*_ended(item, leak=leak), "") for item in reversed(made)]
    return [Step(n, action, object_, process, detail) for n, (action, object_, process, detail) in enumerate(found, 1)]


def start_order(processes: tuple[ProcessPlan, ...]) -> list[ProcessPlan]:
    """Return processes so that each comes after those it depends on, else in the order of the file."""
    by_name = {process.name: process for process in processes}
    done: dict[str, ProcessPlan] = {}

    for process in processes:
        way = [process]
        while way:
            current = way[-1]
            waiting = [
                by_name[item.process]
                for item in current.depends_on
                if item.process in by_name and item.process not in done
            ]
            if waiting and waiting[0] not in way:  # cycles were refused long before; this keeps the loop finite
                way.append(waiting[0])
            else:
                done.setdefault(way.pop().name, current)
    return list(done.values())


def _made(item: ObjectPlan) -> str:
    what = f"{item.family} {item.kind}"
    if item.family is Family.FIFO:
        what = "fifo"
    return f"{what} {item.name}" if item.name else what


def _started(process: ProcessPlan) -> str:
    return f"{process.replicas} replicas" if process.replicas > 1 else ""


def _stopped(_: ProcessPlan) -> str:
    return "once every process that is not a service has ended"


def _ended(item: ObjectPlan, *, leak: bool) -> tuple[str, str, None]:
    nameless = item.family in (Family.MEMFD, Family.ANONYMOUS)
    keep = (leak or item.on_down is OnDown.KEEP) and not nameless
    return ("keep" if keep else "remove", item.key, None)
