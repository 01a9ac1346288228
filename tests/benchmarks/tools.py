"""N children of each tool, both output streams captured: how to start them, who supervises them, how to stop them.

Each child is a tiny program that writes its pid to a FIFO, and then sleeps until a signal.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import harness
from tests.benchmarks.harness import Unavailable

SHELL_CHILD = '#!/bin/sh\necho $$ > "$1"\nexec sleep 1000\n'

PYTHON_SPAWNER = """
import os, signal, sys
count, argv = int(sys.argv[1]), sys.argv[2:]
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
pids = []
for _ in range(count):
    out, err = os.pipe(), os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, out[1], 1), (os.POSIX_SPAWN_DUP2, err[1], 2)]
    pids.append(os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsigmask=[]))
    os.close(out[1]), os.close(err[1])
signal.sigwait([signal.SIGTERM])
for pid in pids:
    os.kill(pid, signal.SIGTERM)
for pid in pids:
    os.waitpid(pid, 0)
"""

CIRCUS = """[circus]
endpoint = ipc://{folder}/endpoint
pubsub_endpoint = ipc://{folder}/pubsub
[watcher:child]
cmd = {child} {fifo}
numprocesses = {count}
warmup_delay = 0
copy_env = True
stdout_stream.class = FileStream
stdout_stream.filename = {folder}/out.log
stderr_stream.class = FileStream
stderr_stream.filename = {folder}/err.log
"""
SUPERVISORD = """[unix_http_server]
file={folder}/supervisord.sock
[supervisord]
logfile={folder}/supervisord.txt
pidfile={folder}/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/supervisord.sock
[program:child]
command={child} {fifo}
numprocs={count}
process_name=%(process_num)d
startsecs=0
stdout_logfile={folder}/out-%(process_num)d.log
stderr_logfile={folder}/err-%(process_num)d.log
"""
S6_RUN, S6_LOG = "#!/bin/sh\nexec {child} {fifo} 2>&1\n", "#!/bin/sh\nexec {log} ./main\n"


@dataclass(frozen=True)
class Live:
    """A tool whose children all run. `process` is what was invoked; `seconds` passed until the last one had begun."""

    process: subprocess.Popen[bytes]
    children: list[int]
    seconds: float


class Bench:
    """A folder with the child program and what each tool needs to start it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fifo = folder / "started"
        os.mkfifo(self.fifo)
        self.child = self._child()
        self.env = {**os.environ, "ORCHESTRA_HOME": str(folder / "home")}

    def _child(self) -> str:
        try:
            return harness.compiled("child", self.folder)
        except Unavailable:
            script = self.folder / "child"
            script.write_text(SHELL_CHILD)
            script.chmod(0o755)
            return str(script)

    def file(self, name: str, text: str) -> str:
        """Write an input file of a tool; return its path."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    def topology(self, count: int) -> str:
        """Return a topology file with `count` replicas of the child."""
        lines = ["version: 1", "name: bench", "processes:", "  child:", f"    command: [{self.child}, {self.fifo}]"]
        return self.file(f"{count}.orchestra.yaml", "\n".join([*lines, f"    replicas: {count}", ""]))

    def started(self, argv: Sequence[str], count: int) -> float:
        """Run a tool until `count` children have reported; return the seconds; then end the tool and them."""
        with self.live(argv, count) as live:
            return live.seconds

    @contextmanager
    def live(self, argv: Sequence[str], count: int) -> Iterator[Live]:
        """Run a tool until `count` children have reported; afterwards end the tool and them. Raises Unavailable."""
        reader = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK)
        pids: list[int] = []
        others: list[int] = []  # pidfds
        output = self.folder / "output"
        try:
            with output.open("wb") as log:
                start = time.perf_counter()
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, start_new_session=True
                )
            try:
                seconds = self._await(reader, process, pids, count) - start
                others = _pidfds(set(descendants(process.pid)) - set(pids))
                yield Live(process, pids, seconds)
            finally:
                harness.stop(process)
                for pid in pids:
                    self._end(pid)
                for pidfd in others:
                    with suppress(ProcessLookupError):
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    os.close(pidfd)
        finally:
            os.close(reader)

    def _await(self, reader: int, process: subprocess.Popen[bytes], pids: list[int], count: int) -> float:
        text = b""
        deadline = time.perf_counter() + harness.DEADLINE
        while (found := text.count(b"\n")) < count:
            if select.select([reader], [], [], 0.5)[0]:
                text += os.read(reader, 65536)
            elif process.poll() is not None or time.perf_counter() > deadline:
                said = harness.last_line((self.folder / "output").read_bytes())
                pids += map(int, text.split())
                raise Unavailable(f"{found} of {count} children started: {said}")
        now = time.perf_counter()
        pids += map(int, text.split())
        return now

    def _end(self, pid: int) -> None:
        # Only what is still the child that reported: its pid may belong to somebody else by now.
        with suppress(OSError):
            if str(self.fifo).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Tool:
    """One way to have `count` children. The functions raise Unavailable where the tool is missing.

    `supervisors` are the pids that belong to it besides the children, `stop` is its own command that ends all.
    """

    name: str
    argv: Callable[[], list[str]]
    stop: Callable[[], list[str]] | None = None
    supervisors: Callable[[Live], list[int]] | None = None
    is_foreground: bool = True

    def pids(self, live: Live) -> list[int]:
        """Return all processes of the tool."""
        if self.supervisors is not None:
            return self.supervisors(live)
        return sorted({live.process.pid, *descendants(live.process.pid)} - set(live.children))

    @contextmanager
    def running(self, bench: Bench, count: int) -> Iterator[Live]:
        """Have `count` children while the block runs; a tool in the background has detached by then."""
        with bench.live(self.argv(), count) as live:
            try:
                if not self.is_foreground and live.process.wait(harness.DEADLINE):
                    raise Unavailable(harness.last_line((bench.folder / "output").read_bytes()))
                yield live
            finally:
                if not self.is_foreground and self.stop is not None:
                    subprocess.run(self.stop(), env=bench.env, capture_output=True, timeout=harness.DEADLINE)


C_FLOOR, PYTHON_FLOOR = "C, posix_spawn, 2 pipes", "Python, os.posix_spawn, 2 pipes"
UP, UP_DETACHED = "orchestra up", "orchestra up -d"
HONCHO, CIRCUS_NAME, SUPERVISORD_NAME, S6, S6_LOG_NAME = "honcho", "circus", "supervisord", "s6", "s6, an s6-log each"


def tools(bench: Bench, count: int) -> dict[str, Tool]:
    """Return each tool with `count` children."""
    child = [bench.child, str(bench.fifo)]
    words = {"folder": bench.folder, "child": bench.child, "fifo": bench.fifo, "count": count}
    names = [""]  # of instances: each run has its own

    def circus() -> list[str]:
        return [harness.tool("circusd"), bench.file("circus.ini", CIRCUS.format(**words))]

    def honcho() -> list[str]:
        procfile = bench.file("Procfile", f"child: exec {bench.child} {bench.fifo}\n")
        return [harness.tool("honcho"), "-f", procfile, "start", "-c", f"child={count}"]

    def supervisord() -> list[str]:
        return [harness.tool("supervisord"), "-n", "-c", bench.file("supervisord.ini", SUPERVISORD.format(**words))]

    def s6(*, logged: bool) -> list[str]:
        svscan = harness.tool("s6-svscan")
        scan = Path(tempfile.mkdtemp(dir=bench.folder, prefix="scan-"))
        for number in range(count):
            _service(scan / f"c{number:03d}", S6_RUN.format(**words))
            if logged:
                _service(scan / f"c{number:03d}" / "log", S6_LOG.format(log=harness.tool("s6-log")))
        return [svscan, "-c", str(2 * count + 10), "-t0", str(scan)]

    def end_s6() -> list[str]:
        newest = max(bench.folder.glob("scan-*"), key=lambda path: path.stat().st_mtime_ns)
        return [harness.tool("s6-svscanctl"), "-t", str(newest)]

    def detached(_live: Live) -> list[int]:
        listed = subprocess.run([*harness.orchestra(), "ls", "--format", "json"], env=bench.env, capture_output=True)
        runs = json.loads(listed.stdout)["instances"]
        return [pid for run in runs if run["instance"] == names[-1] for pid in (parent(run["pid"]), run["pid"])]

    def up(*more: str) -> list[str]:
        names.append(f"bench-{secrets.token_hex(3)}")
        return [*harness.orchestra(), "up", bench.topology(count), "-n", names[-1], *more]

    def python_floor() -> list[str]:
        return [sys.executable, "-IS", bench.file("spawner.py", PYTHON_SPAWNER), str(count), *child]

    control = ["--endpoint", f"ipc://{bench.folder}/endpoint", "quit"]
    found = [
        Tool(C_FLOOR, lambda: [harness.compiled("spawner", bench.folder), str(count), *child]),
        Tool(PYTHON_FLOOR, python_floor),
        Tool(UP, up),
        Tool(
            UP_DETACHED, lambda: up("-d"), lambda: [*harness.orchestra(), "down", names[-1]], detached,
            is_foreground=False,
        ),
        Tool(CIRCUS_NAME, circus, lambda: [harness.tool("circusctl"), *control]),
        Tool(HONCHO, honcho),
        Tool(
            SUPERVISORD_NAME, supervisord,
            lambda: [harness.tool("supervisorctl"), "-c", str(bench.folder / "supervisord.ini"), "shutdown"],
        ),
        Tool(S6, lambda: s6(logged=False), end_s6),
        Tool(S6_LOG_NAME, lambda: s6(logged=True), end_s6),
    ]  # fmt: skip
    return {tool.name: tool for tool in found}


def _service(folder: Path, script: str) -> None:
    folder.mkdir(parents=True)
    run = folder / "run"
    run.write_text(script)
    run.chmod(0o755)


def descendants(pid: int) -> list[int]:
    """Return the children of a process, theirs, and so on, as of now."""
    found = []
    rest = [pid]
    while rest:
        with suppress(OSError):
            for path in Path(f"/proc/{rest.pop()}/task").glob("*/children"):
                children = list(map(int, path.read_text().split()))
                found += children
                rest += children
    return found


def parent(pid: int) -> int:
    """Return the pid of the parent of a live process."""
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def _pidfds(pids: set[int]) -> list[int]:
    found = []
    for pid in pids:
        with suppress(ProcessLookupError):
            found.append(os.pidfd_open(pid))
    return found
