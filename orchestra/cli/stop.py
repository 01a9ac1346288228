"""`orchestra stop`: stop processes of a live instance and leave it up."""

from __future__ import annotations

from orchestra.cli.live import act
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption, PatienceOption, ProcessArguments

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
    return act("stop", "stop-processes", targets, name=name, file=file, timeout=timeout, format_=format_)
