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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestra.cli import complete
from orchestra.cli.exits import ExitCode, silence, tell
from orchestra.cli.options import Format, InstanceNameOption, ScaleOption, SetOption, TopologyOption, emit
from orchestra.cli.targets import DEFAULT_FILE, is_file
from orchestra.errors import Conflict, KernelError, UsageError, from_wire
from orchestra.statedir import StateDir, is_locked
from orchestra.views.ansi import paint_for

if TYPE_CHECKING:
    from orchestra.cli.attend import Outcome
    from orchestra.runplan import RunPlan
    from orchestra.supervisor.channel import Channel

EXAMPLES = """
orchestra up                          ./orchestra.yaml, here; Ctrl-C stops it
orchestra up -d pipeline.yaml         in the background; again: what is new
orchestra up --wait pipeline.yaml     and return when everything is ready
orchestra up pipeline.yaml reader     only this and what it depends on
orchestra up --set rate=50 --scale worker=8 pipeline.yaml
orchestra up --exit-code-from tests   end as that process does
orchestra up --hold                   look at the objects after the end
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
    wait: Annotated[bool, typer.Option("--wait", help="Return when everything is ready. Implies -d.")] = False,
    name: InstanceNameOption = None,
    leak: Annotated[bool, typer.Option("--leak", help="Leave every object behind, on purpose and on record.")] = False,
    hold: Annotated[
        bool, typer.Option("--hold", help="Keep the objects after all processes have ended, until Ctrl-C.")
    ] = False,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", help="A failure stops only what depends on the failed process, unless the file says."
        ),
    ] = False,
    exit_code_from: Annotated[
        str | None, typer.Option(metavar="PROCESS", help="End with its exit code; 128+n for a signal.")
    ] = None,
    recreate: Annotated[
        bool, typer.Option("--recreate", help="Make objects anew whose shape in the file is another one now.")
    ] = False,
    isolation: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="host or private; default: what the file says.")
    ] = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and plan, start nothing.")] = False,
    format_: Annotated[Format, typer.Option("--format", help="How to write the plan of --dry-run.")] = Format.TABLE,
) -> int:
    """Create the objects, wire and launch the processes.

    In the foreground the lines of all processes go to stdout, each after the
    name of its process, and messages of orchestra to stderr. It ends with the
    run. Ctrl-C stops everything in order, twice kills.

    With -d, and the instance is up from the same file: what was edited is brought
    in. Only processes that would notice are restarted.

    Exit status: 0 all went well, 1 a process failed, 2 the file is invalid,
    5 the instance is already up, a name is taken, or an object has another shape,
    130 Ctrl-C.
    """
    if format_ is not Format.TABLE and not dry_run:
        raise UsageError("--format is the format of the plan", hint="Use it with --dry-run.")
    detach = detach or wait
    if detach:
        _refuse_in_the_background(hold=hold, exit_code_from=exit_code_from)
    chosen, only = _split(words or [], file)
    from orchestra.cli.prepare import prepare

    prepared = prepare(
        chosen,
        name=name,
        settings=set_ or (),
        scale=scale or (),
        only=only,
        isolation=isolation,
        keep_going=keep_going,
    )
    prepared.tell_warnings()
    plan = prepared.plan
    if exit_code_from is not None and all(process.name != exit_code_from for process in plan.processes):
        raise UsageError(
            f"--exit-code-from: no process is called `{exit_code_from}`",
            hint=f"Processes are {', '.join(process.name for process in plan.processes)}.",
        )
    if dry_run:
        from orchestra.cli.plan import render_plan

        emit(render_plan(plan, format_, leak=leak))
        return ExitCode.OK
    wishes = Wishes(detach, wait, leak, hold, recreate, exit_code_from, tuple(only))
    return _start(plan, wishes)


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a run is to be started."""

    detach: bool = False
    wait: bool = False
    leak: bool = False
    hold: bool = False
    recreate: bool = False
    exit_code_from: str | None = None
    only: tuple[str, ...] = ()


