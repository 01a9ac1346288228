"""`orchestra restart`: stop processes of a live instance and start them again."""

from __future__ import annotations

from orchestra.cli.live import act
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption, PatienceOption, ProcessArguments

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
    return act("restart", "restart", targets, name=name, file=file, timeout=timeout, format_=format_)
