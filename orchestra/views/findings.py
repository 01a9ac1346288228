"""Audit findings as a table: what it is, whose, the verdict, and how we know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestra.views.ansi import PLAIN, Paint
from orchestra.views.table import Column, render_table

_COLOURS = {"leaked": ("red",), "kept": ("cyan",), "live": ("green",), "orphan": ("magenta",),
            "deleted": ("yellow",), "unknown": ("yellow",)}  # fmt: skip

_NAMED = 4  # holders named in a cell; the rest is counted


def verdict_style(verdict: str) -> tuple[str, ...]:
    """Colours of a verdict."""
    return _COLOURS.get(verdict, ())


def address(finding: dict[str, Any]) -> str:
    """Return how `inspect` takes this object, as far as anything leads to it."""
    family, kind = finding["family"], finding["kind"]
    label = "fifo" if family == "fifo" else f"{family}-{kind}"
    if finding["name"] is not None:
        return f"{label}:{finding['name']}"
    return label if finding["id"] is None else f"{label}:{finding['id']}"


def holders(finding: dict[str, Any]) -> str:
    """Return the holders in a cell."""
    names = {holder["pid"]: f"{holder['pid']} {holder['command']}" for holder in finding["holders"]}
    shown = list(names.values())[:_NAMED]
    if len(names) > _NAMED:
        shown.append(f"+{len(names) - _NAMED}")
    return ", ".join(shown)


def audit_table(
    findings: Sequence[tuple[str | None, dict[str, Any]]], *, width: int | None = None, paint: Paint = PLAIN
) -> str:
    """Return the table of `audit`, "" without findings; each finding comes with its key in the file, if it has one.

    Columns that no row fills are left out: who declared it, its run, and the owner of what is not on record. On a
    terminal, where room is short, "held by nobody" is not said again beside an empty column, nor that column shown.
    """
    if not findings:
        return ""
    brief = width is not None
    held = any(item["holders"] for _, item in findings)
    recorded = any(key is not None for key, _ in findings)
    others = any(key is None for key, _ in findings)
    columns = [
        (True, Column("verdict", styles=verdict_style)),
        (True, Column("object", shrink=True)),
        (recorded, Column("declared")),
        (recorded, Column("run")),
        (others, Column("owner")),
        (True, Column("size", right=True)),
        (held or not brief, Column("held by", shrink=True)),
        (True, Column("evidence", shrink=True)),
    ]
    rows = [
        (
            item["verdict"],
            address(item),
            None if key is None else f"{item['instance']}.{key}",
            item["run"],
            item.get("owner"),
            item["size"],
            holders(item),
            item["evidence"].removeprefix("held by nobody; ") if brief else item["evidence"],
        )
        for key, item in findings
    ]
    shown = [number for number, (wanted, _) in enumerate(columns) if wanted]
    return render_table(
        [columns[number][1] for number in shown],
        [[row[number] for number in shown] for row in rows],
        width=width,
        paint=paint,
    )


def clean_table(
    outcomes: Sequence[tuple[str, str | None, dict[str, Any], str]], *, width: int | None = None, paint: Paint = PLAIN
) -> str:
    """Return the table of `clean`: outcome, key in the file if it has one, finding, and why it stayed."""
    recorded = any(key is not None for _, key, _, _ in outcomes)
    others = any(key is None for _, key, _, _ in outcomes)
    columns = [
        (True, Column("outcome", styles=lambda word: ("yellow",) if word == "left" else ("green",))),
        (True, Column("verdict", styles=verdict_style)),
        (True, Column("object", shrink=True)),
        (recorded, Column("declared")),
        (recorded, Column("run")),
        (others, Column("owner")),
        (True, Column("size", right=True)),
        (True, Column("why", shrink=True)),
    ]
    rows = [
        (
            word,
            item["verdict"],
            address(item),
            None if key is None else f"{item['instance']}.{key}",
            item["run"],
            item.get("owner"),
            item["size"],
            why or (item["evidence"] if key is None else ""),
        )
        for word, key, item, why in outcomes
    ]
    shown = [number for number, (wanted, _) in enumerate(columns) if wanted]
    return render_table(
        [columns[number][1] for number in shown],
        [[row[number] for number in shown] for row in rows],
        width=width,
        paint=paint,
    )


def counted(summary: dict[str, int]) -> str:
    """Return the verdicts that were given, with their numbers: `2 leaked, 4 kept`."""
    return ", ".join(f"{number} {verdict}" for verdict, number in summary.items() if number)
