"""What an edited file means for a run that lives: the difference of two plans. Pure.

Only what a running process would notice restarts it. How it is stopped, restarted or waited for is taken over as it
runs, and so is `on_down`. The environment that a run inherited from its caller does not count: it changes with every
shell, and whatever is started from then on gets the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from orchestra.errors import Conflict
from orchestra.runplan import ObjectPlan, ProcessPlan, RunPlan
from orchestra.supervisor.states import Graph

# What a process was started with, or has been told: another value reaches it only by another start.
AT_THE_START = (
    "command", "function", "arguments", "python", "directory", "environment", "uses", "ready", "watchdog", "stdin",
    "stdin_file", "output", "attributes", "isolation",
)  # fmt: skip
# What only we act by, the next time that it matters.
AS_IT_RUNS = (
    "service", "success", "depends_on", "wait_for", "restart", "autostart", "stop_signal", "stop_command", "grace",
    "escalate", "extra",
)  # fmt: skip
# What an object is: another value takes another object.
SHAPE = (
    "family", "kind", "name", "ipc_key", "mode", "owner", "group", "external", "max_messages", "message_size",
    "capacity", "size", "fill", "values", "made_by", "huge_pages", "lock",
)  # fmt: skip
# What our record of it says, and what its users are told.
RECORD = ("on_down", "extra")
# Of the whole run, fixed for as long as it lives.
FIXED = ("undeclared", "log")


class Step(NamedTuple):
    """One thing to do, as people are shown it. Either `object` or `process` is set, or neither: the run."""

    action: str  # create | remove | keep | recreate | start | stop | restart | scale | adjust | later
    object: str | None = None
    process: str | None = None
    detail: str = ""


class Difference(NamedTuple):
    """What the new plan changes. Names are in the order of their plan; values of mappings are words."""

    plan: RunPlan  # what the run will be
    added: tuple[str, ...] = ()  # processes
    removed: tuple[str, ...] = ()
    restarted: Mapping[str, str] = {}
    adjusted: Mapping[str, str] = {}
    scaled: Mapping[str, tuple[int, int]] = {}
    made: tuple[str, ...] = ()  # objects
    dropped: tuple[str, ...] = ()
    remade: Mapping[str, str] = {}
    recorded: Mapping[str, str] = {}
    later: tuple[str, ...] = ()  # what takes another run

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done."""
        return not any(self[1:])


def check(plan: RunPlan) -> None:
    """Raise ValueError for a plan that no file makes, and that a run must not be led into.

    A client that is not ours may send anything; names that do not exist would end the supervisor.
    """
    keys, names = [item.key for item in plan.objects], [process.name for process in plan.processes]
    if len({*keys, *names}) < len(keys) + len(names):
        raise ValueError("a name is given twice")
    for process in plan.processes:
        if type(process.replicas) is not int or process.replicas < 1:
            raise ValueError(f"{process.name} has {process.replicas!r} replicas")
        if not process.command and not process.function:
            raise ValueError(f"{process.name} has neither a command nor a function")
        for use in process.uses:
            if use.object not in keys:
                raise ValueError(f"{process.name} uses {use.object}, which does not exist")
    for item in plan.objects:
        if item.made_by and item.made_by not in names:
            raise ValueError(f"{item.key} is made by {item.made_by}, which does not exist")
    Graph.of(plan.processes)


def difference(old: RunPlan, new: RunPlan, *, only: Collection[str] = ()) -> Difference:
    """Compare a live run's plan with the one that its file makes now.

    With `only` the new plan holds just a part of the file, and nothing else is touched. Raises Conflict for what no
    live run can become.
    """
    if old.isolation != new.isolation:
        raise Conflict(
            f"{old.instance} runs with isolation {old.isolation}, and is to run with {new.isolation}",
            hint=f"A run stays where it is: `orchestra down {old.instance}`, then up.",
        )
    if only:
        new = _merged(old, new)
    before, after = _by(old.processes, "name"), _by(new.processes, "name")
    had, has = _by(old.objects, "key"), _by(new.objects, "key")
    remade = {key: words for key, item in has.items() if key in had and (words := _reshaped(had[key], item))}
    recorded = {
        key: words
        for key, item in has.items()
        if key in had and key not in remade and (words := _changed(had[key], item, RECORD))
    }
    retold = {key for key in recorded if had[key].extra != has[key].extra}
    both = [(before[name], plan) for name, plan in after.items() if name in before]
    makes = [(item.made_by, key) for key, item in has.items() if item.made_by and key in {*remade, *(has.keys() - had)}]
    restarted = {
        plan.name: words
        for was, plan in both
        if (words := _why_restarted(was, plan, {*remade, *retold}, [key for name, key in makes if name == plan.name]))
    }
    return Difference(
        plan=new._replace(**{name: getattr(old, name) for name in FIXED}),
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        restarted=restarted,
        adjusted={
            plan.name: words
            for was, plan in both
            if plan.name not in restarted and (words := _changed(was, plan, AS_IT_RUNS))
        },
        scaled={plan.name: (was.replicas, plan.replicas) for was, plan in both if was.replicas != plan.replicas},
        made=tuple(key for key in has if key not in had),
        dropped=tuple(key for key in had if key not in has),
        remade=remade,
        recorded=recorded,
        later=tuple(f"{name}: {_words(getattr(new, name))}" for name in _differing(old, new, FIXED)),
    )