def _refuse_in_the_background(*, hold: bool, exit_code_from: str | None) -> None:
    if hold:
        raise UsageError("--hold is for the foreground", hint="With -d the objects stay until `orchestra down` anyway.")
    if exit_code_from is not None:
        raise UsageError(
            "--exit-code-from needs the end of the run, which -d does not wait for",
            hint="Leave out -d, or ask later: orchestra wait PROCESS --format json",
        )


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


def _start(plan: RunPlan, wishes: Wishes) -> int:
    from orchestra.cli.attend import Attendant, exit_status, say_stopping
    from orchestra.supervisor.launch import channel

    places = StateDir.locate()
    stdin = _standard_input(plan, wishes)
    code = _bring_in(places, plan, wishes)
    if code is not None:
        return code
    line = channel()
    request = {
        "op": "run",
        "plan": json.loads(plan.to_json()),
        **{wish: getattr(wishes, wish) for wish in ("detach", "wait", "leak", "hold", "recreate")},
        "home": str(places.home),
        "runtime": str(places.runtime),
    }
    attendant = Attendant(
        _Link(line), None if wishes.detach else _screen(plan), until_up=wishes.detach, until_ready=wishes.wait,
        on_stop=say_stopping,
    )  # fmt: skip
    outcome = attendant.attend(lambda: line.send(request, timeout=None, descriptors=stdin))
    if outcome.error is not None:
        error = from_wire(outcome.error["error"])
        if isinstance(error, Conflict) and not isinstance(error, KernelError):
            code = _bring_in(places, plan, wishes)  # another `up` of it was quicker
            if code is not None:
                return code
        raise error
    code = _exit_code(places, outcome, exit_status(outcome), wishes.exit_code_from)
    if outcome.stuck:
        silence(sys.stdout.fileno())
        silence(sys.stderr.fileno())
    if code != ExitCode.CLOSED_OUTPUT:
        _last_words(plan, outcome, places)
    return code


def _bring_in(places: StateDir, plan: RunPlan, wishes: Wishes) -> int | None:
    """In the background: follow the file in an instance that is live already; None when none is."""
    if not wishes.detach or not is_locked(places.lock(plan.instance)):
        return None
    from orchestra.cli.edited import bring_in

    return bring_in(places, plan, wishes)


def _standard_input(plan: RunPlan, wishes: Wishes) -> list[int]:
    """Return our standard input where a process is to inherit it. Raises UsageError in the background."""
    names = [process.name for process in plan.processes if process.stdin == "inherit"]
    if names and wishes.detach:
        raise UsageError(
            f"{names[0]} inherits the standard input, and a run in the background has none",
            hint="Run it in the foreground, or declare another `stdin:`.",
        )
    return [0] if names else []


def _exit_code(places: StateDir, outcome: Outcome, code: int, process: str | None) -> int:
    """Return how `up` ends: as the process does that was named, unless a person stopped the run."""
    if process is None or outcome.run is None or outcome.ended is None or outcome.stopped_by is not None:
        return code
    from orchestra.cli.ending import exit_code_of

    own = exit_code_of(places, outcome.run, process)
    return code or ExitCode.FAILED if own is None else own


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
    if outcome.ended is None and outcome.unready:
        from orchestra.cli.live import tell_failures

        tell_failures(outcome.unready)
        tell(
            f"{instance} is up, but not all of it is ready: run {outcome.run}\n"
            f"help: orchestra ps {instance} · orchestra logs {instance} · orchestra down {instance}"
        )
        return
    if outcome.ended is None and outcome.up:
        word = "up" if outcome.unready is None else "ready"
        tell(
            f"{instance} is {word}: run {outcome.run}\n"
            f"help: orchestra ps {instance} · orchestra logs {instance} · orchestra down {instance}"
        )
        return
    if outcome.run is None:
        tell("error: the supervisor ended before it could start the run\nhelp: orchestra ls")
        return
    ending = ending_of(places, outcome.run, outcome.ended, now=time.time())
    if ending is not None:
        tell(summarise(ending, paint_for(sys.stderr)))
