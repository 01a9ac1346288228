"""Long answers on a terminal go through a pager, as those of git do: `$PAGER`, else less.

An answer that goes anywhere but to a terminal never does. `PAGER=cat` (or empty) is none at all.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

from orchestra.cli.exits import tell

_LESS = "FRX"  # end at once if it fits on one screen, pass colours, leave the text where it is


@contextmanager
def paged() -> Iterator[TextIO]:
    """Yield where to write a long answer. That the person has read enough ends the block without an error."""
    command = _pager()
    if command is None:
        yield sys.stdout
        return
    environment = {"LESS": _LESS, "LV": "-c", **os.environ}
    sys.stdout.flush()
    pager = subprocess.Popen(  # noqa: S602 $PAGER is a line for the shell, by POSIX
        command, shell=True, stdin=subprocess.PIPE, env=environment, text=True,
        encoding=sys.stdout.encoding, errors="backslashreplace",
    )  # fmt: skip
    to_pager = cast("TextIO", pager.stdin)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the pager is the pager's
    try:
        with suppress(BrokenPipeError):  # the person left the pager
            yield to_pager
            to_pager.flush()
    finally:
        with suppress(BrokenPipeError):
            to_pager.close()
        code = pager.wait()
        signal.signal(signal.SIGINT, before)
    if code in (126, 127):
        tell(f"the pager could not be started: {command}\nhelp: Set PAGER to another one, or to cat for none.")


def _pager() -> str | None:
    """Return the command of the pager, None where there is to be none."""
    if not sys.stdout.isatty():
        return None
    chosen = os.environ.get("PAGER")
    if chosen is None:
        return "less" if shutil.which("less") else None
    return None if chosen.strip() in ("", "cat") else chosen
