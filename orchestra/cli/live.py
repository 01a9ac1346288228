"""What the commands that act on a live instance share: whom they mean, how they ask, how they say what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.options import Format, emit
from orchestra.cli.state import Instance, State, open_state
from orchestra.cli.targets import is_address, is_file
from orchestra.cli.values import parse_optional_duration
from orchestra.errors import NotFound, UsageError
from orchestra.statedir import is_locked
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import render_json
from orchestra.views.processes import state_style
from orchestra.views.table import Column, render_table

PATIENCE = 10.0  # seconds for an instance that is being started at this moment
_PAUSE = 0.02
RESULT_KEYS = ("name", "replica", "result", "state", "pid", "exit_code", "signal", "reason")


class Aim(NamedTuple):
    """An instance, and which of its processes: NAME and NAME.REPLICA, or None for all of them."""

    instance: Instance
    targets: list[str] | None

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.instance.row.instance


def aim(state: State, words: Sequence[str], *, name: str | None, file: str | None) -> Aim:
    """Return what the words of a command mean; without any, the whole of the clear instance.

    Raises UsageError for an object, or for processes of several instances; NotFound.
    """
    if not words:
        return Aim(state.choose(None, name=name, file=file), None)
    found: dict[str, list[str] | None] = {}
    for word in words:
        instance, target = _one(state, word, name, file)
        targets = found.setdefault(instance, [])
        if target is None or targets is None:
            found[instance] = None
        else:
            targets.append(target)
    if len(found) > 1:
        raise UsageError(
            f"that is about {len(found)} instances: {', '.join(sorted(found))}", hint="One at a time, please."
        )
    [(instance, targets)] = found.items()
    return Aim(state.instances[instance], targets)


def _one(state: State, word: str, name: str | None, file: str | None) -> tuple[str, str | None]:
    if is_address(word):
        raise UsageError(f"`{word}` is an object; this acts on processes")
    if is_file(word):
        return state.choose(word, name=name, file=file).row.instance, None
    target = state.resolve(word, name=name, file=file)
    if target.name is None:
        return target.instance.instance, None
    if target.name not in state.names(target.instance).processes:
        raise UsageError(f"`{target.name}` is an object of {target.instance.instance}; this acts on processes")
    number = "" if target.replica is None else f".{target.replica}"
    return target.instance.instance, f"{target.name}{number}"


def act(
    command: str,
    op: str,
    words: Sequence[str],
    *,
    name: str | None,
    file: str | None,
    timeout: str | None,
    format_: Format,
) -> int:
    """Have `op` done to the processes that the words of `command` mean, and say what came of it."""
    seconds = parse_optional_duration(timeout, "--timeout")
    with open_state() as state:
        goal = aim(state, words, name=name, file=file)
        answer = ask(state, goal.instance, op, targets=goal.targets, timeout=seconds)
    return show_results(command, goal.name, answer["results"], format_)


def ask(state: State, instance: Instance, op: str, **fields: Any) -> dict[str, Any]:
    """Ask the supervisor of an instance and return its last answer. Raises NotFound when the instance is not up."""
    answer: dict[str, Any] = client(state, instance, lambda found: found.ask(op, **fields))
    return answer


def client(state: State, instance: Instance, call: Any) -> Any:
    """Call with a client of the instance's supervisor, again as long as one is being started. Raises NotFound."""
    from orchestra.supervisor.control import ControlClient

    row = instance.row
    deadline = time.monotonic() + PATIENCE
    while is_locked(state.places.lock(row.instance)):
        try:
            return call(ControlClient(row.socket or state.places.socket(row.instance)))
        except NotFound as err:
            if err.hint or not err.problem.startswith("no supervisor") or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)
        row = state.ledger.newest_run(row.instance) or row
    raise NotFound(
        f"{row.instance} is not up", hint=f"`orchestra up -d {row.file}` starts it; `orchestra ls` lists instances."
    )


def show_results(command: str, instance: str, results: Sequence[Mapping[str, Any]], format_: Format) -> int:
    """Write what became of each replica; return the exit status."""
    if format_ is Format.JSON:
        emit(render_json(command, {"instance": instance, "results": result_rows(results)}))
    else:
        emit(results_table(results))
    return status_of(results)


def result_rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the `results` of a JSON answer."""
    return [{key: row[key] for key in RESULT_KEYS} for row in results]


def results_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of results for stdout."""
    columns = [
        Column("process"),
        Column("replica", right=True),
        Column("state", styles=state_style),
        Column("pid", right=True),
        Column("exit", right=True),
        Column("result", shrink=True),
    ]
    rows = [
        (
            row["name"],
            row["replica"],
            row["state"] or "removed",
            row["pid"],
            row["signal"] or row["exit_code"],
            row["result"] if not row["reason"] else f"{row['result']}: {row['reason']}",
        )
        for row in results
    ]
    return render_table(columns, rows, width=terminal_width(sys.stdout), paint=paint_for(sys.stdout))


def status_of(results: Sequence[Mapping[str, Any]]) -> int:
    """Return 0 when everything came about, 1 when something failed, else 124: the deadline passed."""
    found = {row["result"] for row in results}
    if "failed" in found:
        return ExitCode.FAILED
    return ExitCode.DEADLINE if "timeout" in found else ExitCode.OK


def label(row: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> str:
    """Return what people call a replica: with its number where the answer has several."""
    alone = sum(other["name"] == row["name"] for other in results) == 1
    return str(row["name"]) if alone and row["replica"] == 1 else f"{row['name']}.{row['replica']}"


def tell_failures(results: Sequence[Mapping[str, Any]]) -> None:
    """Say what did not come about, on stderr."""
    paint = paint_for(sys.stderr)
    for row in results:
        if row["result"] != "ok":
            words = row["reason"] or row["state"]
            tell(f"{paint('error', 'bold', 'red')}: {label(row, results)}: {words}")
