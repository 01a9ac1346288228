"""`orchestra up`: validate and compile here, hand the plan to the guardian, then show the run until it ends.

Importing pydantic and yaml takes longer than starting a run, so the guardian was forked before (see `__main__`) and
gets ready meanwhile. When the file is invalid no plan is ever sent and it leaves.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestra.cli import complete
from orchestra.cli.exits import ExitCode, silence, tell
from orchestra.cli.options import Format, InstanceNameOption, ScaleOption, SetOption, TopologyOption, emit
from orchestra.cli.targets import DEFAULT_FILE, is_file
from orchestra.errors import UsageError, from_wire
from orchestra.statedir import StateDir
from orchestra.views.ansi import paint_for

if TYPE_CHECKING:
    from orchestra.cli.attend import Outcome
    from orchestra.runplan import RunPlan
    from orchestra.supervisor.channel import Channel

EXAMPLES = """
orchestra up                          ./orchestra.yaml, here; Ctrl-C stops it
orchestra up -d pipeline.yaml         in the background
orchestra up pipeline.yaml reader     only this and what it depends on
orchestra up --set rate=50 --scale worker=8 pipeline.yaml
orchestra up -n second pipeline.yaml  a second copy beside the first
orchestra up --leak pipeline.yaml     leave every object behind, on record
orchestra up --dry-run pipeline.yaml  everything but the start
"""


def up(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE] [PROCESS]…",
            help="The topology (default ./orchestra.yaml), and the processes to run (default: all).",
            show_default=False,
            autocompletion=complete.files_and_processes,
        ),
    ] = None,
    file: TopologyOption = None,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Return as soon as it is up.")] = False,
    name: InstanceNameOption = None,
    leak: Annotated[bool, typer.Option("--leak", help="Leave every object behind, on purpose and on record.")] = False,
    scale: ScaleOption = None,
    set_: SetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and plan, start nothing.")] = False,
    format_: Annotated[Format, typer.Option("--format", help="How to write the plan of --dry-run.")] = Format.TABLE,
) -> int:
    """Create the objects, wire and launch the processes.

    In the foreground the lines of all processes go to stdout, each after the
    name of its process, and messages of orchestra to stderr. It ends with the
    run. Ctrl-C stops everything in order, twice kills.

    Exit status: 0 all went well, 1 a process failed, 2 the file is invalid,
    5 the instance is already up or a name is taken, 130 Ctrl-C.
    """
    if format_ is not Format.TABLE and not dry_run:
        raise UsageError("--format is the format of the plan", hint="Use it with --dry-run.")
    chosen, only = _split(words or [], file)
    from orchestra.cli.prepare import prepare

    prepared = prepare(chosen, name=name, settings=set_ or (), scale=scale or (), only=only)
    prepared.tell_warnings()
    if dry_run:
        from orchestra.cli.plan import render_plan

        emit(render_plan(prepared.plan, format_, leak=leak))
        return ExitCode.OK
    return _start(prepared.plan, detach=detach, leak=leak)


def _split(words: list[str], file: str | None) -> tuple[str | None, list[str]]:
    """Return the file and the processes: the first word is a file when it looks like one.

    A bare folder name counts too where there is no ./orchestra.yaml whose process it could be.
    """
    if not words:
        return file, []
    first = words[0]
    if first.endswith(".yml") and "/" not in first:
        raise UsageError(f"`{first}` reads as the name of a process", hint=f"For the file write ./{first}")
    here = file is not None or os.path.exists(DEFAULT_FILE)
    if not is_file(first) and (here or not os.path.exists(os.path.join(first, DEFAULT_FILE))):
        return file, words
    if file is not None:
        raise UsageError(f"both `{first}` and `-f {file}` name a file", hint="Give one of them.")
    return first, words[1:]


class _Link:
    """The channel as the attendant needs it: sending is one write, safe in a signal handler."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ended = False

    def fileno(self) -> int:
        return self._channel.fileno()

    def send(self, message: dict[str, Any]) -> None:
        os.write(self._channel.fileno(), json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        if self._ended:
            return None
        messages, self._ended = self._channel.receive()
        return [message for message in messages if message is not None]


def _start(plan: RunPlan, *, detach: bool, leak: bool) -> int:
    from orchestra.cli.attend import Attendant, exit_status, say_stopping
    from orchestra.supervisor.launch import channel

    places = StateDir.locate()
    line = channel()
    request = {
        "op": "run",
        "plan": json.loads(plan.to_json()),
        "detach": detach,
        "leak": leak,
        "home": str(places.home),
        "runtime": str(places.runtime),
    }
    attendant = Attendant(_Link(line), None if detach else _screen(plan), until_up=detach, on_stop=say_stopping)
    outcome = attendant.attend(lambda: line.send(request, timeout=None))
    if outcome.error is not None:
        raise from_wire(outcome.error["error"])
    code = exit_status(outcome)
    if outcome.stuck:
        silence(sys.stdout.fileno())
        silence(sys.stderr.fileno())
    if code != ExitCode.CLOSED_OUTPUT:
        _last_words(plan, outcome, places)
    return code


def _screen(plan: RunPlan) -> Callable[[bytes], None]:
    """Return what shows stored lines, children's on stdout and ours on stderr."""
    from orchestra.logs.render import Renderer

    replicas = {process.name: process.replicas for process in plan.processes}
    out, err = Renderer.to(sys.stdout, replicas=replicas), Renderer.to(sys.stderr, replicas=replicas)

    def show(lines: bytes) -> None:
        # `object.failed`: its error follows, with what helps.
        for ours, text in out.render_lines(lines, ours=err, hidden="object.failed"):
            if not ours:
                sys.stdout.write(text)
                sys.stdout.flush()  # before the next part: the order of the log, also across both streams
                continue
            with suppress(OSError, ValueError):
                sys.stderr.write(text)
                sys.stderr.flush()

    return show


def _last_words(plan: RunPlan, outcome: Outcome, places: StateDir) -> None:
    from orchestra.cli.ending import ending_of
    from orchestra.views.summary import summarise

    instance = plan.instance
    if outcome.ended is None and outcome.up:
        tell(
            f"{instance} is up: run {outcome.run}\n"
            f"help: orchestra ps {instance} · orchestra logs {instance} · orchestra down {instance}"
        )
        return
    if outcome.run is None:
        tell("error: the supervisor ended before it could start the run\nhelp: orchestra ls")
        return
    ending = ending_of(places, outcome.run, outcome.ended, now=time.time())
    if ending is not None:
        tell(summarise(ending, paint_for(sys.stderr)))
