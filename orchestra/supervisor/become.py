"""What a forked child does to itself before its program, or its function, begins.

One file that needs the standard library alone, of any CPython from 3.8 on: the supervisor imports it, and so does the
parent of functions (`forkserver`), which may run on another interpreter.

The order is what makes it work. Descriptors first, while their numbers still mean what the caller meant. Then what
takes a privilege (limits, priorities), then the identity, which gives privileges up. The directory last, so that
entering it is tried as who the child is now.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any

FIRST_FREE = 3  # below are the standard streams


class Refused(Exception):
    """A step that the kernel refused: its number in the list, and the errno."""

    def __init__(self, index: int, number: int) -> None:
        super().__init__(index, number)
        self.index = index
        self.errno = number


def take(steps: Sequence[Sequence[Any]]) -> None:
    """Take steps, each the name of a call and its arguments, in order. Raises Refused at the first that fails."""
    for index, (call, *arguments) in enumerate(steps):
        try:
            CALLS[call](*arguments)
        except OSError as err:
            raise Refused(index, err.errno or 0) from err
        except MemoryError as err:  # a limit on memory that leaves none for the next step
            raise Refused(index, errno.ENOMEM) from err
        except (ValueError, OverflowError) as err:  # how Python says EINVAL, and EPERM of a hard limit
            raise Refused(index, _number_of(call, arguments)) from err


def arrange(places: Mapping[int, int]) -> None:
    """Make each descriptor `places[number]` the descriptor `number`, inheritable. Raises OSError.

    Copies are made first, where they are in nobody's place: one may lie in another's.
    """
    copies = {number: aside(fd, places) for number, fd in places.items()}
    for number, fd in copies.items():
        os.dup2(fd, number)
        os.close(fd)


def aside(fd: int, places: Collection[int]) -> int:
    """Return a copy of `fd` that is in nobody's place, close-on-exec. Not just a high one: there may be a limit."""
    occupied = []
    while True:
        copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
        if copy not in places:
            break
        occupied.append(copy)  # until we are through, or its number would come again
    for number in occupied:
        os.close(number)
    return copy


def control_terminal(fd: int) -> None:
    """Make a terminal the controlling one of this session, which has none yet. Raises OSError."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


def set_limit(name: str, soft: int, hard: int) -> None:
    """Set one limit of setrlimit(2) by its short name ("nofile"); -1 is none. Raises OSError, ValueError."""
    resource.setrlimit(getattr(resource, "RLIMIT_" + name.upper()), (soft, hard))


def set_scheduler(policy: str, priority: int) -> None:
    """Set the scheduling policy ("fifo", "rr", "batch", "idle", "other") of this process. Raises OSError."""
    os.sched_setscheduler(0, getattr(os, "SCHED_" + policy.upper()), os.sched_param(priority))


def set_priority(value: int) -> None:
    """Set the nice value itself, not a difference to it. Raises OSError."""
    os.setpriority(os.PRIO_PROCESS, 0, value)


def set_affinity(*cpus: int) -> None:
    """Run on these processors only. Raises OSError."""
    os.sched_setaffinity(0, cpus)


def _set_groups(*groups: int) -> None:
    os.setgroups(groups)


def _set_group(group: int) -> None:
    os.setresgid(group, group, group)


def _set_user(user: int) -> None:
    os.setresuid(user, user, user)


def _set_mask(mask: int) -> None:
    os.umask(mask)


def _number_of(call: str, arguments: Sequence[Any]) -> int:
    """Return the errno that Python's setrlimit hides behind a ValueError."""
    if call == "limit":
        _, hard = resource.getrlimit(getattr(resource, "RLIMIT_" + arguments[0].upper()))
        if hard != resource.RLIM_INFINITY and (arguments[2] == -1 or arguments[2] > hard):
            return errno.EPERM
    return errno.EINVAL


CALLS: dict[str, Callable[..., None]] = {
    "limit": set_limit,
    "nice": set_priority,
    "scheduler": set_scheduler,
    "affinity": set_affinity,
    "umask": _set_mask,
    "groups": _set_groups,
    "group": _set_group,
    "user": _set_user,
    "directory": os.chdir,
}
