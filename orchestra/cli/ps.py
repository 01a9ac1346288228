"""`orchestra ps`: the processes of one instance, from its supervisor while it lives, else from the ledger."""

from __future__ import annotations

import sys
import time
from typing import Any

from orchestra.cli.options import FileOption, Format, FormatOption, InstanceArgument, NameOption, emit
from orchestra.cli.state import Instance, State, live_answer, open_state
from orchestra.ledger.rows import ProcessRow
from orchestra.views import processes as view
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import render_json
from orchestra.views.processes import ALIVE

EXAMPLES = """
orchestra ps                   of ./orchestra.yaml, else of the only live one
orchestra ps pipeline          of the instance pipeline
orchestra ps topologies/ring/  of the instance of that file
orchestra ps --format json | jq -r '.processes[].state'
"""


def ps(
    instance: InstanceArgument = None,
    name: NameOption = None,
    file: FileOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """List the processes of an instance.

    Of a live instance its supervisor is asked; of an ended one the ledger knows how each process ended.
    """
    with open_state() as state:
        chosen = state.choose(instance, name=name, file=file)
        content = _content(state, chosen)
    if format_ is Format.JSON:
        emit(render_json("ps", {**content, "processes": view.answer(content["processes"])}))
    else:
        width, paint = terminal_width(sys.stdout), paint_for(sys.stdout)
        emit(view.table(content["processes"], now=time.time(), width=width, paint=paint))
    return 0


def _content(state: State, chosen: Instance) -> dict[str, Any]:
    answered: dict[str, Any] | None = live_answer(state, chosen)
    if answered is not None:
        return {key: answered[key] for key in ("instance", "run", "state", "processes")}
    rows = state.processes(chosen.row.run)
    if chosen.state == "crashed":
        rows = [_after_the_crash(row) for row in rows]
    return {
        "instance": chosen.row.instance,
        "run": chosen.row.run,
        "state": chosen.state,
        "processes": [view.row_content(row) for row in rows],
    }


def _after_the_crash(row: ProcessRow) -> ProcessRow:
    """What the ledger last heard of a process is old news once nobody supervises it: look whether it survived."""
    from orchestra.kernel.procfs import start_time

    if row.state not in ALIVE or (row.pid is not None and start_time(row.pid) == row.start_time):
        return row
    return row._replace(state="failed")
