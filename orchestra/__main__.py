"""Where the command line starts. Decides what must happen before anything heavy is imported.

`--version` answers from this package alone. `up` forks the guardian first: a process that already loaded pydantic
and yaml would carry their memory through the whole run, and forking it would copy it. While this process imports
and validates, the guardian imports what it needs; when no plan comes it leaves without a trace.
"""

from __future__ import annotations

import gc
import os
import sys

from orchestra import __version__

_ASKS_ONLY = frozenset({"--dry-run", "--help", "-h"})
# Imports make many objects and hardly any garbage: looking for it each 700 objects takes a tenth of the start.
_OBJECTS_UNTIL_COLLECTED = 100_000


def main() -> None:
    """Run one command and end this process with its exit status."""
    _open_closed_streams()
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:  # Ctrl-C while importing: nothing was started
        code = 130
    _leave(code)


def _leave(code: int) -> None:
    """End this process at once: to take everything apart first would be a tenth of a short command's time.

    Nothing is left for that: files are closed where they were opened, and no module of ours registers an exit handler.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)  # the interpreter tries again, and says that it failed
    os._exit(code)


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        sys.stdout.write(f"orchestra {__version__}\n")
        return 0
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTED)
    if arguments[:1] == ["up"] and not _ASKS_ONLY.intersection(arguments):
        from orchestra.supervisor.launch import prefork

        prefork()
    from orchestra.cli.app import main as run

    return run(arguments)


def _open_closed_streams() -> None:
    """Give /dev/null to closed standard streams: a file of ours must not become descriptor 1, nor a write fail."""
    if not any(stream is None for stream in (sys.stdin, sys.stdout, sys.stderr)):  # how Python tells of closed ones
        return
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    main()
