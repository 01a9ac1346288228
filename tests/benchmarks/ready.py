"""How long after readiness a dependant starts: orchestra by each way to be ready, s6, and a loop in C.

A chain of small programs, each starting when the one before is ready. Each waits for a while that nobody can foresee,
so that its supervisor is at rest, notes the time (CLOCK_MONOTONIC), and says that it is ready; the next one notes the
time as its first instruction. Between the two lie waking up the supervisor, its decision, fork and exec.
"""

from __future__ import annotations

import os
import secrets
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.benchmarks import harness
from tests.benchmarks.harness import Unavailable, ratio

C_FLOOR, S6 = "C: read a byte, posix_spawn", "s6: fd, s6-svwait -U"
LEAST, MOST = 5, 45  # milliseconds before a program says that it is ready
# By name: what the program does, and what the file says.
WAYS = {
    "fd": ("fd 3", "fd: 3"),
    "notify": ("notify -", "notify: true"),
    "log": ("log -", "log: ready"),
    "exists": ("segment {name}", "exists: s{number:03d}"),
    "stopped": ("stopped -", "stopped: true"),
    "unix": ("unix {path}", "unix: {path}"),
    "tcp": ("tcp {port}", "tcp: {port}"),
    "exec": ("file {path}", "exec: [test, -e, {path}]"),
}
S6_RUN = """#!/bin/sh
exec 2>&1
{wait}
exec {command}
"""


@dataclass
class Way:
    """One way, and the latencies found: seconds."""

    name: str
    measure: Callable[[], list[float]]
    samples: list[float] = field(default_factory=list)
    problem: str = ""

    def percentile(self, hundredth: int) -> float | None:
        """Return the latency that so many of a hundred do not exceed."""
        found = self.samples
        if len(found) < 2:
            return None
        return statistics.quantiles(found, n=100, method="inclusive")[hundredth - 1]


