"""Where else objects may be: the IPC namespaces and /dev/shm of other processes, as in containers.

A place that is not ours is entered by a child that does nothing else and ends. What it reads there is what anybody
there would read, but with pids of our own pid namespace; where a user namespace has to be entered first, users are
translated back. /dev/shm needs no entering: /proc/PID/root leads there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from orchestra.errors import KernelError
from orchestra.kernel import inventory, namespaces, procfs
from orchestra.kernel.census import unit_in
from orchestra.kernel.inventory import Inventory, Place
from orchestra.kernel.traces import Inode, Sight, read_bytes


def others(here: Place, root: str = procfs.PROC) -> tuple[list[Inventory], tuple[str, ...]]:
    """Return an inventory of each place, but ours, that a visible process is in; and what could not be asked.

    What may not be entered is a gap of its place. Processes that may not be looked into are counted: they may be in
    any place.
    """
    found: dict[tuple[int, int | None], int] = {}
    unseen = 0
    for pid in procfs.pids(root):
        space = ipc_namespace(pid, root)
        if space is None:
            stat = procfs.process_stat(pid, root)
            unseen += stat is not None and not (stat.has_ended or stat.is_kernel_thread)
            continue
        device = _shm_device(pid, root)
        if (space, device) != (here.ipc_ns, here.shm_dev):
            found.setdefault((space, device), pid)
    who = "1 process" if unseen == 1 else f"{unseen} processes"
    gaps = (f"the namespaces of {who} may not be looked at",) if unseen else ()
    return [_taken(pid, space, device, here, root) for (space, device), pid in found.items()], gaps


def ipc_namespace(pid: int, root: str = procfs.PROC) -> int | None:
    """Return the inode of a process's IPC namespace; None for a kernel thread, one that is gone or not ours to ask."""
    try:
        return os.stat(f"{root}/{pid}/ns/ipc").st_ino
    except OSError:
        return None


def name(place: Place, root: str = procfs.PROC) -> str:
    """Return a place in words: its namespace, and the container or a process that it belongs to."""
    words = f"ipc:[{place.ipc_ns}]"
    if place.pid is None:
        return words
    try:
        unit = unit_in(read_bytes(f"{root}/{place.pid}/cgroup").decode(errors="replace"))
    except OSError:
        unit = None
    container = unit if unit is not None and unit.startswith("container") else None
    return f"{words} of {container or f'process {place.pid} ({procfs.command_of(place.pid, root)})'}"


def stat_of(sight: Sight, inode: Inode) -> os.stat_result | None:
    """Return what a descriptor or mapping leads to; None when it is gone, is another by now, or is not ours to ask."""
    try:
        found = os.stat(sight.path)
    except OSError:
        return None
    return found if (found.st_dev, found.st_ino) == inode else None


def _shm_device(pid: int, root: str) -> int | None:
    try:
        return os.stat(f"{root}/{pid}/root/dev/shm").st_dev
    except OSError:
        return None


def _taken(pid: int, space: int, device: int | None, here: Place, root: str) -> Inventory:
    """Take an inventory through one process. The same /dev/shm or the same namespace as ours is not listed twice."""
    gaps: list[str] = []
    objects: list[inventory.Seen] = []
    queue_dev = None
    shm = f"{root}/{pid}/root/dev/shm"
    if device is not None and device != here.shm_dev:
        objects += inventory.in_shm(shm, gaps)
    if space != here.ipc_ns:
        try:
            queue_dev, inside, more = _from_inside(pid, root)
            objects += inside
            gaps += more
        except (KernelError, EOFError) as err:
            gaps.append(f"its queues, System V segments and sets: {err}".splitlines()[0])
    place = Place(here.boot_id, space, device, shm, queue_dev, pid)
    return Inventory(place, tuple(objects), tuple(f"{name(place, root)}: {gap}" for gap in gaps))


def _from_inside(pid: int, root: str) -> tuple[int | None, list[inventory.Seen], list[str]]:
    opened = namespaces.open_namespaces(pid, ("user", "ipc"), root)
    own = os.stat("/proc/self/ns/user").st_ino
    maps = None if os.fstat(opened["user"]).st_ino == own else (_id_map(pid, "uid", root), _id_map(pid, "gid", root))
    try:
        answer = _in_child(lambda: _look(opened, root))
    finally:
        namespaces.close_all(opened)
    queue_dev, objects, gaps = answer
    if maps is not None:
        objects = [one._replace(uid=_outside(one.uid, maps[0]), gid=_outside(one.gid, maps[1])) for one in objects]
    return queue_dev, objects, gaps


def _look(opened: dict[str, int], root: str) -> tuple[int | None, list[inventory.Seen], list[str]]:
    namespaces.enter(opened, ("ipc",) if os.geteuid() == 0 else ("user", "ipc"))
    gaps: list[str] = []
    queue_dev, named = inventory.queues(gaps)
    return queue_dev, [*named, *inventory.sysv(root, gaps)], gaps


def _in_child(work: Callable[[], Any]) -> Any:
    """Run `work` in a child and return its answer. Raises the KernelError that it raised, EOFError when it died."""
    import pickle

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            try:
                answer: Any = work()
            except KernelError as err:
                answer = KernelError(str(err))
            with open(writing, "wb") as file:
                pickle.dump(answer, file)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    if not data:
        raise EOFError("the process that looked inside ended without an answer")
    answer = pickle.loads(data)  # noqa: S301 our own child wrote it
    if isinstance(answer, KernelError):
        raise answer
    return answer


def _id_map(pid: int, which: str, root: str) -> list[tuple[int, int, int]]:
    """Return (first inside, first outside, count) of a process's user namespace."""
    try:
        lines = read_bytes(f"{root}/{pid}/{which}_map").splitlines()
        return [(int(a), int(b), int(c)) for a, b, c in (line.split() for line in lines)]
    except (OSError, ValueError):
        return []


def _outside(number: int, ranges: list[tuple[int, int, int]]) -> int:
    for inside, outside, count in ranges:
        if inside <= number < inside + count:
            return outside + number - inside
    return number
