"""Which processes belong to the run: leaders, the rest of their sessions, and descendants that left those.

As a child subreaper the supervisor becomes the parent of every orphaned descendant. So SIGCHLD tells of the end of all
that matters, also of processes that nobody knew of, and a leader that is reaped has handed its children to us before
we learn of its end: looking at our own children then shows at once whether anybody of its session is left.

Whom signals reach: a group by its number only while its leader is not reaped, for then the number cannot belong to
anybody else. After that each member is signalled through a pidfd whose session was checked.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from orchestra.kernel.process import children, descendants, open_process, send_signal
from orchestra.kernel.procfs import ProcessStat, process_stat
from orchestra.supervisor.signals import signal_name

_Key = TypeVar("_Key", bound=Hashable)
_TICKS = os.sysconf("SC_CLK_TCK")


class Death(NamedTuple):
    """One reaped child. `who` is what `Kin.add` was told, None for a descendant that was adopted."""

    pid: int
    who: Hashable | None
    code: int | None
    signal: str | None


@dataclass(slots=True)
class _Family:
    """One session. `told` maps a signal to when its group got it, in clock ticks since boot."""

    leader: int
    reaped: bool = False
    told: dict[int, int] = field(default_factory=dict)
    told_alone: set[tuple[int, int]] = field(default_factory=set)  # (pid, signal)


class Kin:
    """Every process of the run, as its parent or adoptive parent sees them."""

    def __init__(self) -> None:
        self._families: dict[Hashable, _Family] = {}
        self._leaders: dict[int, Hashable] = {}
        self._adopted: list[int] | None = None  # what the last look showed
        self._swept: set[tuple[int, int]] = set()

    def add(self, who: Hashable, pid: int) -> None:
        """A replica, or a command beside one, was started; `pid` leads its session."""
        self._families[who] = _Family(pid)
        self._leaders[pid] = who

    def forget(self, who: Hashable) -> None:
        """It has ended: its number may come to mean somebody else."""
        self._families.pop(who, None)

    def release(self, who: Hashable, pid: int) -> None:
        """Somebody else has reaped a child that `add` was told of."""
        if self._leaders.pop(pid, None) is not None and who not in self._leaders.values():
            self._families.pop(who, None)

    def look_again(self) -> None:
        """Forget what was seen of adopted descendants; call it whenever time has passed."""
        self._adopted = None

    def reap(self) -> list[Death]:
        """Collect every child that has ended. Never blocks."""
        self.look_again()
        deaths: list[Death] = []
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                return deaths
            if found is None:
                return deaths
            who = self._leaders.pop(found.si_pid, None)
            if who is not None and who in self._families:
                self._families[who].reaped = True
            by_signal = found.si_code != os.CLD_EXITED
            code = None if by_signal else found.si_status
            deaths.append(Death(found.si_pid, who, code, signal_name(found.si_status) if by_signal else None))

    def strangers(self) -> list[int]:
        """Return our children that lead no replica: adopted descendants, as of the last `look_again`."""
        if self._adopted is None:
            self._adopted = [pid for pid in children(os.getpid()) if pid not in self._leaders]
        return self._adopted

    def sessions(self) -> dict[int, list[ProcessStat]]:
        """Return the living processes below all strangers, by session."""
        found: dict[int, list[ProcessStat]] = {}
        for pid in _with_descendants(self.strangers()):
            stat = process_stat(pid)
            if stat is not None and not stat.has_ended:
                found.setdefault(stat.session, []).append(stat)
        return found

    def lingering(self, candidates: Iterable[_Key]) -> set[_Key]:
        """Return those of `candidates`, whose leaders are reaped, that still have members in their session."""
        if not self.strangers():
            return set()
        sessions = self.sessions()
        return {who for who in candidates if who in self._families and self._families[who].leader in sessions}

    def members(self, who: Hashable) -> list[int]:
        """Return the living processes of a session, its leader first."""
        family = self._families.get(who)
        if family is None:
            return []
        below = [*self.strangers(), *([] if family.reaped else [family.leader])]
        stats = filter(None, map(process_stat, _with_descendants(below)))
        pids = {stat.pid for stat in stats if stat.session == family.leader and not stat.has_ended}
        return sorted(pids, key=lambda pid: (pid != family.leader, pid))

    def signal(self, who: Hashable, number: int) -> None:
        """Send a signal to everybody in a session; each process gets it once."""
        family = self._families.get(who)
        if family is None:
            return
        if not family.reaped and (number not in family.told or number == signal.SIGKILL):
            family.told.setdefault(number, _ticks_since_boot())
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(family.leader, number)
                if number != signal.SIGKILL:  # a stopped process would hear of it only when somebody continues it
                    os.killpg(family.leader, signal.SIGCONT)
        below = list(self.strangers())
        if number == signal.SIGKILL and not family.reaped:
            below += descendants(family.leader)
        if below:
            self._tell_members(family, number, below)

    def sweep(self, number: int) -> list[ProcessStat]:
        """Send a signal to everything that is left below us, to each once; return whom it was sent to just now."""
        told = []
        for pid in _with_descendants(children(os.getpid())):
            stat = process_stat(pid)
            if stat is None or stat.has_ended or (pid, number) in self._swept:
                continue
            if number != signal.SIGKILL and self._is_being_killed(stat):
                continue
            self._swept.add((pid, number))
            if _send(stat, number):
                told.append(stat)
        return told

    def living(self) -> list[ProcessStat]:
        """Return every process of the run that lives."""
        self.look_again()
        stats = filter(None, map(process_stat, _with_descendants(children(os.getpid()))))
        return [stat for stat in stats if not stat.has_ended]

    def _is_being_killed(self, stat: ProcessStat) -> bool:
        """Whether its session was sent SIGKILL, and its end is only to be noticed."""
        return any(
            family.leader == stat.session
            and (signal.SIGKILL in family.told or (stat.pid, signal.SIGKILL) in family.told_alone)
            for family in self._families.values()
        )

    @property
    def is_empty(self) -> bool:
        """Whether we have no child left, not even an unreaped one."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return False

    def _tell_members(self, family: _Family, number: int, below: Collection[int]) -> None:
        for pid in _with_descendants(below):
            stat = process_stat(pid)
            if stat is None or stat.has_ended or stat.session != family.leader or pid == family.leader:
                continue
            told_at = family.told.get(number)
            in_time = told_at is not None and stat.group == family.leader and stat.start_time < told_at
            if (in_time and number != signal.SIGKILL) or (pid, number) in family.told_alone:
                continue
            family.told_alone.add((pid, number))
            _send(stat, number)


def _send(stat: ProcessStat, number: int) -> bool:
    """Signal exactly the process that `stat` was taken from."""
    fd = open_process(stat.pid, stat.start_time)
    if fd is None:
        return False
    try:
        return send_signal(fd, number)
    except PermissionError:  # it changed its user: its end comes when its session's does, or the guardian's word
        return False
    finally:
        os.close(fd)


def _with_descendants(pids: Iterable[int]) -> list[int]:
    found: dict[int, None] = {}
    for pid in pids:
        found[pid] = None
        found.update(dict.fromkeys(descendants(pid)))
    return list(found)


def _ticks_since_boot() -> int:
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)
