"""From an error to words on stderr and an exit status; the one place that knows both.

==== =================================================================================
0    as asked
1    the work failed: a process failed, a check failed, the kernel refused
2    wrong usage, or an invalid topology
3    leaks found (`audit`)
4    no such instance, run or object
5    conflict: already up, or a name is taken
124  a deadline passed
126  the command of `exec` or `audit` cannot be executed
127  there is no such command
129  ended by SIGHUP
130  ended by SIGINT (Ctrl-C)
141  nobody reads stdout any more
143  ended by SIGTERM
==== =================================================================================
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import TextIO

from orchestra.errors import OrchestraError
from orchestra.views.ansi import paint_for
from orchestra.views.problems import render_error


class ExitCode(IntEnum):
    """Every status a command ends with, but those a child of ours chose."""

    OK = 0
    FAILED = 1
    USAGE = 2
    LEAKS = 3
    NOT_FOUND = 4
    CONFLICT = 5
    DEADLINE = 124
    NOT_EXECUTABLE = 126
    COMMAND_NOT_FOUND = 127
    HANGUP = 129
    INTERRUPTED = 130
    CLOSED_OUTPUT = 141
    TERMINATED = 143


def debugging() -> bool:
    """Whether ORCHESTRA_DEBUG=1 asks for tracebacks."""
    return os.environ.get("ORCHESTRA_DEBUG") == "1"


def guarded(work: Callable[[], int]) -> int:
    """Run `work` and flush its answer; turn whatever it raises into words on stderr and an exit status."""
    try:
        code = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return closed_output()
    except OrchestraError as err:
        if debugging():
            raise
        return explain(err)
    except Exception as err:
        if debugging():
            raise
        return _unforeseen(err)
    return code


def explain(error: OrchestraError) -> int:
    """Write an error of ours to stderr; return its exit status."""
    tell(render_error(error, paint_for(sys.stderr)))
    return error.exit_code


def tell(text: str) -> None:
    """Write a message for the person at the terminal; when stderr is closed there is nobody to tell."""
    # The answer goes first, so that both keep their order where they share a terminal. When it cannot be written,
    # that is found again, and reported, by the last flush.
    # RuntimeError: this is a signal handler, and the program was in the middle of a write to that very stream.
    with suppress(OSError, RuntimeError):
        sys.stdout.flush()
    text = text if text.endswith("\n") else text + "\n"
    with suppress(OSError, ValueError):
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except RuntimeError:
            os.write(sys.stderr.fileno(), text.encode(errors="backslashreplace"))


def closed_output() -> int:
    """Make the rest of this process silent after its reader left (`orchestra ps | head -1`)."""
    silence(sys.stdout.fileno())
    return ExitCode.CLOSED_OUTPUT


def has_reader(stream: TextIO) -> bool:
    """Whether what is written goes to somebody who can leave: a pipe or a socket."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def silence(fd: int) -> None:
    """Point a descriptor at /dev/null, so that the interpreter's last flush cannot fail and complain."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, fd)
    os.close(null)


def _unforeseen(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT) and error.filename is None:
        silence(sys.stdout.fileno())
        tell(f"error: the answer could not be written: {error.strerror}")
        return ExitCode.FAILED
    tell(
        f"error: orchestra met something it did not foresee: {type(error).__name__}: {error}\n"
        "help: this is a bug. Set ORCHESTRA_DEBUG=1 to see where it happened, and please report it."
    )
    return ExitCode.FAILED
