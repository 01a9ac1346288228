"""What the suite leaves behind: kernel objects, sockets and processes, compared before and after.

Other programs and other suites may run on the host at the same time, so each finding carries its evidence:

sure    a process whose environment carries the mark of this suite or that descends from it; an object whose name
        carries the mark, or that a ledger below the suite's temporary folder names with a matching identity.
likely  new since the start, of a user the suite works as, and with a name the tests give (`/orct.`, `/orc.`) or, for
        System V, not made by a living process of somebody else. It counts unless another suite runs beside this one.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

MARK = "ORCT_SUITE"  # not ORCHESTRA_…: those do not reach the children of a run
_NAMED = re.compile(r"^/(sem\.)?orct?\.")
_NOBODY = 65534
_SYSV_IDS = {"msg": "msqid", "sem": "semid", "shm": "shmid"}


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that exists now. `key` tells two apart that had the same name one after the other."""

    kind: str  # "process", "posix-queue", "shm" (segments and semaphores), "sysv-msg", "socket" …
    name: str
    key: tuple[int, ...]
    uid: int
    makers: tuple[int, ...] = ()  # pids that made or last used it, as far as the kernel says

    def __str__(self) -> str:
        return f"{self.kind} {self.name} (uid {self.uid})"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that could be seen at one moment; `blind` says what could not."""

    things: frozenset[Seen]
    blind: tuple[str, ...] = ()


def take(
    *,
    shm: Path = Path("/dev/shm"),
    proc: Path = Path("/proc"),
    sockets: Path | None = None,
    queues: Callable[[], tuple[list[Seen], str]] | None = None,
) -> Snapshot:
    """Look at the host once. The folders can be replaced to test this very function."""
    things = [*_files("shm", shm), *_sysv(proc), *_files("socket", sockets or Path(f"/tmp/orchestra-{os.getuid()}"))]
    found, why = (queues or _posix_queues)()
    return Snapshot(frozenset([*things, *found]), (why,) if why else ())


def _files(kind: str, folder: Path) -> list[Seen]:
    found = []
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    for entry in entries:
        try:
            info = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        found.append(Seen(kind, "/" + entry.name, (info.st_dev, info.st_ino), info.st_uid))
    return found


def _sysv(proc: Path) -> list[Seen]:
    found = []
    for kind, id_column in _SYSV_IDS.items():
        try:
            lines = (proc / "sysvipc" / kind).read_text().splitlines()
        except OSError:
            continue
        columns = lines[0].split() if lines else []
        for line in lines[1:]:
            row = {
                name: int(value, 8) if name == "perms" else int(value)
                for name, value in zip(columns, line.split(), strict=False)
            }
            makers = tuple(row[name] for name in ("cpid", "lspid", "lrpid", "lpid") if row.get(name))
            found.append(
                Seen(f"sysv-{kind}", str(row[id_column]), (row["key"], row["cuid"], row["cgid"]), row["cuid"], makers)
            )
    return found


def _posix_queues() -> tuple[list[Seen], str]:
    from orchestra.kernel.registry import adapter_for
    from orchestra.kinds import Family, Kind

    listing = adapter_for(Family.POSIX, Kind.QUEUE).list()
    found = [
        Seen("posix-queue", stat.ref.name or "?", (stat.identity.st_dev or 0, stat.identity.st_ino or 0), stat.uid)
        for stat in listing.stats
    ]
    return found, "" if listing.complete else f"POSIX queues: {listing.why}"


def marked_processes(mark: str, *, proc: Path = Path("/proc"), root: int | None = None) -> list[Seen]:
    """Living processes (no zombies) that carry `mark` in their environment or descend from pid `root` (this one).

    An unreadable environment (another user's process) is judged by descent alone.
    """
    top = os.getpid() if root is None else root
    parents, alive = {}, {}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "stat").read_text().rpartition(")")
            state, parent = words[2].split()[:2]
            uid = entry.stat().st_uid
        except (OSError, ValueError):
            continue
        parents[int(entry.name)] = int(parent)
        if state not in "ZX":
            alive[int(entry.name)] = uid
    found = []
    for pid, uid in alive.items():
        if pid != top and (_descends(pid, top, parents) or _carries(proc / str(pid), mark)):
            command = _command(proc / str(pid))
            if command is not None:
                found.append(Seen("process", f"{pid} {command}", (pid,), uid))
    return found


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    seen: set[int] = set()
    while pid in parents and pid not in seen:
        seen.add(pid)
        pid = parents[pid]
        if pid == root:
            return True
    return False


def _carries(process: Path, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _command(process: Path) -> str | None:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip() or "?"
    except OSError:
        return None


@dataclass(slots=True)
class Verdict:
    """What is left: `sure` fails the suite, so does `likely` unless another suite runs."""

    sure: list[Seen] = field(default_factory=list)
    likely: list[Seen] = field(default_factory=list)

    def fails(self, *, alone: bool) -> bool:
        """Whether the suite must be failed for this."""
        return bool(self.sure or (alone and self.likely))

    def __str__(self) -> str:
        lines = [f"  {thing}" for thing in self.sure]
        lines += [f"  {thing}: new since the start" for thing in self.likely]
        return "\n".join(lines)


def judge(
    before: Snapshot, after: Snapshot, *, mark: str, in_ledgers: frozenset[Seen], ours: frozenset[int]
) -> Verdict:
    """Sort what is new in `after`. `in_ledgers`: what the suite's own ledgers name; `ours`: the users we work as."""
    verdict = Verdict()
    for thing in sorted(after.things - _present(before, after), key=str):
        if thing in in_ledgers or f".{mark}." in thing.name:
            verdict.sure.append(thing)
        elif thing.uid in ours and _ours_by_look(thing, mark):
            verdict.likely.append(thing)
    return verdict


def _present(before: Snapshot, after: Snapshot) -> set[Seen]:
    """Things of `after` that were there before; who used one last may have changed."""
    known = {(thing.kind, thing.name, thing.key) for thing in before.things}
    return {thing for thing in after.things if (thing.kind, thing.name, thing.key) in known}


def _ours_by_look(thing: Seen, mark: str) -> bool:
    if thing.kind.startswith("sysv-"):
        return not any(_stranger(pid, mark) for pid in thing.makers)
    return thing.kind == "socket" or _NAMED.match(thing.name) is not None


def _stranger(pid: int, mark: str) -> bool:
    process = Path(f"/proc/{pid}")
    return pid != os.getpid() and process.exists() and not _carries(process, mark)


def ledger_things(folder: Path, after: Snapshot) -> frozenset[Seen]:
    """Those things of `after` that a ledger anywhere below `folder` has a row for, even one that says removed."""
    names: set[str] = set()
    keys: set[tuple[str, str, int]] = set()
    kinds = {"queue": "msg", "segment": "shm", "semaphore": "sem"}
    for path in folder.rglob("ledger.db"):
        for kind, name, number, key, state in _rows(path):
            if name:
                names.add(name)
            if number is not None and (key or state in {"intended", "live", "kept"}):
                keys.add((kinds[kind], str(number), (key or 0) & 0xFFFFFFFF))
    return frozenset(thing for thing in after.things if _file_name(thing) in names or _sysv_key(thing) in keys)


def _rows(path: Path) -> list[tuple[str, str | None, int | None, int | None, str]]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return database.execute("SELECT kind, name, id, ipc_key, state FROM objects").fetchall()
    except sqlite3.Error:
        return []  # a test broke it on purpose
    finally:
        database.close()


def _file_name(thing: Seen) -> str:
    return thing.name.replace("/sem.", "/", 1) if thing.kind in {"shm", "posix-queue"} else ""


def _sysv_key(thing: Seen) -> tuple[str, str, int] | None:
    if not thing.kind.startswith("sysv-"):
        return None
    return (thing.kind.removeprefix("sysv-"), thing.name, thing.key[0] & 0xFFFFFFFF)


@contextmanager
def registered(mark: str, folder: Path | None = None) -> Iterator[Callable[[], bool]]:
    """Say that this suite runs; yields a function that tells whether it is the only one on this host now."""
    folder = folder or Path("/tmp/orct-suites")
    own = folder / mark
    lock = _made(own)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    company = {"seen": False}

    def alone() -> bool:
        company["seen"] = company["seen"] or any(_held(path) for path in folder.iterdir() if path != own)
        return not company["seen"]

    alone()
    try:
        yield alone
    finally:
        own.unlink(missing_ok=True)
        os.close(lock)
        with suppress(OSError):  # others are registered, or it is theirs
            folder.rmdir()


def _made(own: Path) -> int:
    while True:
        try:
            own.parent.mkdir()
            own.parent.chmod(0o1777)  # suites of all users meet here
        except FileExistsError:
            pass
        try:
            return os.open(own, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:  # the last suite but us has just removed the folder
            continue


def _held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def settle(look: Callable[[], bool], *, seconds: float) -> bool:
    """Ask `look` until it is true or `seconds` have passed; return its last answer.

    Only for the end of a session: what is being torn down at that moment gets the time to finish.
    """
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            return False
        select.select([], [], [], 0.05)
    return True


def end_process(pid: int) -> None:
    """Kill a process that a test left, so that it disturbs nobody after the suite."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def our_users() -> frozenset[int]:
    """Users the suite works as: its own, and as root also the unprivileged one that tests switch to."""
    return frozenset({os.getuid(), _NOBODY} if os.getuid() == 0 else {os.getuid()})
