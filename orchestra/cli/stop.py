"""`orchestra stop`: stop processes of a live instance and leave it up."""

from __future__ import annotations

from orchestra.cli.live import aim, ask, show_results
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption, PatienceOption, ProcessArguments
from orchestra.cli.state import open_state
from orchestra.cli.values import parse_optional_duration

EXAMPLES = """
orchestra stop pipeline.worker      all its replicas
orchestra stop worker.2 reader      of ./orchestra.yaml, or the only live one
orchestra stop pipeline             all processes; the objects stay
"""


def stop(
    targets: ProcessArguments,
    name: NameOption = None,
    file: FileOption = None,
    timeout: PatienceOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Stop processes of a live instance.

    Each with its own signal and grace, as its file says. They stay down, also
    with a restart policy, until somebody starts them. What depends on them goes
    on; the instance stays up, with all its objects. INSTANCE means all processes.

    Exit status: 0 all have ended, 1 one could not be ended, 4 no such process,
    5 the instance is being changed or ended, 124 --timeout has passed.
    """
    seconds = parse_optional_duration(timeout, "--timeout")
    with open_state() as state:
        goal = aim(state, targets, name=name, file=file)
        answer = ask(state, goal.instance, "stop-processes", targets=goal.targets, timeout=seconds)
    return show_results("stop", goal.name, answer["results"], format_)
