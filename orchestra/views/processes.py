"""The processes of an instance: rows of the ledger or of the control socket to JSON and to a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestra.ledger.rows import ProcessRow
from orchestra.views.ansi import PLAIN, Paint
from orchestra.views.table import Column, render_table
from orchestra.views.times import clock, rfc3339

KEYS = ("name", "replica", "pid", "state", "exit_code", "signal", "restarts", "started_at", "ended_at", "reason")

# States in which a process exists.
ALIVE = ("starting", "ready", "running", "stopping")

STATE_COLOURS: dict[str, tuple[str, ...]] = {
    "running": ("green",),
    "ready": ("green",),
    "up": ("green",),
    "starting": ("yellow",),
    "stopping": ("yellow",),
    "backoff": ("yellow",),
    "failed": ("red",),
    "crashed": ("red",),
    "skipped": ("yellow",),
    "leaked": ("red",),
    "kept": ("cyan",),
}


def state_style(state: str) -> tuple[str, ...]:
    """Colours of a state word."""
    return STATE_COLOURS.get(state, ())


def row_content(row: ProcessRow) -> dict[str, Any]:
    """Return a ledger row with the keys of the answer; times stay seconds since the epoch."""
    return {
        "name": row.process,
        "replica": row.replica,
        "pid": row.pid,
        "state": row.state,
        "exit_code": row.exit_code,
        "signal": row.signal,
        "restarts": row.restarts,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "reason": row.reason,
    }


def answer(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the `processes` of the JSON answer."""
    return [{**{key: row.get(key) for key in KEYS}, **_times(row), "reason": row.get("reason") or None} for row in rows]


def table(rows: Sequence[Mapping[str, Any]], *, now: float, width: int | None = None, paint: Paint = PLAIN) -> str:
    """Return the table of `orchestra ps`; the last column, why something is as it is, only where there is a why."""
    explained = any(row.get("reason") for row in rows)
    columns = [
        Column("process"),
        Column("replica", right=True),
        Column("pid", right=True),
        Column("state", styles=state_style),
        Column("exit", right=True),
        Column("restarts", right=True),
        Column("started"),
        Column("ended"),
        *([Column("reason", shrink=True)] if explained else []),
    ]
    cells = [
        (
            row.get("name"),
            row.get("replica"),
            row.get("pid"),
            row.get("state"),
            row.get("signal") or row.get("exit_code"),
            row.get("restarts"),
            clock(row.get("started_at"), now),
            clock(row.get("ended_at"), now),
            *([str(row.get("reason") or "").partition("\n")[0]] if explained else []),
        )
        for row in rows
    ]
    return render_table(columns, cells, width=width, paint=paint)


def _times(row: Mapping[str, Any]) -> dict[str, str | None]:
    return {key: rfc3339(row.get(key)) for key in ("started_at", "ended_at")}
