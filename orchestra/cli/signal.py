"""`orchestra signal`: send a signal to processes of a live instance."""

from __future__ import annotations

from signal import Signals
from typing import Annotated

import typer

from orchestra.cli import complete
from orchestra.cli.live import aim, ask, show_results
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption, ProcessArguments
from orchestra.cli.state import open_state
from orchestra.errors import UsageError

_SIGNALS = frozenset(word for item in Signals for word in (item.name, item.name.removeprefix("SIG")))

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
    if not number.isdecimal() and number.upper() not in _SIGNALS:
        _must_not_be_last(number, targets)
    with open_state() as state:
        goal = aim(state, targets, name=name, file=file)
        answer = ask(state, goal.instance, "signal", signal=number, targets=goal.targets)
    return show_results("signal", goal.name, answer["results"], format_)


def _must_not_be_last(word: str, targets: list[str]) -> None:
    """Raise UsageError where a signal stands among the processes: those are never in capitals."""
    found = next((target for target in targets if target in _SIGNALS), None)
    if found is not None:
        others = [word, *(target for target in targets if target != found)]
        raise UsageError("the signal comes first", hint=f"Write orchestra signal {found} {' '.join(others)}")
