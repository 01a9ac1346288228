"""Processes as witnesses: which pid is alive, since when, whose it is, what it runs, in which unit or container.

A pid alone says little: numbers are given out again. So each process comes with the moment it started, and what cannot
be looked up is told from what is provably not there: with hidepid /proc is silent about a process that kill(2) knows.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from orchestra.kernel import procfs
from orchestra.kernel.traces import read_bytes

_INIT_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
_CONTAINER = re.compile(r"(?:^|[-/])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_UNIT = re.compile(r"[^/]+\.(?:service|scope)")


class Process(NamedTuple):
    """One living process. `started` is clock ticks since boot, `started_at` seconds since the epoch, None unseen."""

    pid: int
    command: str  # comm; "" where /proc does not show it
    started: int | None
    started_at: float | None


class Census:
    """Answers about processes, each looked up once. Never raises.

    `of_our_pids` is False where the /proc mounted here is that of another pid namespace: its numbers are not those that
    the kernel tells us, so it can say nothing about them. `blind`: a search by name met a process that does not show
    its own (hidepid), so that what was not found may be there.
    """

    def __init__(self, root: str = procfs.PROC) -> None:
        self.root = root
        self._known: dict[int, Process | None] = {}
        self._tick = os.sysconf("SC_CLK_TCK")
        self.of_our_pids = _is_of_our_pids(root)
        self.blind = False

    def alive(self, pid: int) -> Process | None:
        """Return the process that has this pid now, None when there is provably none; a zombie is none."""
        if pid not in self._known:
            self._known[pid] = self._look(pid)
        return self._known[pid]

    def owner(self, pid: int) -> str | None:
        """Return the user a process runs as, None when that is not shown."""
        uid = self.uid(pid)
        return None if uid is None else user_name(uid)

    def uid(self, pid: int) -> int | None:
        """Return the effective uid of a process, None when it is not shown."""
        try:
            return os.stat(f"{self.root}/{pid}").st_uid
        except OSError:
            return None

    def unit(self, pid: int) -> str | None:
        """Return the container (`container 0123456789ab`) or systemd unit of a process, as its control group says."""
        try:
            return unit_in(read_bytes(f"{self.root}/{pid}/cgroup").decode(errors="replace"))
        except OSError:
            return None

    def running(
        self, command: re.Pattern[str], arguments: re.Pattern[str] | None, uid: int | None
    ) -> Iterator[Process]:
        """Yield living processes of a user whose comm, and whose command line, these patterns are found in."""
        for pid in procfs.pids(self.root):
            one = self.alive(pid)
            self.blind = self.blind or (one is not None and one.started_at is None)
            if one is None or not command.search(one.command) or uid not in (None, self.uid(pid)):
                continue
            if arguments is None or arguments.search(self._arguments(pid)):
                yield one

    @property
    def in_first_pid_namespace(self) -> bool:
        """Whether this is the host's own pid namespace: from any other there may be processes that are not seen."""
        try:
            return os.stat(f"{self.root}/self/ns/pid").st_ino == _INIT_PID_NAMESPACE
        except OSError:
            return False

    def strangers(self, device: int) -> bool:
        """Whether processes of other pid namespaces, or ones we may not look into, use this file system as /dev/shm."""
        try:
            own = os.stat(f"{self.root}/self/ns/pid").st_ino
        except OSError:
            return True
        for pid in procfs.pids(self.root):
            try:
                if os.stat(f"{self.root}/{pid}/ns/pid").st_ino == own:
                    continue
                if os.stat(f"{self.root}/{pid}/root/dev/shm").st_dev == device:
                    return True
            except PermissionError:
                continue  # its namespace is not shown: it is told apart by the pass that could not look into it
            except OSError:
                continue
        return False

    def _arguments(self, pid: int) -> str:
        try:
            return read_bytes(f"{self.root}/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""

    def _look(self, pid: int) -> Process | None:
        found = procfs.process_stat(pid, self.root) if self.of_our_pids else None
        if found is None:
            return Process(pid, "", None, None) if _exists(pid) else None
        if found.has_ended:
            return None
        return Process(pid, found.command, found.start_time, boot_time(self.root) + found.start_time / self._tick)


def unit_in(text: str) -> str | None:
    """Return the container or unit that /proc/PID/cgroup names: version 2, or the hierarchy named systemd."""
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and "systemd" not in controllers:
            continue
        container = _CONTAINER.search(path)
        if container:
            return f"container {container[1][:12]}"
        units = _UNIT.findall(path)
        return units[-1] if units else None
    return None


@cache
def boot_time(root: str = procfs.PROC) -> float:
    """Return when this host was started, in seconds since the epoch; 0 where /proc/stat does not say."""
    try:
        with open(f"{root}/stat", "rb") as file:
            for line in file:
                if line.startswith(b"btime "):
                    return float(line[6:])
    except OSError:
        return 0.0
    return 0.0


@cache
def user_name(uid: int) -> str:
    """Return the name of a user, `uid N` for one without; `unknown` for -1."""
    if uid < 0:
        return "unknown"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _is_of_our_pids(root: str) -> bool:
    try:
        return os.readlink(f"{root}/self") == str(os.getpid())
    except OSError:
        return False


def _exists(pid: int) -> bool:
    """Whether the kernel knows the pid: hidepid does not hide it from kill(2)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
