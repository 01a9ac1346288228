"""`orchestra wait`: return when processes, or a whole run, have come to where they were waited for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from orchestra.cli import complete
from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.live import Aim, aim, ask, result_rows, results_table, status_of
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption, PatienceOption, emit
from orchestra.cli.state import State, open_state
from orchestra.cli.values import parse_optional_duration
from orchestra.errors import NotFound
from orchestra.ledger.rows import ProcessRow
from orchestra.statedir import is_locked
from orchestra.views.answer import render_json

EXAMPLES = """
orchestra wait                          until the run has ended
orchestra wait pipeline.loader          until it has ended, however
orchestra wait loader --for completed   and ended well
orchestra wait server --for ready --timeout 30s && ./load-test
"""


class Condition(StrEnum):
    """What can be waited for."""

    STARTED = "started"
    READY = "ready"
    COMPLETED = "completed"
    EXITED = "exited"


def wait(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]…",
            help="Processes or replicas; INSTANCE, or none: the whole run.",
            show_default=False,
            autocompletion=complete.targets,
        ),
    ] = None,
    condition: Annotated[Condition, typer.Option("--for", help="What to wait for.")] = Condition.EXITED,
    name: NameOption = None,
    file: FileOption = None,
    timeout: PatienceOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Wait until processes of an instance are ready, or have ended.

    exited: ended, in whatever way, and not about to be restarted. completed: ended
    with success. ready: ready, or running where the file declares no `ready`; of
    the whole run also completed. What has come about already is not waited for.
    The answer shows the exit code of each.

    Exit status: 0 it came about for all, 1 it never can, 4 no such process,
    124 --timeout has passed.
    """
    seconds = parse_optional_duration(timeout, "--timeout")
    fields = {"for": condition.value, "timeout": seconds}
    with open_state() as state:
        goal = aim(state, targets or [], name=name, file=file)
        try:
            answer = ask(state, goal.instance, "wait", targets=goal.targets, **fields)
        except NotFound:
            if is_locked(state.places.lock(goal.name)):
                raise
            answer = _of_the_past(state, goal, condition)
    results = answer.get("results", [])
    of_the_run = goal.targets is None and condition is Condition.EXITED
    if format_ is Format.JSON:
        whole = {key: answer.get(key) if of_the_run else None for key in ("state", "exit_code")}
        content = {"instance": goal.name, "for": condition.value, **whole, "results": result_rows(results)}
        emit(render_json("wait", content))
    elif not of_the_run:
        emit(results_table(results))
    elif answer.get("ended"):
        emit(f"{goal.name} {answer['state']}, exit status {answer['exit_code']}\n")
    if of_the_run and not answer.get("ended"):
        tell(f"{goal.name} has not ended in the time given: it is {answer['state']}\nhelp: orchestra ps {goal.name}")
        return ExitCode.DEADLINE
    if of_the_run:
        return ExitCode.OK
    return status_of(results)


def _of_the_past(state: State, goal: Aim, condition: Condition) -> dict[str, Any]:
    """The run has ended: its record says what became of it. Raises NotFound for a replica that it did not have."""
    row = state.ledger.newest_run(goal.name) or goal.instance.row
    rows = [
        item
        for item in state.processes(row.run)
        if goal.targets is None or {item.process, f"{item.process}.{item.replica}"} & set(goal.targets)
    ]
    if goal.targets is not None and not rows:
        raise NotFound(f"run {row.run} of {goal.name} had no {', '.join(goal.targets)}")
    results = [_past(item, condition) for item in rows]
    return {"ended": True, "state": row.state, "exit_code": row.exit_code, "results": results}


def _past(row: ProcessRow, condition: Condition) -> dict[str, Any]:
    came = {
        Condition.STARTED: row.started_at is not None,
        Condition.READY: row.state == "exited" and row.started_at is not None,
        Condition.COMPLETED: row.state == "exited",
        Condition.EXITED: True,
    }[condition]
    return {
        "name": row.process, "replica": row.replica, "result": "ok" if came else "failed", "state": row.state,
        "pid": row.pid, "exit_code": row.exit_code, "signal": row.signal,
        "reason": "" if came else row.reason or "the run has ended",
    }  # fmt: skip
