"""`orchestra start`: start processes of a live instance that are down."""

from __future__ import annotations

from orchestra.cli.live import act
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption, PatienceOption, ProcessArguments

EXAMPLES = """
orchestra start pipeline.worker
orchestra start worker.2
"""


def start(
    targets: ProcessArguments,
    name: NameOption = None,
    file: FileOption = None,
    timeout: PatienceOption = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Start processes of a live instance.

    Those that ended, failed, were stopped, or have autostart: false; and first
    what they depend on, where it is down. What is up stays as it is. Returns
    once they are ready, or have completed.

    Exit status: 0 they are up, 1 one failed, 4 no such process, 5 the instance is
    being changed or ended, 124 --timeout has passed.
    """
    return act("start", "start", targets, name=name, file=file, timeout=timeout, format_=format_)
