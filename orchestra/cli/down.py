"""`orchestra down`: end an instance in order, or finish what a run left that ended, or crashed, before."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestra.cli import complete
from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.options import FileOption, NameOption
from orchestra.cli.state import Instance, State, open_state
from orchestra.cli.targets import is_file
from orchestra.cli.values import parse_duration
from orchestra.errors import Conflict, NotFound, OrchestraError
from orchestra.ledger.rows import RunRow
from orchestra.statedir import is_locked, take_lock
from orchestra.views.ansi import is_terminal, paint_for
from orchestra.views.summary import Ended, summarise_down

EXAMPLES = """
orchestra down                    of ./orchestra.yaml, else the only live one
orchestra down pipeline
orchestra down pipeline --leak    leave its objects behind, on record
orchestra down --timeout 2s       kill what has not ended after two seconds
"""

_PATIENCE = 20.0  # seconds for whoever starts, ends or finishes a run at this moment
_PAUSE = 0.02


@dataclass
class _Done:
    """What was finished: `left` are objects, each with `object`, `why` and whether it was `kept` on purpose."""

    left: list[dict[str, Any]] = field(default_factory=list)
    removed: int = 0
    survivors: int = 0
    stuck: list[int] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


def down(
    instance: Annotated[
        str | None,
        typer.Argument(
            metavar="[INSTANCE|FILE]",
            help="Default: the instance of ./orchestra.yaml, else the only live one.",
            show_default=False,
            autocompletion=complete.live_instances,
        ),
    ] = None,
    name: NameOption = None,
    file: FileOption = None,
    leak: Annotated[bool, typer.Option("--leak", help="Leave every object behind, on purpose and on record.")] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="T", help="Kill what is left after that long: 5, 500ms, 1m.")
    ] = None,
) -> int:
    """Stop an instance and do what on_down says.

    Processes are stopped in reverse order, each with its own signal and grace;
    then its objects are removed or kept. Of a run that has ended, or whose
    supervisor was killed, it ends the survivors and deals with the objects.

    Exit status: 0 done, 1 something could not be ended or removed, 4 no such
    instance.
    """
    seconds = None if timeout is None else parse_duration(timeout, "--timeout")
    _wait_until_on_record(name or instance)
    with open_state() as state:
        chosen = state.choose(instance, name=name, file=file)
        done = _end(state, chosen, leak=leak, timeout=seconds)
        removed = sum(row.state == "removed" for run in done.runs for row in state.ledger.objects(run=run))
    ended = Ended(
        instance=chosen.row.instance,
        run=done.runs[-1] if done.runs else chosen.row.run,
        nothing_to_do=not done.runs,
        removed=max(removed, done.removed),
        survivors=done.survivors,
        stuck=done.stuck,
        kept=[(item["object"], item["why"]) for item in done.left if item["kept"]],
        left=[(item["object"], item["why"]) for item in done.left if not item["kept"]],
    )
    tell(summarise_down(ended, paint_for(sys.stderr)))
    return ExitCode.FAILED if ended.left or ended.stuck else ExitCode.OK


def _wait_until_on_record(instance: str | None) -> None:
    """Wait for the run of an instance that somebody has begun to start: it has the lock before it has a record."""
    if instance is None or is_file(instance):
        return
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with open_state() as state:
            if instance in state.instances or not is_locked(state.places.lock(instance)):
                return
        time.sleep(_PAUSE)


def _end(state: State, chosen: Instance, *, leak: bool, timeout: float | None) -> _Done:
    """Stop what is live, else finish what is not; who has the lock may change between two looks. Raises Conflict."""
    instance = chosen.row.instance
    row, live = chosen.row, chosen.live
    if live and is_terminal(sys.stderr):
        tell(f"stopping {instance}")
    deadline = time.monotonic() + _PATIENCE
    while True:
        done = _stop(state, row, leak=leak, timeout=timeout) if live else None
        if done is not None:
            _wait_until_free(state.places.lock(instance))
            return done
        done = _finish(state, instance, leak=leak)
        if done is not None:
            return done
        if time.monotonic() > deadline:
            raise Conflict(
                f"{instance} is being started or finished by somebody else", hint="`orchestra ls` shows its state."
            )
        row = state.ledger.newest_run(instance) or row
        live = row.ended_at is None


def _wait_until_free(lock: Path) -> None:
    """Wait until `up` of the same name works again."""
    deadline = time.monotonic() + _PATIENCE
    while is_locked(lock) and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _stop(state: State, row: RunRow, *, leak: bool, timeout: float | None) -> _Done | None:
    """Ask the supervisor to stop; None when there is none any more."""
    from orchestra.supervisor.control import ControlClient

    lock = state.places.lock(row.instance)
    deadline = time.monotonic() + _PATIENCE
    while is_locked(lock):
        try:
            path = row.socket or str(state.places.socket(row.instance))
            answer = ControlClient(path).stop(leak=leak, timeout=timeout)
        except NotFound:  # it starts, or ends, at this moment
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
            row = state.ledger.newest_run(row.instance) or row
        except OrchestraError:
            if is_locked(lock) and time.monotonic() < deadline:
                time.sleep(_PAUSE)
                continue
            return None  # it was killed on the way: there is a run to finish
        else:
            row = state.ledger.newest_run(row.instance) or row  # of an earlier one the socket has the same path
            left = [item["pid"] for item in answer.get("processes_left", [])]
            return _Done(left=list(answer.get("objects_left", [])), stuck=left, runs=[row.run])
    return None


def _unfinished(state: State, instance: str) -> list[RunRow]:
    return [row for row in state.ledger.runs(instance=instance) if not row.finished]


def _finish(state: State, instance: str, *, leak: bool) -> _Done | None:
    """Finish every run of an instance that nobody supervises any more; None when somebody else has its lock."""
    if not _unfinished(state, instance):
        return _Done()
    fd = take_lock(state.places.lock(instance))
    if fd is None:
        return None
    from orchestra.logs.pipeline import command_logger
    from orchestra.supervisor import aftermath

    log = command_logger("down", locate=state.places.log)
    done = _Done()
    try:
        for row in _unfinished(state, instance):  # as they are now that nobody else can change them
            result = aftermath.finish(state.ledger, row, leak=leak, say=log.info)
            done.runs.append(row.run)
            done.left += result.teardown.left
            done.removed += result.teardown.removed
            done.survivors += len(result.survivors)
            done.stuck += result.stuck
    finally:
        os.close(fd)
    return done
