"""`orchestra objects`: the kernel objects of one instance, as declared, as they are now, and who holds them."""

from __future__ import annotations

import sys
from typing import Any

from orchestra.cli.look import Seen, look_at
from orchestra.cli.options import FileOption, Format, FormatOption, InstanceArgument, NameOption, emit
from orchestra.cli.state import open_state
from orchestra.views import holders
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import hex_key, octal, render_json
from orchestra.views.processes import state_style
from orchestra.views.table import Column, render_table

EXAMPLES = """
orchestra objects               of ./orchestra.yaml, else of the only live one
orchestra objects pipeline      of the instance pipeline
orchestra inspect pipeline.jobs every field of one of them
"""


def objects(
    instance: InstanceArgument = None,
    name: NameOption = None,
    file: FileOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """List the objects of an instance and who holds them.

    STATE is what the kernel shows now: live, removing (marked, dies with its
    last user), unlinked (the name is gone, somebody still holds it), gone;
    or kept, borrowed, removed, abandoned as the ledger has it. A `?` among the
    holders means that some processes may not be looked into.
    """
    with open_state() as state:
        chosen = state.choose(instance, name=name, file=file)
        seen = look_at(state.ledger.objects(run=chosen.row.run), chosen.row)
    if format_ is Format.JSON:
        content = {"instance": chosen.row.instance, "run": chosen.row.run, "objects": [_answer(item) for item in seen]}
        emit(render_json("objects", content))
    else:
        emit(_table(seen))
    return 0


def _answer(seen: Seen) -> dict[str, Any]:
    row = seen.row
    return {
        "key": row.key,
        "family": row.family.value,
        "kind": row.kind.value,
        "name": row.name,
        "id": row.id,
        "ipc_key": hex_key(row.ipc_key),
        "size": _size(seen),
        "mode": octal(_mode(seen)),
        "state": seen.state,
        "on_down": row.on_down.value,
        "holders": holders.answer(seen.holders),
        "holders_complete": seen.holders.complete,
    }


def _table(found: list[Seen]) -> str:
    columns = [
        Column("object"),
        Column("family"),
        Column("kind"),
        Column("name or id", shrink=True),
        Column("key"),
        Column("size", right=True),
        Column("mode"),
        Column("state", styles=state_style),
        Column("on down"),
        Column("holders", shrink=True),
    ]
    rows = [
        (
            seen.row.key,
            seen.row.family,
            seen.row.kind,
            seen.row.name if seen.row.name is not None else seen.row.id,
            hex_key(seen.row.ipc_key),
            _size(seen),
            octal(_mode(seen)),
            seen.state,
            seen.row.on_down,
            holders.words(seen.holders),
        )
        for seen in found
    ]
    return render_table(columns, rows, width=terminal_width(sys.stdout), paint=paint_for(sys.stdout))


def _size(seen: Seen) -> int | None:
    if seen.stat is not None:
        return seen.stat.size
    declared = seen.row.shape.get("size")
    return declared if isinstance(declared, int) else None


def _mode(seen: Seen) -> int:
    return seen.row.mode if seen.stat is None else seen.stat.mode
