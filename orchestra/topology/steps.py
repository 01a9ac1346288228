"""The steps of a run in the order they happen, for `orchestra plan`.

Objects are made in the order of the file and taken away in reverse. A process starts as soon as all it depends on is
as wanted, so processes appear in an order that fits the file; waits that are over already are not repeated. An object
that a process makes is not created but waited for, right after its maker is ready, and removed like the others. What
does not start by itself is not there at all.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from orchestra.kinds import Family, OnDown
from orchestra.runplan import Dependency, ObjectPlan, ProcessPlan, RunPlan, WaitFor

_ENDED = ("completed", "ended")


_Row = tuple[str, str | None, str | None, str]  # action, object, process, detail


class Step(NamedTuple):
    """One step: create start wait stop remove keep. `detail` says what a word alone does not."""

    n: int
    action: str
    object: str | None = None
    process: str | None = None
    detail: str = ""


def steps(plan: RunPlan, *, reused: Collection[str] = (), leak: bool = False) -> list[Step]:
    """Return the steps of a run that goes well. `reused` are the keys of kept objects that are there already."""
    started = [process for process in start_order(plan.processes) if process.autostart]
    names = {process.name for process in started}
    ours = [item for item in plan.objects if not item.external and (not item.made_by or item.made_by in names)]
    made = [item for item in ours if not item.made_by and item.key not in reused]
    found: list[_Row] = [("create", item.key, None, _made(item)) for item in made]
    over: set[tuple[str, ...]] = set()
    for process in started:
        for dependency in process.depends_on:
            wait = (dependency.process, dependency.condition)
            if wait not in over and (dependency.condition != "started" or dependency.process not in names):
                over.add(wait)
                found.append(("wait", None, dependency.process, _awaited(dependency, plan)))
            found += _appeared(dependency.process, ours, over)
        found += [_condition(wait) for wait in process.wait_for]
        found.append(("start", None, process.name, _started(process)))
    awaited = {name for name, condition, *_ in over if condition in _ENDED}
    for item in started:
        if not item.service and item.name not in awaited:
            found.append(("wait", None, item.name, "ended"))
        found += _appeared(item.name, ours, over)
    found += [("stop", None, item.name, _stopped(item)) for item in reversed(started) if item.service]
    found += [(*_ended(item, leak=leak), "") for item in reversed(ours)]
    return [Step(n, action, object_, process, detail) for n, (action, object_, process, detail) in enumerate(found, 1)]


def _appeared(maker: str, objects: list[ObjectPlan], over: set[tuple[str, ...]]) -> list[_Row]:
    """Return the waits for what a process makes, once."""
    new = [item.key for item in objects if item.made_by == maker and ("", item.key) not in over]
    over.update(("", key) for key in new)
    return [("wait", key, maker, f"made by {maker}: checked, from then on ours") for key in new]


def _awaited(dependency: Dependency, plan: RunPlan) -> str:
    other = next((process for process in plan.processes if process.name == dependency.process), None)
    if other is not None and not other.autostart:
        return f"{dependency.condition}, once it is asked for"
    if dependency.condition != "ready" or other is None or other.ready is None:
        return dependency.condition
    return f"ready: {other.ready.kind}, at most {other.ready.timeout:g}s"


def _condition(wait: WaitFor) -> _Row:
    if wait.what == "blocked_on":
        return ("wait", wait.object, wait.subject, f"{wait.subject} is blocked on it")
    if wait.what == "exists":
        return ("wait", wait.subject, None, "exists" if wait.expected else "does not exist")
    what = f"value of semaphore {wait.member}" if wait.what == "value" and wait.member else wait.what
    if wait.minimum == wait.maximum:
        return ("wait", wait.subject, None, f"{what}: {wait.minimum}")
    low = f" at least {wait.minimum}" if wait.minimum or wait.maximum is None else ""
    high = "" if wait.maximum is None else f" at most {wait.maximum}"
    return ("wait", wait.subject, None, f"{what}:{' and'.join(filter(None, (low, high)))}")


def start_order(processes: tuple[ProcessPlan, ...]) -> list[ProcessPlan]:
    """Return processes so that each comes after those it depends on, else in the order of the file."""
    by_name = {process.name: process for process in processes}
    done: dict[str, ProcessPlan] = {}

    for process in processes:
        way = [process]
        while way:
            current = way[-1]
            names = [item.process for item in current.depends_on]
            names += [item.subject for item in current.wait_for if item.what == "blocked_on"]
            waiting = [by_name[name] for name in names if name in by_name and name not in done]
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
    words = [f"{process.replicas} replicas"] if process.replicas > 1 else []
    if process.restart.policy != "never":
        words.append("restarted whenever it ends" if process.restart.policy == "always" else "restarted on failure")
    return ", ".join(words)


def _stopped(process: ProcessPlan) -> str:
    by = ", by its command" if process.stop_command else ""
    return f"once every process that is not a service has ended{by}"


def _ended(item: ObjectPlan, *, leak: bool) -> tuple[str, str, None]:
    nameless = item.family in (Family.MEMFD, Family.ANONYMOUS)
    keep = (leak or item.on_down is OnDown.KEEP) and not nameless
    return ("keep" if keep else "remove", item.key, None)
