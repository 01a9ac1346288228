"""A second `up -d` of a live instance: what was edited is brought in, or it is said why that cannot be."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.live import status_of, tell_failures
from orchestra.errors import Conflict, NotFound, SupervisorLost
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.runplan import RunPlan
from orchestra.statedir import StateDir, is_locked, wait_until_free
from orchestra.views.ansi import Paint, clean, paint_for

if TYPE_CHECKING:
    from orchestra.cli.up import Wishes

_PATIENCE = 20.0  # seconds for whoever starts or ends a run of that name at this moment
_PAUSE = 0.02
Change = Mapping[str, Any]


def bring_in(places: StateDir, plan: RunPlan, wishes: Wishes) -> int | None:
    """Bring a plan into the live instance of its name; return the exit status, None when nobody is live.

    Raises Conflict when it is live from another file, or cannot become what the plan says.
    """
    deadline = time.monotonic() + _PATIENCE
    while is_locked(places.lock(plan.instance)):
        row = _running(places, plan.instance)
        if row is not None:
            if row.file != plan.file:
                raise _from_elsewhere(row)
            answer = _ask(row, places, plan, wishes)
            if answer is not None:
                return _tell(row, answer, wishes)
        if time.monotonic() > deadline:
            raise Conflict(
                f"{plan.instance} is being started or ended by somebody else", hint="`orchestra ls` shows its state."
            )
        time.sleep(_PAUSE)
    return None


def difference(places: StateDir, plan: RunPlan) -> tuple[RunRow, list[Change]] | None:
    """Return what `up -d` would do to the live instance of this plan; None when there is none from that file."""
    if not is_locked(places.lock(plan.instance)):
        return None
    row = _running(places, plan.instance)
    if row is None or row.file != plan.file:
        return None
    from orchestra.supervisor.control import ControlClient

    path = row.socket or places.socket(plan.instance)
    try:
        answer = ControlClient(path).ask("change", plan=json.loads(plan.to_json()), dry_run=True)
    except NotFound:
        return None
    return row, answer["difference"]


def lines(changes: Sequence[Change], paint: Paint) -> list[str]:
    """Return changes as lines: what is done, to what, and why."""
    width = max((len(change["action"]) for change in changes), default=0)
    names = [change["object"] or change["process"] or "the run" for change in changes]
    wide = max(map(len, names), default=0)
    found = []
    for change, name in zip(changes, names, strict=True):
        action = paint(change["action"].ljust(width), "bold")
        found.append(f"  {action}  {clean(name).ljust(wide)}  {clean(change['detail'])}".rstrip())
    return found


def _running(places: StateDir, instance: str) -> RunRow | None:
    with Ledger.open(places.ledger, create=False) as ledger:
        row = ledger.newest_run(instance)
    return row if row is not None and row.ended_at is None else None


def _ask(row: RunRow, places: StateDir, plan: RunPlan, wishes: Wishes) -> dict[str, Any] | None:
    """Ask its supervisor; None when it does not answer yet, or any more."""
    from orchestra.objects import boxes
    from orchestra.supervisor.boxlimits import limits_for
    from orchestra.supervisor.control import ControlClient

    client = ControlClient(row.socket or places.socket(plan.instance))
    boxes.widen(row, limits_for(plan.objects))
    try:
        answer = client.ask(
            "change", plan=json.loads(plan.to_json()), recreate=wishes.recreate, leak=wishes.leak or None,
            only=list(wishes.only) or None, timeout=None if wishes.wait else 0,
        )  # fmt: skip
    except SupervisorLost:
        return None
    except NotFound as err:
        if err.problem.startswith("no supervisor"):
            return None
        raise
    if wishes.wait and status_of(answer["results"]) == ExitCode.OK:
        try:
            answer["results"] = client.ask("wait", **{"for": "ready"})["results"]
        except (SupervisorLost, NotFound):  # it has come to its end meanwhile
            answer["results"] = _of_the_past(places, row.instance, row.run)
    return answer


def _of_the_past(places: StateDir, instance: str, run: str) -> list[dict[str, Any]]:
    """Return what became of the processes of a run that has ended."""
    wait_until_free(places.lock(instance))
    with Ledger.open(places.ledger, create=False) as ledger:
        return [
            {
                "name": row.process, "replica": row.replica, "state": row.state, "reason": row.reason,
                "result": "ok" if row.state == "exited" else "failed",
            }
            for row in ledger.processes(run)
        ]  # fmt: skip


def _tell(row: RunRow, answer: Mapping[str, Any], wishes: Wishes) -> int:
    paint = paint_for(sys.stderr)
    changes: list[Change] = answer["difference"]
    if changes:
        tell(
            "\n".join(
                [f"{row.instance} is up as edited: run {row.run}", *(line.rstrip() for line in lines(changes, paint))]
            )
        )
    elif wishes.only:
        tell(f"{row.instance} is up: {', '.join(wishes.only)} as the file says: run {row.run}")
    else:
        tell(f"{row.instance} is up, and nothing differs from its file: run {row.run}")
    if not wishes.wait:
        return ExitCode.OK
    tell_failures(answer["results"])
    return status_of(answer["results"])


def _from_elsewhere(row: RunRow) -> Conflict:
    return Conflict(
        f"{row.instance} is already up, from another file",
        detail=f"run {row.run} of {row.file}, process {row.supervisor_pid or row.guardian_pid}",
        hint=f"`orchestra down {row.instance}` stops it; `-n NAME` starts another instance.",
    )
