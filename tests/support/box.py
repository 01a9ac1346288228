"""A box of its own for a scenario that removes whatever nobody holds: nothing of the host is in it, nothing gets out.

`python -m tests.support.box hold` makes one and keeps it until its input ends; `… enter PID COMMAND…` runs a command in
the box of that process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Box:
    """A box that lives as long as the process `pid`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def words(self, *command: str) -> list[str]:
        """Return the command that runs `command` inside."""
        return [sys.executable, "-m", "tests.support.box", "enter", str(self.pid), *command]


@contextmanager
def box() -> Iterator[Box]:
    """Make a box. Raises AssertionError with the reason where none can be made."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.box", "hold"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "made\n"
        try:
            yield Box(holder.pid)
        finally:
            holder.communicate("")


def main(words: Sequence[str]) -> None:
    from orchestra.kernel import namespaces

    if words[0] == "hold":
        namespaces.make_private_ipc()
        print("made", flush=True)
        sys.stdin.read()
        return
    namespaces.enter(int(words[1]))
    os.execvp(words[2], list(words[2:]))


if __name__ == "__main__":
    main(sys.argv[1:])
