"""`orchestra restart`: stop processes of a live instance and start them again."""

from __future__ import annotations

from orchestra.cli.live import aim, ask, show_results
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption, PatienceOption, ProcessArguments
from orchestra.cli.state import open_state
from orchestra.cli.values import parse_optional_duration

EXAMPLES = """
orchestra restart pipeline.worker
orchestra restart worker.2 --timeout 10s
"""


def restart(
    targets: ProcessArguments,
    name: NameOption = None,
    file: FileOption = None,
    timeout: PatienceOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Stop processes of a live instance and start them again.

    And with them what depends on them with restart: true. Queues, segments and
    semaphores stay as they are. Returns once they are ready again, or have
    completed.

    Exit status: 0 they are up, 1 one failed, 4 no such process, 5 the instance is
    being changed or ended, 124 --timeout has passed.
    """
    seconds = parse_optional_duration(timeout, "--timeout")
    with open_state() as state:
        goal = aim(state, targets, name=name, file=file)
        answer = ask(state, goal.instance, "restart", targets=goal.targets, timeout=seconds)
    return show_results("restart", goal.name, answer["results"], format_)
