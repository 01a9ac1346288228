"""`orchestra inspect`: one object, declared or not, exactly as the kernel describes it, and who holds it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from orchestra.cli import complete
from orchestra.cli.look import look_at
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption, emit
from orchestra.cli.state import State, open_state
from orchestra.cli.targets import is_address, parse_address
from orchestra.errors import NotFound
from orchestra.kernel.holders import holders_of
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Holders, ObjectRef, Stat
from orchestra.ledger.rows import ObjectRow
from orchestra.views import holders as holders_view
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import hex_key, octal, render_json
from orchestra.views.table import Column, render_table

EXAMPLES = """
orchestra inspect jobs                       an object of the clear instance
orchestra inspect pipeline.jobs              of the instance pipeline
orchestra inspect posix-queue:/jobs          any of this host, by name
orchestra inspect sysv-segment:0x4f524331    by key
orchestra inspect sysv-semaphore:0           by id, as `ipcs` shows it
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of the object asked for; `row` only when the ledger has it."""

    ref: ObjectRef
    row: ObjectRow | None
    state: str
    stat: Stat | None
    holders: Holders


def inspect(
    object_: Annotated[
        str,
        typer.Argument(metavar="OBJECT", help="[INSTANCE.]OBJECT or FAMILY-KIND:REF", autocompletion=complete.objects),
    ],
    name: NameOption = None,
    file: FileOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Show every field the kernel keeps of one object.

    Fields carry their C names, as msgctl(2), shmctl(2), semctl(2), mq_getattr(3)
    and stat(2) have them. Looking does not disturb the object: nothing is
    attached, received or changed.
    """
    with open_state() as state:
        found = _by_address(parse_address(object_)) if is_address(object_) else _declared(state, object_, name, file)
    emit(_json(found) if format_ is Format.JSON else _text(found))
    return 0


def _by_address(ref: ObjectRef) -> Found:
    stat = adapter_for(ref.family, ref.kind).stat(ref)
    if stat is None:
        raise NotFound(f"there is no {ref}", hint="`orchestra audit` and `ipcs` list what is there.")
    return Found(stat.ref, None, "removing" if stat.marked else "live", stat, holders_of([stat.identity])[0])


def _declared(state: State, word: str, name: str | None, file: str | None) -> Found:
    of_a_file = "For an object of its instance: -f FILE OBJECT"
    row = state.declared_object(word, name=name, file=file, of_a_file=of_a_file)
    run = state.ledger.run(row.run)
    if run is None:
        raise NotFound(f"run {row.run} is not on record any more")
    seen = look_at([row], run)[0]
    ref = ObjectRef(seen.row.family, seen.row.kind, name=seen.row.name, id=seen.row.id)
    return Found(ref if seen.stat is None else seen.stat.ref, seen.row, seen.state, seen.stat, seen.holders)


def _json(found: Found) -> str:
    row, stat = found.row, found.stat
    return render_json(
        "inspect",
        {
            "object": str(found.ref),
            "instance": row.instance if row else None,
            "run": row.run if row else None,
            "key": row.key if row else None,
            "family": found.ref.family.value,
            "kind": found.ref.kind.value,
            "name": found.ref.name,
            "id": stat.ref.id if stat else found.ref.id,
            "ipc_key": hex_key(stat.identity.key if stat else row.ipc_key if row else None),
            "state": found.state,
            "mode": octal(stat.mode) if stat else None,
            "size": stat.size if stat else None,
            "fields": dict(stat.fields) if stat else {},
            "holders": holders_view.answer(found.holders),
            "holders_complete": found.holders.complete,
        },
    )


def _text(found: Found) -> str:
    paint, width = paint_for(sys.stdout), terminal_width(sys.stdout)
    facts: list[tuple[str, Any]] = [("object", str(found.ref)), ("state", found.state)]
    if found.row is not None:
        facts.insert(1, ("declared", f"{found.row.key} of {found.row.instance}, run {found.row.run}"))
        facts.append(("on_down", found.row.on_down))
    fields = [] if found.stat is None else [(name, _value(name, value)) for name, value in found.stat.fields.items()]
    parts = [
        render_table([Column("what"), Column("is", shrink=True)], facts, width=width, paint=paint),
        render_table([Column("field"), Column("value", shrink=True)], fields, width=width, paint=paint),
        render_table(
            [Column("holder", right=True), Column("how"), Column("command", shrink=True)],
            [(h.pid, h.how, h.command) for h in found.holders.holders],
            width=width,
            paint=paint,
        ),
    ]
    if not found.holders.complete:
        parts.append("Some processes may not be looked into: there may be more holders.\n")
    return "\n".join(parts)


def _value(name: str, value: int | str | list[int]) -> str:
    """Keys and modes as the manual pages write them, the rest as it is."""
    if isinstance(value, int) and name.endswith(("key", "__key")):
        return hex_key(value) or ""
    if isinstance(value, int) and name.endswith("mode"):
        return f"0{value:o}"
    return " ".join(str(item) for item in value) if isinstance(value, list) else str(value)
