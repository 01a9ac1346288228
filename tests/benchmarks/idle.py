"""What a tool costs while its children sleep: memory, wake-ups and processor time of all its processes but theirs.

PSS counts a page that several processes share in equal parts, so that a tool of many processes is not charged for
the same page again and again. Wake-ups are context switches of all threads; processor time is that of the processes'
own clocks, to the nanosecond. The tools run one after the other: they would share pages with each other.
"""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks import harness
from tests.benchmarks.harness import Goal, Unavailable, over, ratio
from tests.benchmarks.tools import (
    C_FLOOR,
    CIRCUS_NAME,
    HONCHO,
    PYTHON_FLOOR,
    S6,
    S6_LOG_NAME,
    SUPERVISORD_NAME,
    UP,
    UP_DETACHED,
    Bench,
    Tool,
    tools,
)

NAMES = (C_FLOOR, PYTHON_FLOOR, UP_DETACHED, UP, CIRCUS_NAME, SUPERVISORD_NAME, HONCHO, S6, S6_LOG_NAME)
_SWITCHES = re.compile(rb"^(?:non)?voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)
_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)


class Idle(NamedTuple):
    """What was seen of one tool."""

    processes: float
    pss: float  # MB
    processor: float  # ms a minute
    wakeups: float  # a second


@dataclass
class Sleeper:
    """One tool, and what was seen of it in each round."""

    tool: Tool
    samples: list[Idle] = field(default_factory=list)
    problem: str = ""

    def median(self, what: str) -> float | None:
        """Return the middle of one measure."""
        return statistics.median([getattr(seen, what) for seen in self.samples]) if self.samples else None

    def look(self, bench: Bench, count: int, seconds: float, settle: float) -> Idle:
        """Have it start `count` children, let it fall asleep, and look at it twice."""
        with self.tool.running(bench, count) as live:
            harness.pause(settle)
            pids = self.tool.pids(live)
            before = [(_processor_time(pid), _switches(pid)) for pid in pids]
            began = time.monotonic()
            harness.pause(seconds)
            after = [(_processor_time(pid), _switches(pid)) for pid in pids]
            passed = time.monotonic() - began
            memory = sum(int(found) for pid in pids for found in _PSS.findall(_read(pid, "smaps_rollup")))
        used, woken = (sum(b[i] - a[i] for a, b in zip(before, after, strict=True)) for i in (0, 1))
        return Idle(len(pids), memory * 1024 / 1e6, used * 1000 * 60 / passed, woken / passed)


def _read(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def _switches(pid: int) -> int:
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        with suppress(OSError):  # a thread that has ended
            total += sum(map(int, _SWITCHES.findall(path.read_bytes())))
    return total


def _processor_time(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3)


def report(count: int, found: dict[str, Sleeper]) -> str:
    """Return the table, with the goals."""
    rows = []
    ours = found[UP_DETACHED].median("pss")
    for name, sleeper in found.items():
        digits = {"processes": 0, "pss": 1, "processor": 1, "wakeups": 2}
        shown = [_shown(sleeper.median(what), places) for what, places in digits.items()]
        rows.append([name, *shown, ratio(ours, sleeper.median("pss"))])
    header = [f"{count} idle children", "processes", "PSS MB", "CPU ms/min", "wake-ups/s", "orchestra's PSS to it"]
    problems = "".join([f"not measured: {name}: {it.problem}\n" for name, it in found.items() if it.problem])

    def to(peer: str) -> float | None:
        return over(ours, found[peer].median("pss"))

    wanted = [
        *([Goal("PSS of supervisor and guardian", ours, 18, " MB")] if count == 100 else []),
        Goal("the same to supervisord", to(SUPERVISORD_NAME), 0.8, "x"),
        Goal("the same to s6 with an s6-log each", to(S6_LOG_NAME), 0.5, "x"),
        Goal("wake-ups a second", found[UP_DETACHED].median("wakeups"), 0, ""),
        Goal("processor time a minute", found[UP_DETACHED].median("processor"), 1, " ms"),
    ]
    return f"{harness.table(header, rows)}\n{problems}{harness.goals(wanted)}\n"


def _shown(number: float | None, digits: int) -> str:
    return "-" if number is None else f"{number:.{digits}f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = harness.options(__doc__ or "", rounds="3")
    parser.add_argument("--children", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10, help="how long each tool is looked at")
    parser.add_argument("--settle", type=float, default=5, help="seconds that a tool gets to fall asleep")
    chosen = parser.parse_args(arguments)
    print(f"idle: {harness.machine()}\n")
    with tempfile.TemporaryDirectory(prefix="orct-idle-") as folder:
        bench = Bench(Path(folder))
        offered = tools(bench, chosen.children)
        found = {name: Sleeper(offered[name]) for name in NAMES}
        for number in range(1, chosen.rounds + 1):
            for name, sleeper in found.items():
                if sleeper.problem:
                    continue
                harness.progress(f"round {number}/{chosen.rounds}: {name}")
                try:
                    sleeper.samples.append(sleeper.look(bench, chosen.children, chosen.seconds, chosen.settle))
                except Unavailable as err:
                    sleeper.problem = str(err)
        harness.progress("")
        print(report(chosen.children, found), end="")


if __name__ == "__main__":
    main()
