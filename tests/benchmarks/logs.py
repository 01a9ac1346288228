"""Collecting the output of several writers: orchestra, a reader in C that writes the same keys, and other tools.

All writers of a case wait at a gate until each of them runs; the clock starts when it opens and stops with the last
write to an output file, so nothing that a tool does before or after counts. Processor time is that of the collecting
processes alone, in the same span (for those that end by themselves: their whole life). Lines have 80 bytes and come
one write(2) each. The round before the first also checks that no line was lost, torn or moved within its stream.

Structure differs: orchestra and C write a JSON object with a timestamp for each line, s6-log puts a timestamp before
it, supervisord and circus copy bytes.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import harness
from tests.benchmarks.harness import Case, Goal, Unavailable, over, ratio

OURS, C, S6, CIRCUS, SUPERVISORD = "orchestra", "C, same keys", "s6-log t", "circus (copy)", "supervisord (copy)"
C_PACED = "C, same keys, 10 ms"
PIPE = 1 << 20
_LINE = re.compile(rb'w(\d\d) (\d{9}) a{65}["\n]')
_SETTLED = 0.1  # seconds without a write after the last writer has ended

CIRCUS_HEAD = "[circus]\nendpoint = ipc://{folder}/endpoint\npubsub_endpoint = ipc://{folder}/pubsub\n"
CIRCUS_ITEM = """[watcher:{name}]
cmd = {command}
warmup_delay = 0
respawn = False
copy_env = True
stdout_stream.class = FileStream
stdout_stream.filename = {folder}/{name}.log
"""
SUPERVISORD_HEAD = "[supervisord]\nlogfile={folder}/main.txt\npidfile={folder}/pid\n"
SUPERVISORD_ITEM = """[program:{name}]
command={command}
autorestart=false
startsecs=0
stdout_logfile={folder}/{name}.log
stdout_logfile_maxbytes=0
stderr_logfile=NONE
"""


@dataclass(frozen=True)
class Load:
    """What is written: `lines` by each of `writers`, `rate` a second each (0: flat out), `block` bytes a write."""

    writers: int
    lines: int
    rate: int = 0
    block: int = 0

    @property
    def total(self) -> int:
        return self.writers * self.lines

    def __str__(self) -> str:
        pace = f"{self.rate:,} lines/s each" if self.rate else "flat out"
        how = f", {self.block} bytes a write" if self.block else ""
        return f"{self.writers} x {self.lines:,} lines, {pace}{how}"


@dataclass
class Started:
    """A tool with its writers at the gate. `collectors` are the processes whose time counts."""

    processes: list[subprocess.Popen[bytes]]
    collectors: Callable[[], list[int]]
    ends: bool  # whether the collectors end with their writers
    stop: Callable[[], None]


class Bench:
    """One load in a folder of its own, and how each tool is made to collect it."""

    def __init__(self, folder: Path, load: Load) -> None:
        self.folder, self.load = folder, load
        self.writer = harness.compiled("lines", folder.parent)

    def names(self) -> list[str]:
        return [f"w{number:02d}" for number in range(self.load.writers)]

    def command(self, number: int | None = None) -> list[str]:
        load = self.load
        fixed = [self.writer, load.lines, load.rate, load.block, self.folder / "gate", self.folder / "ready"]
        return [str(word) for word in fixed] + ([] if number is None else [str(number)])

    # -- tools: each starts its writers and returns ------------------------------------------------------------------

    def orchestra(self) -> Started:
        name = f"bench-{secrets.token_hex(3)}"
        env = {**os.environ, "ORCHESTRA_HOME": str(self.folder / "home")}
        # A last process outlives the writers, so that the supervisor can be asked for its time when they are done.
        commands = {"last": ["sleep", "1000"], **{n: self.command(i) for i, n in enumerate(self.names())}}
        lines = [f"  {name}: {{ command: {json.dumps(command)} }}" for name, command in commands.items()]
        file = self.folder / "logs.orchestra.yaml"
        file.write_text("\n".join(["version: 1", "name: bench", "processes:", *lines, ""]))
        harness.elapsed([*harness.orchestra(), "up", str(file), "-d", "-n", name], env)

        def stop() -> None:
            harness.elapsed([*harness.orchestra(), "down", name], env)

        def collectors() -> list[int]:
            done = subprocess.run([*harness.orchestra(), "ls", "--format", "json"], env=env, capture_output=True)
            return [run["pid"] for run in json.loads(done.stdout)["instances"] if run["instance"] == name]

        return Started([], collectors, ends=False, stop=stop)

    def c(self, gather: int) -> Started:
        program = harness.compiled("collector", self.folder.parent)
        head = [program, self.folder / "out.log", gather, PIPE, self.load.writers]
        process = subprocess.Popen([str(word) for word in head] + self.command())
        return Started([process], lambda: [process.pid], ends=True, stop=process.kill)

    def s6(self) -> Started:
        tool = harness.tool("s6-log")
        logs, writers = [], []
        for number, name in enumerate(self.names()):
            (self.folder / name).mkdir()
            script = [tool, "t", "n3", "s200000000", str(self.folder / name)]
            logs.append(log := subprocess.Popen(script, stdin=subprocess.PIPE))
            writers.append(subprocess.Popen(self.command(number), stdout=log.stdin))
            assert log.stdin is not None
            log.stdin.close()

        def stop() -> None:
            for process in writers:
                process.kill()
                process.wait()

        return Started(logs, lambda: [log.pid for log in logs], ends=True, stop=stop)

    def circus(self) -> Started:
        return self._daemon([harness.tool("circusd")], CIRCUS_HEAD, CIRCUS_ITEM)

    def supervisord(self) -> Started:
        return self._daemon([harness.tool("supervisord"), "-n", "-c"], SUPERVISORD_HEAD, SUPERVISORD_ITEM)

    def _daemon(self, argv: list[str], head: str, item: str) -> Started:
        parts = [head.format(folder=self.folder)]
        for number, name in enumerate(self.names()):
            command = " ".join(self.command(number))
            parts.append(item.format(folder=self.folder, name=name, command=command))
        file = self.folder / "tool.ini"
        file.write_text("".join(parts))
        with (self.folder / "tool.txt").open("wb") as said:
            process = subprocess.Popen(
                [*argv, str(file)], stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        return Started([process], lambda: [process.pid], ends=False, stop=lambda: harness.stop(process))

    # -- the measurement -----------------------------------------------------------------------------------------------

    def measure(self, start: Callable[[], Started], *, check: bool) -> tuple[float, float]:
        """Return seconds from the opened gate to the last write, and processor seconds of the collectors."""
        gate, ready = self.folder / "gate", self.folder / "ready"
        gate.touch()
        ready.touch()
        with gate.open("rb") as locked:
            fcntl.flock(locked, fcntl.LOCK_EX)
            tool = start()
            try:
                writers = self._wait_for_writers(ready)
                collectors = tool.collectors()
                before = sum(map(_processor_time, collectors))
                opened = time.time()
                fcntl.flock(locked, fcntl.LOCK_UN)
                self._wait_for_ends(writers)
                if tool.ends:
                    used = sum(map(_whole_time, tool.processes))
                    self._wait_for_last_write()
                else:
                    self._wait_for_last_write()
                    used = sum(map(_processor_time, collectors)) - before
                seconds = max(path.stat().st_mtime for path in self._outputs()) - opened
                if check:
                    self._check()
            finally:
                tool.stop()
        return seconds, used

    def _wait_for_writers(self, ready: Path) -> list[int]:
        deadline = time.monotonic() + harness.DEADLINE
        while len(pids := ready.read_text().split()) < self.load.writers:
            if time.monotonic() > deadline:
                raise Unavailable(f"{len(pids)} of {self.load.writers} writers started")
            harness.pause(0.02)
        return [os.pidfd_open(int(pid)) for pid in pids]

    def _wait_for_ends(self, writers: list[int]) -> None:
        for pidfd in writers:
            select.select([pidfd], [], [], harness.DEADLINE)
            os.close(pidfd)

    def _wait_for_last_write(self) -> None:
        size, since = -1, time.monotonic()
        while time.monotonic() - since < _SETTLED:
            harness.pause(_SETTLED / 10)
            if (now := sum(path.stat().st_size for path in self._outputs())) != size:
                size, since = now, time.monotonic()

    def _outputs(self) -> list[Path]:
        found = [*self.folder.glob("*.log"), *self.folder.glob("w*/current"), *self.folder.glob("w*/@*")]
        return found + list(self.folder.glob("home/runs/*/log.jsonl*"))

    def _check(self) -> None:
        seen = dict.fromkeys((b"%02d" % number for number in range(self.load.writers)), 0)
        for path in sorted(self._outputs(), key=_in_order):
            with path.open("rb") as file:
                while lines := file.readlines(1 << 22):
                    for name, number in _LINE.findall(b"".join(lines)):
                        if int(number) != seen[name]:
                            raise Unavailable(f"w{name.decode()}: line {seen[name]} is not where it should be")
                        seen[name] += 1
        wrong = [name.decode() for name, count in seen.items() if count != self.load.lines]
        if wrong:
            raise Unavailable(f"lines are missing of w{', w'.join(wrong)}")


def _in_order(path: Path) -> tuple[bool, str]:
    # Rotated files first: @… of s6-log, .000001 … of orchestra.
    return (path.name in {"current", "log.jsonl"}, path.name)


def _processor_time(pid: int) -> float:
    # Seconds, to the nanosecond: the clock of another process, as clock_getcpuclockid(3) would name it.
    return time.clock_gettime((~pid << 3) | 2)


def _whole_time(process: subprocess.Popen[bytes]) -> float:
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime


class Tool:
    """Two cases of one tool and load: seconds, and processor seconds for a million lines; one run gives both."""

    def __init__(self, name: str, folder: Path, load: Load, start: Callable[[Bench], Started]) -> None:
        self.name, self._folder, self._load, self._start = name, folder, load, start
        self._checked = False
        self._used = 0.0
        self.seconds = Case(name, self._measure)
        self.processor = Case(f"{name}, processor time", self._last)

    def _measure(self) -> float:
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="load-") as name:
            bench = Bench(Path(name), self._load)
            seconds, used = bench.measure(lambda: self._start(bench), check=not self._checked)
        self._checked = True
        self._used = used / self._load.total * 1e6
        return seconds

    def _last(self) -> float:
        if self.seconds.problem:
            raise Unavailable(self.seconds.problem)
        return self._used

    @property
    def rate(self) -> float | None:
        """Million lines a second."""
        return over(self._load.total / 1e6, self.seconds.median)


TOOLS: dict[str, Callable[[Bench], Started]] = {
    OURS: Bench.orchestra,
    C: lambda bench: bench.c(0),
    C_PACED: lambda bench: bench.c(10),
    S6: Bench.s6,
    CIRCUS: Bench.circus,
    SUPERVISORD: Bench.supervisord,
}


def report(load: Load, tools: Sequence[Tool]) -> str:
    """Return the table of one load, with the goals that it decides."""
    by_name = {tool.name: tool for tool in tools}
    ours = by_name.get(OURS)
    rows = []
    for tool in tools:
        cpu, own = tool.processor.median, ours.processor.median if ours else None
        rate = tool.rate
        shown = ["-" if rate is None else f"{rate:.2f}", "-" if cpu is None else f"{cpu:.3f}"]
        rows.append([tool.name, *shown, ratio(ours.rate if ours else None, rate), ratio(own, cpu)])
    header = [str(load), "million/s", "CPU s/million", "our rate to it", "our CPU to it"]
    problems = harness.problems([tool.seconds for tool in tools])
    return f"{harness.table(header, rows)}\n{problems}{harness.goals(_goals(load, by_name))}\n"


def _goals(load: Load, tools: dict[str, Tool]) -> list[Goal]:
    own = tools.get(OURS)
    own_cpu, own_rate = (own.processor.median, own.rate) if own else (None, None)

    def cpu(name: str) -> float | None:
        return over(own_cpu, tools[name].processor.median if name in tools else None)

    def rate(name: str) -> float | None:
        return over(own_rate, tools[name].rate if name in tools else None)

    if load.rate:
        return [
            Goal("CPU for a million lines", own_cpu, 2.5, " s"),
            Goal("CPU to circus", cpu(CIRCUS), 0.3, "x"),
            Goal("CPU to supervisord", cpu(SUPERVISORD), 0.2, "x"),
            Goal("CPU to C that looks each 10 ms", cpu(C_PACED), 4.5, "x"),
        ]
    found = [
        Goal("CPU for a million lines", own_cpu, 0.3, " s"),
        Goal("CPU to s6-log t", cpu(S6), 0.85, "x"),
        Goal("CPU to C with the same keys", cpu(C), 1.5, "x"),
    ]
    if load.writers < 4:
        return found
    return [
        Goal("million lines a second", own_rate, 3, "", at_least=True),
        Goal("rate to s6-log t", rate(S6), 1, "x", at_least=True),
        Goal("rate to C with the same keys", rate(C), 0.65, "x", at_least=True),
        *found,
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = harness.options(__doc__ or "", rounds="5")
    parser.add_argument("--lines", type=int, default=2_000_000, help="lines of one sample, all writers together")
    parser.add_argument("--seconds", type=float, default=5, help="length of a paced sample")
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS), help="whom to measure")
    parser.add_argument("--paced-only", action="store_true", help="leave out the loads that are flat out")
    chosen = parser.parse_args(arguments)
    print(f"logs: {harness.machine()}\n")
    lines, paced = chosen.lines, Load(16, max(1, int(1000 * chosen.seconds)), rate=1000)
    loads = [Load(count, max(1, lines // count)) for count in (1, 4, 16)]
    loads = [paced] if chosen.paced_only else [*loads, Load(4, max(1, lines // 4), block=4096), paced]
    with tempfile.TemporaryDirectory(prefix="orct-logs-") as name:
        for load in loads:
            tools = [Tool(tool, Path(name), load, TOOLS[tool]) for tool in chosen.tools]
            harness.run([case for tool in tools for case in (tool.seconds, tool.processor)], chosen.rounds)
            print(report(load, tools), flush=True)
            with suppress(FileNotFoundError):
                os.sync()


if __name__ == "__main__":
    main()
