"""`orchestra plan`: what a run would do, step by step, and who sees to it that `uses` is kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestra.cli.options import (
    FileArgument,
    Format,
    FormatOption,
    InstanceNameOption,
    ScaleOption,
    SetOption,
    TopologyOption,
    emit,
)
from orchestra.kinds import Access, Family, Kind
from orchestra.runplan import ObjectPlan, RunPlan
from orchestra.statedir import StateDir, is_locked
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import render_json
from orchestra.views.table import Column, render_table

if TYPE_CHECKING:
    from orchestra.ledger.rows import RunRow

EXAMPLES = """
orchestra plan                               ./orchestra.yaml
orchestra plan pipeline.yaml --set rate=50
orchestra plan --format json | jq -r '.steps[] | "\\(.n) \\(.action)"'
"""

_OPENED = {Access.READ: "read-only", Access.WRITE: "write-only", Access.READ_WRITE: "read-write"}
KERNEL, PROGRAM = "kernel", "program"
_BY_DESCRIPTOR = (
    (Family.POSIX, Kind.QUEUE),
    (Family.POSIX, Kind.SEGMENT),
    (Family.MEMFD, Kind.SEGMENT),
    (Family.ANONYMOUS, Kind.PIPE),
)


def plan(
    topology: FileArgument = None,
    file: TopologyOption = None,
    name: InstanceNameOption = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Show the steps a run would take, in order.

    The file is checked as `up` checks it. Below the steps: who enforces the
    access that each process declared. The kernel does where the process gets a
    descriptor opened for just that; elsewhere the program has to keep to it.
    """
    from orchestra.cli.prepare import prepare

    prepared = prepare(topology, option=file, name=name, settings=set_ or (), scale=scale or ())
    prepared.tell_warnings()
    emit(render_plan(prepared.plan, format_))
    return 0


def render_plan(plan: RunPlan, format_: Format, *, leak: bool = False) -> str:
    """Return the plan of a run as `orchestra plan` answers."""
    from orchestra.topology.steps import steps

    order = steps(plan, reused=_reused(plan), leak=leak)
    uses = list(_uses(plan))
    live = _live(plan)
    if format_ is Format.JSON:
        content = [
            {"n": s.n, "action": s.action, "object": s.object, "process": s.process, "detail": s.detail} for s in order
        ]
        changes = None if live is None else [dict(change) for change in live[1]]
        return render_json("plan", {"instance": plan.instance, "changes": changes, "steps": content, "uses": uses})
    width, paint = terminal_width(sys.stdout), paint_for(sys.stdout)
    parts = [] if live is None else [_changes(*live)]
    parts += [
        render_table(
            [Column("step", right=True), Column("action"), Column("what"), Column("detail", shrink=True)],
            [(s.n, s.action, s.object or s.process, s.detail) for s in order],
            width=width,
            paint=paint,
        )
    ]
    if uses:
        parts.append(
            render_table(
                [Column("process"), Column("object"), Column("access"), Column("enforced by", shrink=True)],
                [(u["process"], u["object"], u["access"], _words(u)) for u in uses],
                width=width,
                paint=paint,
            )
        )
    return "\n".join(parts)


def _live(plan: RunPlan) -> tuple[RunRow, list[Mapping[str, Any]]] | None:
    """Return the live run of this file and what `up -d` would change in it."""
    places = StateDir.locate()
    if not is_locked(places.lock(plan.instance)):
        return None
    from orchestra.cli.edited import difference

    return difference(places, plan)


def _changes(row: RunRow, changes: list[Mapping[str, Any]]) -> str:
    from orchestra.cli.edited import lines

    if not changes:
        return f"{row.instance} is up, run {row.run}, and nothing differs. A new run would be:\n"
    listed = "\n".join(lines(changes, paint_for(sys.stdout)))
    return f"{row.instance} is up, run {row.run}; `up -d` would\n{listed}\n\nA new run would be:\n"


def _reused(plan: RunPlan) -> list[str]:
    """Keys of the objects that an earlier run of this instance kept and the next one would use again."""
    if not plan.objects:
        return []
    from orchestra.ledger.journal import Ledger
    from orchestra.objects import find_kept

    with Ledger.open(StateDir.locate().ledger, create=False) as ledger:
        return [item.key for item in plan.objects if find_kept(ledger, item, plan.instance) is not None]


def _uses(plan: RunPlan) -> Iterator[dict[str, Any]]:
    objects = {item.key: item for item in plan.objects}
    for process in plan.processes:
        for use in process.uses:
            item = objects[use.object]
            by, how = enforcer(item, use.access)
            yield {
                "process": process.name,
                "object": use.object,
                "access": use.access.value,
                "enforced_by": by,
                "how": how,
            }


def enforcer(item: ObjectPlan, access: Access) -> tuple[str | None, str]:
    """Return who keeps a process to its declared access, and how; None where there is nothing to keep to."""
    if (item.family, item.kind) in _BY_DESCRIPTOR:
        return KERNEL, f"the descriptor it gets is opened {_OPENED[access]}"
    if access is Access.READ_WRITE:
        return None, "nothing to enforce"
    if item.family is Family.SYSV:
        return PROGRAM, "a System V id carries no access; the mode counts"
    return PROGRAM, "it opens the path itself; the mode counts"


def _words(use: dict[str, Any]) -> str:
    return f"{use['enforced_by']}: {use['how']}" if use["enforced_by"] else str(use["how"])
