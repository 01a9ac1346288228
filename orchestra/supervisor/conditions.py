"""`wait_for`: find the moment at which everything holds that a process waits for before it starts.

The kernel tells when a POSIX queue changes (its descriptor is pollable) and when a name appears in or leaves a folder
(inotify). For everything else we look again and again, at growing distances. Nothing is looked at that nobody waits
for.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import select
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from orchestra.errors import KernelError
from orchestra.kernel.blocked import is_blocked_on
from orchestra.kernel.libc import watch_folder
from orchestra.kernel.procfs import descendants
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Access, Family, Kind, Stat
from orchestra.objects import KERNEL, LiveObject
from orchestra.runplan import WaitFor
from orchestra.supervisor.reactor import READ, WRITE, Reactor
from orchestra.supervisor.schedule import Schedule

_SHM_FOLDER = "/dev/shm"  # noqa: S108 where the C library keeps POSIX segments and semaphores
_EVERY_CHANGE = READ | WRITE | select.EPOLLET
_CHUNK = 65536

Things = Callable[[], Mapping[str, LiveObject]]
Leaders = Callable[[str], Sequence[int]]  # a process -> the pids of its live replicas


def look_at(thing: LiveObject) -> Stat | None:
    """Return the object as it is now; None when it is not there or we may not look.

    A POSIX segment has no size between its maker's shm_open and ftruncate: until then it does not count as there.
    """
    try:
        stat = adapter_for(thing.plan.family, thing.plan.kind).stat(thing.handle.ref)
    except KernelError:
        return None
    is_unsized = stat is not None and stat.ref.kind is Kind.SEGMENT and stat.size == 0
    return None if is_unsized else stat


def number_of(thing: LiveObject, what: str, member: int = 0) -> int | None:
    """Return how many messages, attachments or what value an object has; None when that cannot be told now.

    `attached` counts mappings of a System V segment as the kernel does, of any other the processes besides us that
    have it open or mapped, as far as we may look.
    """
    stat = look_at(thing)
    if stat is None:
        return None
    if what == "attached" and stat.attached is None:
        found = KERNEL.holders([stat.identity]).get(0)
        return None if found is None else len({holder.pid for holder in found.holders} - {os.getpid()})
    value: object = None
    match what:
        case "attached":
            value = stat.attached
        case "messages":
            value = stat.fields.get("mq_curmsgs", stat.fields.get("msg_qnum"))
        case "value":
            value = stat.fields.get("sem_getvalue", stat.fields.get("semval"))
    if isinstance(value, list):
        value = value[member] if member < len(value) else None
    return value if isinstance(value, int) else None


def alarm_for(thing: LiveObject, what: str) -> int | None:
    """Return a descriptor that tells of changes, to be watched edge-triggered; None where the kernel has none."""
    family, kind = thing.plan.family, thing.plan.kind
    if what == "messages" and (family, kind) == (Family.POSIX, Kind.QUEUE):
        try:
            return adapter_for(family, kind).open(thing.handle.ref, Access.READ)
        except KernelError:
            return None
    name = thing.handle.ref.name
    if what != "exists" or name is None or (family, kind) == (Family.POSIX, Kind.QUEUE):
        return None
    folder = _SHM_FOLDER if family is Family.POSIX else posixpath.dirname(name)
    try:
        return watch_folder(folder)
    except OSError:
        return None


class Alarms:
    """The descriptors of `alarm_for` under watch. `called` is called on every change."""

    def __init__(self, reactor: Reactor, called: Callable[[], None]) -> None:
        self._reactor, self._called = reactor, called
        self._fds: list[int] = []

    def add(self, thing: LiveObject, what: str) -> bool:
        """Watch an object; False where it must be looked at instead."""
        fd = alarm_for(thing, what)
        if fd is None:
            return False
        self._fds.append(fd)
        self._reactor.watch(fd, partial(self._rang, fd, what == "exists"), _EVERY_CHANGE)
        return True

    def close(self) -> None:
        """Watch no more."""
        for fd in self._fds:
            self._reactor.forget(fd)
            os.close(fd)
        self._fds.clear()

    def _rang(self, fd: int, is_inotify: bool) -> None:
        if is_inotify:
            with contextlib.suppress(BlockingIOError):
                while len(os.read(fd, _CHUNK)) > _CHUNK // 2:
                    pass
        self._called()


class Conditions:
    """What processes wait for before they start. `met` is called once with the process for which all of it holds."""

    def __init__(self, reactor: Reactor, things: Things, leaders: Leaders, met: Callable[[str], None]) -> None:
        self._reactor, self._things, self._leaders, self._met = reactor, things, leaders, met
        self._waiting: dict[str, _Wait] = {}

    def watch(self, process: str, wait_for: Sequence[WaitFor]) -> None:
        """Begin to look. `met` may be called before this returns."""
        self.forget(process)
        wait = self._waiting[process] = _Wait(self._reactor, process, wait_for, self._look)
        wait.begin(self._things())
        self._look(process)

    def forget(self, process: str) -> None:
        """Look no more."""
        wait = self._waiting.pop(process, None)
        if wait is not None:
            wait.end()

    def close(self) -> None:
        """Look for nothing any more."""
        for process in list(self._waiting):
            self.forget(process)

    def _look(self, process: str) -> None:
        wait = self._waiting.get(process)
        if wait is not None and all(self._holds(condition) for condition in wait.wait_for):
            self.forget(process)
            self._met(process)

    def _holds(self, condition: WaitFor) -> bool:
        things = self._things()
        if condition.what == "blocked_on":
            return self._is_blocked(condition.subject, things[condition.object])
        thing = things[condition.subject]
        if condition.what == "exists":
            return (look_at(thing) is not None) == condition.expected
        number = number_of(thing, condition.what, condition.member)
        if number is None or number < condition.minimum:
            return False
        return condition.maximum is None or number <= condition.maximum

    def _is_blocked(self, process: str, thing: LiveObject) -> bool:
        """Whether every live replica of a process is blocked on the object, itself or by one of its descendants."""
        stat = None if thing.handle.fds else look_at(thing)
        identity = thing.handle.identity if stat is None else stat.identity
        leaders = self._leaders(process)
        try:
            return bool(leaders) and all(
                any(is_blocked_on(pid, identity) for pid in (leader, *descendants(leader))) for leader in leaders
            )
        except PermissionError:
            return False


class _Wait:
    """One process that waits."""

    def __init__(
        self, reactor: Reactor, process: str, wait_for: Sequence[WaitFor], look: Callable[[str], None]
    ) -> None:
        self.wait_for = wait_for
        self._alarms = Alarms(reactor, partial(look, process))
        self._schedule = Schedule(reactor, ("wait_for", process), partial(look, process))

    def begin(self, things: Mapping[str, LiveObject]) -> None:
        """Have the kernel tell of what it can; look again and again for the rest."""
        told = [
            condition.subject in things and self._alarms.add(things[condition.subject], condition.what)
            for condition in self.wait_for
        ]
        if not all(told):
            self._schedule.start()

    def end(self) -> None:
        """Let go of everything."""
        self._alarms.close()
        self._schedule.stop()