class Chain:
    """Programs of one chain in a folder of its own."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.pacer = harness.compiled("pacer", folder.parent)
        self.file = folder / "times"

    def command(self, number: int, how: str) -> list[str]:
        """Return the command line of one program; `how` are its first two arguments."""
        return [self.pacer, *how.split(), str(self.file), str(number), str(LEAST), str(MOST)]

    def c(self) -> list[float]:
        """Run the chain from a loop in C."""
        program = harness.compiled("chain", self.folder.parent)
        argv = [program, str(self.count), self.pacer, str(self.file), str(LEAST), str(MOST)]
        return self._until_done(argv, dict(os.environ))

    def orchestra(self, way: str) -> list[float]:
        """Run the chain by orchestra."""
        name = f"bench-{secrets.token_hex(3)}"
        how, ready = WAYS[way]
        processes, segments = [], []
        with _ports(self.count if way == "tcp" else 0) as ports:
            for number in range(self.count):
                words = {
                    "number": number,
                    "name": f"/orct.{name}-{number:03d}",
                    "path": self.folder / f"{number:03d}",
                    "port": ports[number] if ports else 0,
                }
                command = ", ".join(self.command(number, how.format(**words)))
                after = f", depends_on: {{ p{number - 1:03d}: ready }}" if number else ""
                line = f"  p{number:03d}: {{ command: [{command}], ready: {{ {ready.format(**words)} }}{after} }}"
                processes.append(line)
                made = f"size: 4096, name: {words['name']}, made_by: p{number:03d}"
                segments.append(f"  s{number:03d}: {{ family: posix, {made} }}")
        lines = ["version: 1", "name: bench", *(["segments:", *segments] if way == "exists" else []), "processes:"]
        file = self.folder / "chain.orchestra.yaml"
        file.write_text("\n".join([*lines, *processes, ""]))
        env = {**os.environ, "ORCHESTRA_HOME": str(self.folder / "home")}
        return self._until_done([*harness.orchestra(), "up", str(file), "-n", name], env)

    def s6(self) -> list[float]:
        """Run the chain by s6-svscan: each service waits for the one before, with s6-svwait."""
        svscan, svwait = harness.tool("s6-svscan"), harness.tool("s6-svwait")
        gate = self.folder / "gate"
        os.mkfifo(gate)
        for number in range(self.count):
            service = self.folder / "scan" / f"p{number:03d}"
            service.mkdir(parents=True)
            (service / "notification-fd").write_text("3\n")
            before = f"until {svwait} -U ../p{number - 1:03d} 2>/dev/null; do sleep 0.05; done"
            run = service / "run"
            wait = before if number else f"read line <{gate}"
            run.write_text(S6_RUN.format(wait=wait, command=" ".join(self.command(number, "fd 3"))))
            run.chmod(0o755)
        return self._until_done([svscan, "-t0", str(self.folder / "scan")], dict(os.environ), self._open_gate)

    def _open_gate(self, process: subprocess.Popen[bytes]) -> None:
        """Let the first service begin once the others have subscribed to the events of the one before."""
        deadline = time.monotonic() + harness.DEADLINE
        while len(list(self.folder.glob("scan/*/event/ftrig1*"))) < self.count - 1:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable("its services do not come up")
            harness.pause(0.05)
        harness.pause(0.5)  # they have made their pipes; now they fall asleep
        fd = os.open(self.folder / "gate", os.O_RDWR)
        os.write(fd, b"\n")
        harness.pause(0.1)
        os.close(fd)

    def _until_done(
        self, argv: list[str], env: dict[str, str], begin: Callable[[subprocess.Popen[bytes]], None] | None = None
    ) -> list[float]:
        output = self.folder / "output"
        deadline = time.monotonic() + harness.DEADLINE
        with output.open("wb") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )
        try:
            if begin is not None:
                begin(process)
            while self._written() < self.count:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = harness.last_line(output.read_bytes())
                    raise Unavailable(f"{self._written()} of {self.count} were ready: {said}")
                harness.pause(0.05)
        finally:
            harness.stop(process)
        return self._latencies()

    def _written(self) -> int:
        return self.file.read_bytes().count(b"\n") if self.file.exists() else 0

    def _latencies(self) -> list[float]:
        times = {}
        for line in self.file.read_text().splitlines():
            number, began, ready = map(int, line.split())
            times[number] = (began, ready)
        return [(times[number][0] - times[number - 1][1]) / 1e9 for number in range(1, self.count)]


@contextmanager
def _ports(count: int) -> Iterator[list[int]]:
    """Yield ports that nobody listens on; they are free to be taken afterwards."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        yield [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def ways(folder: Path, count: int, chosen: Sequence[str]) -> list[Way]:
    """Return everything to be measured."""

    def measure(run: Callable[[Chain], list[float]]) -> Callable[[], list[float]]:
        def once() -> list[float]:
            with tempfile.TemporaryDirectory(dir=folder, prefix="chain-") as name:
                return run(Chain(Path(name), count))

        return once

    ours = [Way(f"orchestra, {name}", measure(partial(Chain.orchestra, way=name))) for name in chosen]
    return [Way(C_FLOOR, measure(Chain.c)), Way(S6, measure(Chain.s6)), *ours]


def run(found: Sequence[Way], rounds: int) -> None:
    """Run the chain of each way once a round, in turn."""
    for number in range(1, rounds + 1):
        for way in found:
            if way.problem:
                continue
            harness.progress(f"round {number}/{rounds}: {way.name}")
            try:
                way.samples += way.measure()
            except Unavailable as err:
                way.problem = str(err)
    harness.progress("")


def report(found: Sequence[Way]) -> str:
    """Return the table."""
    by_name = {way.name: way for way in found}
    floor, peer = by_name[C_FLOOR].percentile(50), by_name[S6].percentile(50)
    rows = []
    for way in found:
        middle, late = way.percentile(50), way.percentile(99)
        shown = ["-" if seconds is None else f"{seconds * 1000:.2f}" for seconds in (middle, late)]
        rows.append([way.name, str(len(way.samples)), *shown, ratio(middle, floor), ratio(middle, peer)])
    header = ["from ready to the dependant's first instruction", "samples", "median ms", "p99 ms", "to C", "to s6"]
    problems = [f"not measured: {way.name}: {way.problem}\n" for way in found if way.problem]
    return f"{harness.table(header, rows)}\n{''.join(problems)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = harness.options(__doc__ or "", rounds="5")
    parser.add_argument("--links", type=int, default=60, help="programs of one chain")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="how orchestra is told")
    chosen = parser.parse_args(arguments)
    print(f"ready: {harness.machine()}\n")
    with tempfile.TemporaryDirectory(prefix="orct-ready-") as name:
        found = ways(Path(name), chosen.links, chosen.ways)
        run(found, chosen.rounds)
    print(report(found), end="")


if __name__ == "__main__":
    main()
