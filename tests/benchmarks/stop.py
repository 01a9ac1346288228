"""From asking a tool to stop until its children are gone: SIGTERM to its foreground process, and its own command.

The children die of SIGTERM at once; what is measured is the way there, by a pidfd of each child.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import harness
from tests.benchmarks.harness import Case, Goal, Unavailable, milliseconds, over, ratio
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

SIGNAL = "SIGTERM to the foreground process"
COMMAND = "its own command"
BY_SIGNAL = (C_FLOOR, PYTHON_FLOOR, UP, CIRCUS_NAME, HONCHO, SUPERVISORD_NAME, S6, S6_LOG_NAME)
BY_COMMAND = (UP_DETACHED, CIRCUS_NAME, SUPERVISORD_NAME, S6, S6_LOG_NAME)


class Ending:
    """Two cases of one tool and way to end it: all children gone, and the tool too."""

    def __init__(self, bench: Bench, tool: Tool, count: int, way: str, settle: float) -> None:
        self._bench, self._tool, self._count, self._way, self._settle = bench, tool, count, way, settle
        self._whole = 0.0
        self.gone = Case(f"{tool.name}: {way}", self._measure)
        self.whole = Case(f"{tool.name}: {way}, itself gone", self._last)

    def _measure(self) -> float:
        with self._tool.running(self._bench, self._count) as live:
            harness.pause(self._settle)
            command = self._tool.stop() if self._way == COMMAND and self._tool.stop is not None else None
            pidfds = [os.pidfd_open(pid) for pid in (*live.children, *self._tool.pids(live))]
            try:
                if command is None:
                    start = time.perf_counter()
                    live.process.send_signal(signal.SIGTERM)
                    gone, whole = _all_gone(pidfds[: self._count]), _all_gone(pidfds)
                else:
                    start, gone, whole = self._ask(command, pidfds)
            finally:
                for pidfd in pidfds:
                    os.close(pidfd)
        self._whole = whole - start
        return gone - start

    def _ask(self, command: list[str], pidfds: Sequence[int]) -> tuple[float, float, float]:
        with (self._bench.folder / "answer").open("wb") as output:
            start = time.perf_counter()
            asking = subprocess.Popen(command, env=self._bench.env, stdout=output, stderr=output)
            try:
                gone, whole = _all_gone(pidfds[: self._count]), _all_gone(pidfds)
            finally:
                code = asking.wait(harness.DEADLINE)
            whole = max(whole, time.perf_counter())
        if code:
            raise Unavailable(f"{Path(command[0]).name}: exit {code}")
        return start, gone, whole

    def _last(self) -> float:
        if self.gone.problem:
            raise Unavailable(self.gone.problem)
        return self._whole


def _all_gone(pidfds: Sequence[int]) -> float:
    """Return when the last one had ended. One after the other: whoever measures is not to be woken by each."""
    for pidfd in reversed(pidfds):
        waiting = select.poll()
        waiting.register(pidfd, select.POLLIN)
        if not waiting.poll(harness.DEADLINE * 1000):
            raise Unavailable("a process of it does not end")
    return time.perf_counter()


def report(count: int, found: dict[tuple[str, str], Ending]) -> str:
    """Return the table, with the goals."""
    floor = found[C_FLOOR, SIGNAL].gone.median
    ours = {SIGNAL: found[UP, SIGNAL].gone.median, COMMAND: found[UP_DETACHED, COMMAND].gone.median}
    rows = [
        [
            f"{tool}: {way}",
            *["-" if seconds is None else f"{seconds * 1000:.1f}" for seconds in (end.gone.median, end.whole.median)],
            ratio(end.gone.median, floor),
            ratio(ours[way], end.gone.median),
        ]
        for (tool, way), end in found.items()
    ]
    header = [f"{count} children", "gone, ms", "tool gone, ms", "to C", "orchestra to it"]

    def to(peer: str) -> float | None:
        return over(ours[SIGNAL], found[peer, SIGNAL].gone.median)

    wanted = [
        *([Goal(f"SIGTERM to {count} children gone", milliseconds(ours[SIGNAL]), 15, " ms")] if count == 100 else []),
        Goal("the same to circus", to(CIRCUS_NAME), 0.75, "x"),
        Goal("the same to honcho", to(HONCHO), 0.27, "x"),
        Goal("the same to C", to(C_FLOOR), 3, "x"),
    ]
    return (
        f"{harness.table(header, rows)}\n{harness.problems([e.gone for e in found.values()])}{harness.goals(wanted)}\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = harness.options(__doc__ or "", rounds="11")
    parser.add_argument("--children", type=int, default=100)
    parser.add_argument("--settle", type=float, default=1.5, help="seconds that a tool gets to fall asleep")
    chosen = parser.parse_args(arguments)
    print(f"stop: {harness.machine()}\n")
    with tempfile.TemporaryDirectory(prefix="orct-stop-") as name:
        bench = Bench(Path(name))
        offered = tools(bench, chosen.children)
        pairs = [(tool, SIGNAL) for tool in BY_SIGNAL] + [(tool, COMMAND) for tool in BY_COMMAND]
        found = {(tool, way): Ending(bench, offered[tool], chosen.children, way, chosen.settle) for tool, way in pairs}
        harness.run([case for end in found.values() for case in (end.gone, end.whole)], chosen.rounds)
        print(report(chosen.children, found), end="")


if __name__ == "__main__":
    main()
