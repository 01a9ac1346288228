"""Runs the console blocks of a page and compares what is printed with what stands there.

What differs from run to run is replaced on both sides by something steady: run ids, nonces, pids, System V ids and keys
(as the ledger of the page knows them), times and durations. A line of a page that is just `…` stands for any number of
lines, a `…` inside a line for anything.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.markdown import ROOT, Block

ANY = "…"
SECONDS = 60.0  # for one command of a page
_TOKENS = ("k3j9x2ab", "m7c4w8tz", "p5d2h9qe", "r8f6n3vy", "t2g7b4sx", "v9a5e6wd", "x4k8m2jc", "z6q3p7hf")
_FIRST_PID = 4711
_PID = re.compile(r"\bpid \d+")
_PIDS = """
    SELECT pid FROM processes WHERE pid IS NOT NULL UNION
    SELECT supervisor_pid FROM runs WHERE supervisor_pid IS NOT NULL UNION
    SELECT guardian_pid FROM runs WHERE guardian_pid IS NOT NULL
"""


def _id(found: re.Match[str]) -> str:
    steady = f"{found[1]}32769"
    return steady.ljust(len(found[0]))


_REPLACED = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "2026-01-31T12:00:00Z"),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d+)?\b"), "12:00:00"),
    (re.compile(r"\b[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ 12:00:00 \d{4}"), "Sat Jan 31 12:00:00 2026"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|seconds)\b"), "0.4 s"),
    (re.compile(r"(  )\d+(?= +0x[0-9a-f]{8}\b)"), _id),
    (re.compile(r"(msqid=|semid=|shmid=|\bid |sysv-\w+:)\d+\b"), _id),
    (re.compile(r"\b(c?[ug]id)=\d+"), r"\1=1000"),
    # Where even root may not look into every process, as in some containers.
    (re.compile(r"(?<=  )\?$", re.MULTILINE), "-"),
    (re.compile(r"^(not seen|also here|note): .*\n", re.MULTILINE), ""),
    (re.compile(r"no holder seen, though not every process could be looked into"), "held by nobody"),
)


@contextmanager
def alone() -> Iterator[tuple[str, ...]]:
    """Yield the words that run a command in IPC and mount namespaces of its own, the same for each command.

    Other tests make objects at the same time, and `orchestra audit` would list them. No words where it cannot be done.
    """
    if os.getuid() != 0 or not (shutil.which("unshare") and shutil.which("nsenter")):
        yield ()
        return
    setup = "mount -t tmpfs -o mode=1777 shm /dev/shm && echo ready && exec cat"
    holder = subprocess.Popen(
        ["unshare", "-i", "-m", "--propagation", "private", "sh", "-c", setup],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        made = holder.stdout is not None and holder.stdout.readline() == b"ready\n"
        yield ("nsenter", "-t", str(holder.pid), "-i", "-m") if made else ()
    finally:
        holder.communicate()


@dataclass(slots=True)
class Session:
    """One page's folder: files it shows, a state folder of its own, the topologies beside it.

    `prefix` are words before each command, as `alone` gives them.
    """

    folder: Path
    prefix: tuple[str, ...] = ()
    seen: dict[str, str] = field(default_factory=dict)
    pids: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.work.mkdir(parents=True)
        shutil.copytree(ROOT / "topologies", self.work / "topologies", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "LICENSE", self.work)

    @property
    def work(self) -> Path:
        """Where the commands run."""
        return self.folder / "work"

    @property
    def home(self) -> Path:
        """The state folder; short, because socket paths are."""
        return self.folder / "home"

    def environment(self) -> dict[str, str]:
        """Return what a person's shell would have, and nothing of this test run but the mark of the suite."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(("ORCT_", "LD_", "COVERAGE"))}
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        return {
            **kept,
            "PATH": path,
            "HOME": str(self.folder),
            "ORCHESTRA_HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "COLUMNS": "100",
        }

    def write(self, block: Block) -> None:
        """Write a `file:` block to disk."""
        target = self.work / block.argument
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text)

    def run(self, block: Block) -> str:
        """Run the commands of a console block; return the block as it should read."""
        folder = self.work / block.argument.removeprefix("in ") if block.argument.startswith("in ") else self.work
        lines = []
        for command, _ in commands_of(block.text):
            shown = command.replace(".ci/uv run ", "")
            done = subprocess.run(
                [*self.prefix, "sh", "-c", f"cd {shlex.quote(str(folder))}\n{shown}"],
                cwd=folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            )
            lines += [f"$ {command}", *self.steady(done.stdout.decode()).splitlines()]
        return "\n".join(lines) + "\n"

    def steady(self, text: str) -> str:
        """Replace what differs from run to run; columns keep their width."""
        for token in self._tokens():
            self.seen.setdefault(token, _TOKENS[len(self.seen) % len(_TOKENS)])
        for token, name in self.seen.items():
            text = re.sub(rf"(?<![a-z0-9]){token}(?![a-z0-9])", name, text)
        for key in self._numbers("SELECT ipc_key FROM objects WHERE ipc_key IS NOT NULL"):
            text = text.replace(f"{key & 0xFFFFFFFF:#010x}", "0x4f524331")
        text = text.replace(str(self.home), "~/.local/state/orchestra").replace(str(self.work), "/home/you")
        text = self._with_steady_pids(text)
        for pattern, steady in _REPLACED:
            text = pattern.sub(steady, text)
        return "\n".join(line.rstrip() for line in text.splitlines())

    def _with_steady_pids(self, text: str) -> str:
        known = {*self._numbers(_PIDS), *(int(pid) for pid in re.findall(r"\bpid (\d+)", text))}

        def steady(found: re.Match[str]) -> str:
            if int(found[2]) not in known:
                return found[0]
            name = self.pids.setdefault(int(found[2]), str(_FIRST_PID + len(self.pids)))
            return name.rjust(len(found[0])) if found[1] else name  # a column of numbers, or a word in a sentence

        return re.sub(r"( {2,}|\b)(\d+)\b", steady, text)

    def _tokens(self) -> list[str]:
        runs = sorted((self.home / "runs").glob("*"), key=lambda path: path.stat().st_ctime_ns)
        return [path.name for path in runs] + [str(row[0]) for row in self._rows("SELECT nonce FROM objects")]

    def _numbers(self, query: str) -> list[int]:
        return [int(row[0]) for row in self._rows(query)]

    def _rows(self, query: str) -> list[tuple[str | int, ...]]:
        path = self.home / "ledger.db"
        if not path.exists():
            return []
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()


def commands_of(text: str) -> list[tuple[str, list[str]]]:
    """Split a console block into commands (`$ …`, continued after a backslash) and the output after each."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found and found[-1][0].endswith("\\") and not found[-1][1]:
            found[-1] = (found[-1][0] + "\n" + line, [])
        elif found:
            found[-1][1].append(line)
    return found


def agrees(expected: str, actual: str, *, ordered: bool = True) -> bool:
    """Whether `actual` is what the page says, wildcards and widths of columns aside."""
    want, have = _lines(expected), _lines(actual)
    if not ordered:  # who came first got the first number
        want, have = (sorted(_PID.sub("pid", line) for line in lines) for lines in (want, have))
    return _matches(want, have)


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def _matches(want: list[str], have: list[str]) -> bool:
    if not want:
        return not have
    if want[0] == ANY:
        return any(_matches(want[1:], have[skip:]) for skip in range(len(have) + 1))
    if not have:
        return False
    pattern = ".*".join(re.escape(part) for part in want[0].split(ANY))
    return re.fullmatch(pattern, have[0]) is not None and _matches(want[1:], have[1:])
