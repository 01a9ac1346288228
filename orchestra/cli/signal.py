"""`orchestra signal`: send a signal to processes of a live instance."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestra.cli import complete
from orchestra.cli.live import aim, ask, show_results
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption, ProcessArguments
from orchestra.cli.state import open_state

EXAMPLES = """
orchestra signal USR1 pipeline.worker     to each replica
orchestra signal HUP server               to read its configuration again
orchestra signal STOP worker.2            to freeze one; CONT lets it go on
"""


def signal(
    number: Annotated[
        str, typer.Argument(metavar="SIGNAL", help="SIGUSR1, USR1 or 10.", autocompletion=complete.signals)
    ],
    targets: ProcessArguments,
    name: NameOption = None,
    file: FileOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Send a signal to processes of a live instance.

    To the main process of each replica, and to nobody else: what a program starts
    is its own concern. A process that ends by it has ended by itself, and counts
    as its file says; `stop` is what stops one.

    Exit status: 0 sent to all, 1 one does not run, 2 there is no such signal, 4 no
    such process.
    """
    with open_state() as state:
        goal = aim(state, targets, name=name, file=file)
        answer = ask(state, goal.instance, "signal", signal=number, targets=goal.targets)
    return show_results("signal", goal.name, answer["results"], format_)
