"""Run any command as if nobody stood between, and know its processes: what `audit -- CMD` does until it looks.

Standard streams, other inherited descriptors, environment, terminal and process group are the command's own. Signals
that reach only us are passed on. As a child subreaper we become the parent of every orphan of its tree, so nobody is
lost who still lives when it ends; of those that ended before, the ones are known by name that a look now and then saw.
Nobody is ended: what still runs is told.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orchestra.kernel.process import descendants, set_subreaper
from orchestra.kernel.procfs import process_stat

# What a person or a program may send to us and mean the command; SIGTSTP and its kin stop us as well, by default.
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
# Python ignores these; a program expects to start with the default.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_SI_KERNEL = 0x80  # siginfo.si_code, include/uapi/asm-generic/siginfo.h: from the terminal, to its whole group
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.1  # seconds between two looks at the tree: first, and at the most
_SETTLING = 1.0  # seconds that what outlives the command gets to end by itself, as Python's resource tracker does


class Member(NamedTuple):
    """One process of the command's tree. `started` is clock ticks since boot."""

    pid: int
    command: str
    started: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended. `code` is its exit code, 128 + N for signal N.

    `tree` holds every process of it that was seen, by pid; `survivors` those that still run.
    """

    code: int
    tree: Mapping[int, Member]
    survivors: tuple[Member, ...] = ()


class NotStarted(Exception):
    """The command could not be executed; `code` is 127 when there is none of that name, else 126."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


def run(command: Sequence[str], *, settling: float = _SETTLING) -> Ended:
    """Run `command`, looked up in PATH, to its end. Raises NotStarted. Leaves this process a subreaper."""
    set_subreaper()
    waited_for = {signal.SIGCHLD, *FORWARDED}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    try:
        leader = _spawn(command, before)
        tree: dict[int, Member] = {}
        code = _until_ended(leader, tree, waited_for)
        _settle(tree, settling)
        return Ended(code, tree, tuple(_living()))
    finally:
        while signal.sigtimedwait(FORWARDED, 0):  # came while the command was ending: it was the command's
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _spawn(command: Sequence[str], mask: set[signal.Signals | int]) -> int:
    try:
        return os.posix_spawnp(
            command[0], list(command), os.environ, setsigmask=mask, setsigdef=_IGNORED_BY_PYTHON
        )  # fmt: skip
    except OSError as err:
        code = 127 if err.errno in (errno.ENOENT, errno.ENOTDIR) else 126
        raise NotStarted(code, err.strerror or str(err)) from err
    except ValueError as err:  # no name, or a NUL in a word
        raise NotStarted(127, "it has no name" if not command[0] else str(err)) from err


def _until_ended(leader: int, tree: dict[int, Member], waited_for: set[signal.Signals]) -> int:
    pause = _FIRST_LOOK
    while True:
        _look(tree)
        code = _reap(leader)
        if code is not None:
            return code
        came = signal.sigtimedwait(waited_for, pause)
        pause = min(2 * pause, _LAST_LOOK)
        if came is not None and came.si_signo != signal.SIGCHLD and came.si_code != _SI_KERNEL:
            os.kill(leader, came.si_signo)  # our child, not reaped: the number is still its own


def _reap(leader: int) -> int | None:
    """Reap all that have ended; return the leader's exit code once it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == leader:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


def _settle(tree: dict[int, Member], seconds: float) -> None:
    """Give those who are about to end the time for it."""
    end = time.monotonic() + seconds
    while True:
        _look(tree)
        _reap(0)
        left = end - time.monotonic()
        if left <= 0 or not _living():
            return
        signal.sigtimedwait({signal.SIGCHLD}, min(left, _LAST_LOOK))


def _look(tree: dict[int, Member]) -> None:
    """Take down everybody who descends from us now. The name of a process that executes another changes."""
    for pid in descendants(os.getpid()):
        found = process_stat(pid)
        if found is not None:
            tree[pid] = Member(pid, found.command, found.start_time)


def _living() -> list[Member]:
    living = []
    for pid in descendants(os.getpid()):
        found = process_stat(pid)
        if found is not None and not found.has_ended:
            living.append(Member(pid, found.command, found.start_time))
    return living
