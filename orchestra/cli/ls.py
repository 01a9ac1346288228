"""`orchestra ls`: every instance this user has started, live or ended."""

from __future__ import annotations

import sys
import time
from typing import Any

from orchestra.cli.exits import tell
from orchestra.cli.options import Format, FormatOption, emit
from orchestra.cli.state import Instance, State, open_state
from orchestra.ledger.rows import ObjectState
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import render_json
from orchestra.views.processes import ALIVE, state_style
from orchestra.views.table import Column, render_table
from orchestra.views.times import clock, rfc3339

EXAMPLES = """
orchestra ls                   every instance, the newest first
orchestra ls --format json | jq -r '.instances[].instance'
"""


# States in which the ledger expects an object to be on the host.
_THERE = (ObjectState.LIVE, ObjectState.KEPT, ObjectState.BORROWED)


def ls(format_: FormatOption = Format.TABLE) -> int:
    """List the instances, live and ended.

    One line each, about its newest run. PROCESSES counts those that run now,
    OBJECTS those that the ledger expects to be there now. `crashed` means that
    its supervisor was killed: `orchestra down` or the next `up` tidies up.
    """
    with open_state() as state:
        found = [_content(state, item) for item in state.instances.values()]
    if format_ is Format.JSON:
        times = ("started_at", "ended_at")
        emit(render_json("ls", {"instances": [{**item, **{t: rfc3339(item[t]) for t in times}} for item in found]}))
    else:
        emit(_table(found))
        if not found:
            tell("nothing has been started yet\nhelp: orchestra up FILE")
    return 0


def _content(state: State, item: Instance) -> dict[str, Any]:
    row = item.row
    running = [p for p in state.ledger.processes(row.run) if p.state in ALIVE] if item.live else []
    objects = state.ledger.objects(run=row.run, states=_THERE)
    return {
        "instance": row.instance,
        "run": row.run,
        "topology": row.topology,
        "state": item.state,
        "pid": row.supervisor_pid if item.live else None,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "processes": len(running),
        "objects": len(objects),
    }


def _table(found: list[dict[str, Any]]) -> str:
    columns = [
        Column("instance"),
        Column("state", styles=state_style),
        Column("run"),
        Column("topology", shrink=True),
        Column("pid", right=True),
        Column("processes", right=True),
        Column("objects", right=True),
        Column("started"),
        Column("ended"),
    ]
    now = time.time()
    rows = [
        (
            item["instance"],
            item["state"],
            item["run"],
            item["topology"],
            item["pid"],
            item["processes"],
            item["objects"],
            clock(item["started_at"], now),
            clock(item["ended_at"], now),
        )
        for item in found
    ]
    return render_table(columns, rows, width=terminal_width(sys.stdout), paint=paint_for(sys.stdout))
