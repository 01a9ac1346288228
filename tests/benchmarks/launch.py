"""From invoking a tool to all N children running: orchestra, honcho, circus, a C and a bare Python spawner.

Each child is a tiny program that writes its pid to a FIFO; the clock stops when the last pid has come. All tools but
orchestra are measured as they are; orchestra also less its `up --dry-run`, which imports and checks the same and starts
nothing. Both output streams of every child are captured by every tool.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.benchmarks import harness
from tests.benchmarks.harness import Case, Goal, Unavailable, milliseconds, over, ratio

C_FLOOR, PYTHON_FLOOR = "C, posix_spawn, 2 pipes", "Python, os.posix_spawn, 2 pipes"
UP, DRY_RUN = "orchestra up", "orchestra up --dry-run"
IMPORTS_NAME, CPU = "bare imports", ", processor time"
# Merely importing pydantic loads next to nothing of it: its names come when they are asked for. No model does without
# these two.
IMPORTS = "import typer, yaml, sqlite3, posix_ipc, sysv_ipc; from pydantic import BaseModel, Field"
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
        reader = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK)
        pids: list[int] = []
        output = self.folder / "output"
        try:
            with output.open("wb") as log:
                start = time.perf_counter()
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, start_new_session=True
                )
            try:
                seconds = self._await(reader, process, pids, count) - start
            finally:
                harness.stop(process)
                for pid in pids:
                    self._end(pid)
        finally:
            os.close(reader)
        return seconds

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


def cases(bench: Bench, count: int) -> dict[str, Case]:
    """Return the case of each tool for `count` children."""
    argv = [bench.child, str(bench.fifo)]

    def c_floor() -> float:
        return bench.started([harness.compiled("spawner", bench.folder), str(count), *argv], count)

    def python_floor() -> float:
        script = bench.file("spawner.py", PYTHON_SPAWNER)
        return bench.started([sys.executable, "-IS", script, str(count), *argv], count)

    def up() -> float:
        name = f"bench-{secrets.token_hex(3)}"
        return bench.started([*harness.orchestra(), "up", bench.topology(count), "-n", name], count)

    def dry_run() -> float:
        return harness.elapsed([*harness.orchestra(), "up", bench.topology(count), "--dry-run"], bench.env)

    def dry_run_processor() -> float:
        return harness.processor_time([*harness.orchestra(), "up", bench.topology(count), "--dry-run"], bench.env)

    def honcho() -> float:
        procfile = bench.file("Procfile", f"child: exec {bench.child} {bench.fifo}\n")
        return bench.started([harness.tool("honcho"), "-f", procfile, "start", "-c", f"child={count}"], count)

    def circus() -> float:
        text = CIRCUS.format(folder=bench.folder, child=bench.child, fifo=bench.fifo, count=count)
        return bench.started([harness.tool("circusd"), bench.file("circus.ini", text)], count)

    table: dict[str, Callable[[], float]] = {
        C_FLOOR: c_floor,
        PYTHON_FLOOR: python_floor,
        UP: up,
        DRY_RUN: dry_run,
        DRY_RUN + CPU: dry_run_processor,
        "honcho": honcho,
        "circus": circus,
    }
    return {name: Case(name, measure) for name, measure in table.items()}


def report(count: int, found: dict[str, Case], imports: Case, imports_cpu: Case) -> str:
    """Return the table of one N, with the goals."""
    c_floor, python_floor, up, dry = (found[name] for name in (C_FLOOR, PYTHON_FLOOR, UP, DRY_RUN))
    floor = c_floor.median or python_floor.median
    net = harness.difference(up, dry)
    rows = [_row(case.name, case.median, floor, net) for case in found.values()]
    rows.insert(4, _row("orchestra up less --dry-run", net, floor, net))
    rows += [_row(case.name, case.median, floor, None) for case in (imports, imports_cpu)]
    text = harness.table([f"{count} children", "ms", "to the floor", "net up to it"], rows)
    peers = [case.median for name in ("honcho", "circus") if (case := found[name]).median is not None]
    absolute = {100: 60.0, 500: 280.0}.get(count)
    wanted = [
        Goal("up --dry-run", milliseconds(dry.median), 250, " ms"),
        Goal("up --dry-run to the bare imports", over(dry.median, imports.median), 1.5, "x"),
        Goal("the same in processor time", over(found[DRY_RUN + CPU].median, imports_cpu.median), 1.5, "x"),
        *([Goal("net up (less --dry-run)", milliseconds(net), absolute, " ms")] if absolute else []),
        Goal("net up to the best of honcho and circus", over(net, min(peers, default=None)), 0.2, "x"),
        Goal("net up to C with pipes", over(net, c_floor.median), 1.3, "x"),
    ]
    return f"{text}\n{harness.problems([*found.values(), imports])}{harness.goals(wanted)}\n"


def _row(name: str, seconds: float | None, floor: float | None, net: float | None) -> list[str]:
    shown = "-" if seconds is None else f"{seconds * 1000:.1f}"
    return [name, shown, ratio(seconds, floor), ratio(net, seconds)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = harness.options(__doc__ or "", rounds="5")
    parser.add_argument("--children", type=int, nargs="+", default=[10, 100, 500])
    chosen = parser.parse_args(arguments)
    print(f"launch: {harness.machine()}\n")
    with tempfile.TemporaryDirectory(prefix="orct-launch-") as name:
        bench = Bench(Path(name))
        for count in chosen.children:
            found = cases(bench, count)
            argv = [sys.executable, "-c", IMPORTS]
            imports = Case(IMPORTS_NAME, lambda argv=argv: harness.elapsed(argv))  # type: ignore[misc]
            imports_cpu = Case(IMPORTS_NAME + CPU, lambda argv=argv: harness.processor_time(argv))  # type: ignore[misc]
            harness.run([*found.values(), imports, imports_cpu], chosen.rounds)
            print(report(count, found, imports, imports_cpu), flush=True)


if __name__ == "__main__":
    main()
