"""`orchestra scale`: change how many replicas processes of a live instance have."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestra.cli import complete
from orchestra.cli.live import Aim, aim, ask, show_results
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption, PatienceOption
from orchestra.cli.state import open_state
from orchestra.cli.values import parse_optional_duration, parse_scale
from orchestra.errors import UsageError

EXAMPLES = """
orchestra scale worker=5             of ./orchestra.yaml, or the only live one
orchestra scale -n pipeline worker=5 reader=2
"""


def scale(
    counts: Annotated[
        list[str],
        typer.Argument(metavar="P=N…", help="A process, and how many replicas.", autocompletion=complete.scales),
    ],
    name: NameOption = None,
    file: FileOption = None,
    timeout: PatienceOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Change how many replicas processes of a live instance have.

    The highest numbers go first. Returns once the new ones are ready and the
    others have ended. It holds until the instance ends, or `up -d` brings its
    file in again.

    Exit status: 0 it is so, 1 a replica failed, 2 no such number, 4 no such
    process, 5 the instance is being changed or ended, 124 --timeout has passed.
    """
    seconds = parse_optional_duration(timeout, "--timeout")
    wanted = parse_scale(counts, "orchestra scale")
    with open_state() as state:
        goal = aim(state, list(wanted), name=name, file=file)
        answer = ask(state, goal.instance, "scale", replicas=_by_process(goal, wanted), timeout=seconds)
    return show_results("scale", goal.name, answer["results"], format_)


def _by_process(goal: Aim, wanted: dict[str, int]) -> dict[str, int]:
    """Return the numbers by process. Raises UsageError for an instance, a replica, or a process named twice."""
    found: dict[str, int] = {}
    for word, target in zip(wanted, goal.targets or [], strict=False):
        if "." in target:
            raise UsageError(f"`{word}` is one replica", hint=f"Write {target.partition('.')[0]}=N.")
        if target in found:
            raise UsageError(f"{target} is given twice")
        found[target] = wanted[word]
    if goal.targets is None:
        raise UsageError("an instance cannot be scaled, only its processes", hint="Write PROCESS=N.")
    return found
