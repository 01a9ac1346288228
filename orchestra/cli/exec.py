"""`orchestra exec`: become a command, or a shell, that has the wiring of a process of a live instance.

The supervisor hands over environment and descriptors; this very process lays them out and executes the command, so that
the terminal, job control, signals and the exit status are the command's own.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from orchestra.bindings import FIRST_FD, variable
from orchestra.cli import complete
from orchestra.cli.exits import ExitCode, explain, tell
from orchestra.cli.live import aim, client
from orchestra.cli.options import FileOption, NameOption
from orchestra.cli.state import open_state
from orchestra.errors import LaunchFailed, OrchestraError, UsageError
from orchestra.views.ansi import clean

EXAMPLES = """
orchestra exec pipeline.worker                      a shell, wired like worker
orchestra exec worker.2 -- env                      see what it was given
orchestra exec pipeline --uses jobs:read -- ./dump  nothing but that queue
orchestra exec worker --uses results -- python3     and one object more
"""

_OURS = ("ORCHESTRA_", "LISTEN_")
_OF_THE_TERMINAL = ("TERM", "COLORTERM", "COLUMNS", "LINES")
_PASSED_ON = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them, and exec would pass that on


def exec(  # noqa: A001 a command's function has its name
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A process or replica; or INSTANCE, with --uses.", autocompletion=complete.processes
        ),
    ],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- CMD…]", help="What to run. Default: your shell.", show_default=False),
    ] = None,
    uses: Annotated[
        list[str] | None,
        typer.Option(
            "--uses",
            metavar="OBJECT[:ACCESS]",
            help="Wire this object too: read, write or read-write. Repeatable.",
            show_default=False,
            autocompletion=complete.uses,
        ),
    ] = None,
    name: NameOption = None,
    file: FileOption = None,
) -> int:
    """Run a command, or a shell, with the wiring of a process.

    It has the process's environment, directory, limits, descriptors from 3
    upwards, and namespaces. Of an instance it has your own environment and
    directory, and the objects named with --uses. It runs in your terminal and
    ends when it likes: `down` does not wait for it.

    Exit status: CMD's own; 126 it cannot be executed, 127 there is no such
    command, 4 no such process, 1 the wiring failed.
    """  # fmt: skip
    wanted = _uses(uses or [])
    with open_state() as state:
        goal = aim(state, [target], name=name, file=file)
        if goal.targets is None and not wanted:
            raise UsageError(
                f"`{target}` is an instance: whose wiring?",
                hint=f"Name a process ({goal.name}.NAME), or objects with --uses.",
            )
        one = goal.targets[0] if goal.targets else None
        wiring = client(state, goal.instance, lambda found: found.wiring(target=one, uses=wanted or None))
    answer = wiring.answer
    environment = _environment(answer, of_instance=one is None)
    entering(answer["namespaces"])
    _settle(answer, wiring.descriptors)
    argv = command or [os.environ.get("SHELL") or "/bin/sh"]
    if not command:
        _welcome(goal.name if one is None else f"{goal.name}.{one}", environment)
    if wiring.descriptors:
        environment["LISTEN_PID"] = str(os.getpid())
    return _become(argv, environment)


def _uses(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        key, _, access = word.partition(":")
        if not key or access not in ("", "read", "write", "read-write"):
            raise UsageError(f"--uses: `{word}` is no use of an object", hint="Write jobs:read, jobs:write or jobs.")
        found[key] = access or "read-write"
    return found


def _environment(answer: Mapping[str, Any], *, of_instance: bool) -> dict[str, str]:
    """Return what the command gets: the process's environment in our terminal, or ours with what was added."""
    given: dict[str, str] = answer["environment"]
    if not of_instance:
        here = {name: os.environ[name] for name in _OF_THE_TERMINAL if name in os.environ}
        return {**given, **here}
    ours = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    path = os.pathsep.join(filter(None, (ours.get("PYTHONPATH"), given.get("PYTHONPATH"))))
    return {**ours, **given, **({"PYTHONPATH": path} if path else {})}


def entering(pid: int | None) -> None:
    """Enter the namespaces that the run has for itself, if any, where its objects are. Raises OrchestraError."""
    if pid is not None:
        from orchestra.kernel.namespaces import enter

        enter(pid)


def _settle(answer: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Lay out the descriptors from 3 upwards, enter the directory, take the attributes. Raises LaunchFailed."""
    from orchestra.supervisor import become, diagnose

    directory: str | None = answer["directory"]
    try:
        become.arrange(dict(enumerate(descriptors, FIRST_FD)))
        if directory is not None:
            os.chdir(directory)
    except OSError as err:
        raise diagnose.stage_failed("chdir", directory or "", err.errno or 0) from err
    steps = answer["attributes"]
    try:
        become.take([(step["call"], *step["arguments"]) for step in steps])
    except become.Refused as refused:
        step = steps[refused.index]
        raise LaunchFailed(
            step["problem"], stage=step["stage"], errno=refused.errno, path=directory or "",
            detail=f"{step['call']} -> {errno.errorcode.get(refused.errno, refused.errno)}", hint=step["hint"],
        ) from refused  # fmt: skip


def _welcome(who: str, environment: Mapping[str, str]) -> None:
    """Say what the shell has that others have not."""
    bindings: dict[str, dict[str, Any]] = json.loads(environment.get("ORCHESTRA_BINDINGS", "{}"))
    lines = [f"a shell with the wiring of {clean(who)}; `exit` leaves it"]
    width = max((len(variable(key)) for key in bindings), default=0)
    for key, item in bindings.items():
        where = environment.get(variable(key)) or ""
        fd = "" if item["fd"] is None else f"descriptor {item['fd']}"
        words = ", ".join(filter(None, (item["access"], fd, where)))
        lines.append(f"  {variable(key).ljust(width)}  {words}")
    tell("\n".join(lines))


def _become(argv: list[str], environment: Mapping[str, str]) -> int:
    """Execute the command in place of this process; return only when that fails."""
    from orchestra.supervisor.spawn import executable

    sys.stdout.flush()
    sys.stderr.flush()
    for number in _PASSED_ON:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(executable(argv[0], environment), argv, environment)  # noqa: S606 no shell is the point
    except OrchestraError as err:
        explain(err)
        missing = getattr(err, "errno", errno.ENOENT) != errno.EACCES
        return ExitCode.COMMAND_NOT_FOUND if missing else ExitCode.NOT_EXECUTABLE
    except OSError as err:
        tell(f"error: {clean(argv[0])} cannot be executed: {err.strerror}")
        return ExitCode.COMMAND_NOT_FOUND if err.errno == errno.ENOENT else ExitCode.NOT_EXECUTABLE