def refuse_reshaping(found: Difference, old: RunPlan) -> None:
    """Raise Conflict when objects that exist would have to be made anew; it names both shapes and who would notice.

    External objects are no concern: nothing of theirs is lost by looking at them again.
    """
    external = {item.key for plan in (old, found.plan) for item in plan.objects if item.external}
    lost = [f"{key}: {words}" for key, words in found.remade.items() if key not in external]
    if not lost:
        return
    users = [name for name in found.restarted if _uses(found.plan, name) & found.remade.keys()]
    noticed = f" and {', '.join(users)} restarted" if users else ""
    raise Conflict(
        f"{old.instance} lives with other objects than the file declares; nothing was changed",
        detail="; ".join(lost),
        hint=f"`up -d --recreate` makes them anew: their content is lost{noticed}.",
    )


def steps(found: Difference) -> list[Step]:
    """Return what is done, in about that order, for `up -d`, `plan` and the control protocol."""
    listed: list[Step] = [Step("stop", process=name, detail="no longer in the file") for name in found.removed]
    listed += [Step("create", object=key) for key in found.made]
    listed += [Step("recreate", object=key, detail=words) for key, words in found.remade.items()]
    listed += [Step("adjust", object=key, detail=words) for key, words in found.recorded.items()]
    listed += [Step("remove", object=key, detail="no longer in the file, as its on_down says") for key in found.dropped]
    listed += [Step("restart", process=name, detail=words) for name, words in found.restarted.items()]
    for name, (before, after) in found.scaled.items():
        listed.append(Step("scale", process=name, detail=f"from {before} to {after}"))
    listed += [Step("adjust", process=name, detail=words) for name, words in found.adjusted.items()]
    listed += [Step("start", process=name) for name in found.added]
    listed += [Step("later", detail=f"{words}; takes the next run") for words in found.later]
    return listed


def _merged(old: RunPlan, part: RunPlan) -> RunPlan:
    """Return the old plan with everything that `part` holds in place of its own."""
    return part._replace(
        processes=tuple({**_by(old.processes, "name"), **_by(part.processes, "name")}.values()),
        objects=tuple({**_by(old.objects, "key"), **_by(part.objects, "key")}.values()),
    )


def _by(items: Sequence[Any], field: str) -> dict[str, Any]:
    return {getattr(item, field): item for item in items}


def _why_restarted(was: ProcessPlan, plan: ProcessPlan, objects: Collection[str], makes: Sequence[str]) -> str:
    """Return in words what differs that only another start can bring, or "". It is to make the objects of `makes`."""
    if _same_but_patience(was, plan):
        was = was._replace(ready=plan.ready)
    used = [use.object for use in plan.uses if use.object in objects]
    return ", ".join(dict.fromkeys([*_differing(was, plan, AT_THE_START), *used, *makes]))


def _same_but_patience(was: ProcessPlan, plan: ProcessPlan) -> bool:
    if was.ready is None or plan.ready is None:
        return False
    return was.ready._replace(timeout=0) == plan.ready._replace(timeout=0)


def _differing(was: Any, item: Any, fields: Sequence[str]) -> Iterator[str]:
    return (name for name in fields if getattr(was, name) != getattr(item, name))


def _changed(was: Any, item: Any, fields: Sequence[str]) -> str:
    return ", ".join(_differing(was, item, fields))


def _reshaped(was: ObjectPlan, item: ObjectPlan) -> str:
    """Return both shapes in words, as far as they differ, or ""."""
    parts = []
    for name in _differing(was, item, SHAPE):
        words = _WORDS.get(name, _words)
        parts.append(f"{name} is {words(getattr(was, name))}, declared {words(getattr(item, name))}")
    return ", ".join(parts)


def _words(value: Any) -> str:
    if value is None:
        return "the default"
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        given = [f"{name} {_words(item)}" for name, item in value._asdict().items() if item is not None]
        return " ".join(given) or "the default"
    if isinstance(value, tuple):
        return " ".join(map(_words, value)) or "nothing"
    return str(value.value if hasattr(value, "value") else value) if value != "" else "nothing"


def _octal(mode: int) -> str:
    return f"{mode:#o}"


def _key(key: int | None) -> str:
    return {None: "any", 0: "private"}.get(key) or f"{key:#010x}"


_WORDS: dict[str, Callable[[Any], str]] = {"mode": _octal, "ipc_key": _key}


def _uses(plan: RunPlan, name: str) -> set[str]:
    return {use.object for process in plan.processes if process.name == name for use in process.uses}
