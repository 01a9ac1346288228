"""What the benchmark programs share: interleaved rounds, medians, tables, tools, programs in C.

Run from the root of the repository: `uv run --group bench python -m tests.benchmarks.launch`. A ratio within one run
travels to other machines; an absolute number does not. Nothing here ever fails because something was slow.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

SOURCES = Path(__file__).parent / "c"
DEADLINE = 120.0  # seconds that any single measurement may take


class Unavailable(Exception):
    """A case cannot be measured here; the text says why and stands in its row."""


@dataclass
class Case:
    """One thing to measure. `measure` does it once and returns seconds (or another amount that a table explains)."""

    name: str
    measure: Callable[[], float]
    samples: list[float] = field(default_factory=list)
    problem: str = ""

    @property
    def median(self) -> float | None:
        """The middle of all samples, None without any."""
        return statistics.median(self.samples) if self.samples else None


def run(cases: Sequence[Case], rounds: int) -> None:
    """Measure each case once a round, one after the other, so that a slow moment of the machine hits all alike.

    One round before the first warms caches and is thrown away. A case that cannot run keeps its reason and is left out.
    """
    for number in range(rounds + 1):
        for case in cases:
            if case.problem:
                continue
            progress(f"round {number}/{rounds}: {case.name}")
            try:
                value = case.measure()
            except Unavailable as err:
                case.problem = str(err)
                continue
            if number or not rounds:
                case.samples.append(value)
    progress("")


def progress(text: str) -> None:
    """Show what is going on, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def over(one: float | None, other: float | None) -> float | None:
    """Return how many times `other` is in `one`; None where either is missing."""
    return one / other if one is not None and other else None


def difference(one: Case, other: Case) -> float | None:
    """Return the median of `one` less `other`, round by round: what slows a whole round cancels out."""
    pairs = zip(one.samples, other.samples, strict=False)
    return statistics.median([a - b for a, b in pairs]) if one.samples and other.samples else None


def milliseconds(seconds: float | None) -> float | None:
    """Return seconds as milliseconds."""
    return None if seconds is None else seconds * 1000


def problems(cases: Iterable[Case]) -> str:
    """Return why some cases were not measured, one a line."""
    return "".join([f"not measured: {case.name}: {case.problem}\n" for case in cases if case.problem])


def ratio(one: float | None, other: float | None) -> str:
    """Return how many times `other` is in `one`, as text."""
    return f"{one / other:.2f}x" if one is not None and other else "-"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return aligned columns; the first to the left, the others to the right."""
    grid = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in grid) for i in range(len(header))]
    lines = [
        "  ".join(
            [
                f"{cell:<{width}}" if not i else f"{cell:>{width}}"
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
        )
        for row in grid
    ]
    return "\n".join([lines[0], "  ".join(["-" * width for width in widths]), *lines[1:]])


@dataclass(frozen=True)
class Goal:
    """One goal beside what was measured: met, missed, or not measured."""

    words: str
    measured: float | None
    limit: float
    unit: str
    at_least: bool = False

    def line(self) -> str:
        """Return the row of a goal."""
        sign = ">=" if self.at_least else "<="
        if self.measured is None:
            return f"  {self.words}: {sign} {self.limit:g}{self.unit}; not measured"
        met = self.measured >= self.limit if self.at_least else self.measured <= self.limit
        verdict = "met" if met else "MISSED"
        return f"  {self.words}: {sign} {self.limit:g}{self.unit}; here {self.measured:.3g}{self.unit} ({verdict})"


def goals(items: Iterable[Goal]) -> str:
    """Return the list of goals. Absolute ones were set on a 2-core virtual machine."""
    return "\n".join(["goals:", *[goal.line() for goal in items]])


def machine() -> str:
    """Return one line about where this runs."""
    load = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.release()}, {os.cpu_count()} processors, "
        f"CPython {platform.python_version()}, load {load:.1f} at the start"
    )


def options(description: str, **defaults: str) -> argparse.ArgumentParser:
    """Return a parser with `--rounds`; more options are added by the program."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=int(defaults.get("rounds", "7")), help="samples of each case")
    return parser


def tool(name: str) -> str:
    """Return the path of a command beside this interpreter, or on PATH. Raises Unavailable."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise Unavailable("not installed (uv run --group bench)")
    return found


def orchestra() -> list[str]:
    """Return the command line of this orchestra."""
    beside = Path(sys.executable).parent / "orchestra"
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "orchestra"]


def compiled(name: str, folder: Path, *flags: str) -> str:
    """Compile `c/<name>.c` into a folder; return the program. Raises Unavailable without a compiler."""
    compiler = shutil.which("cc")
    if not compiler:
        raise Unavailable("no C compiler (cc) here")
    program = folder / name
    if not program.exists():
        source = SOURCES / f"{name}.c"
        subprocess.run([compiler, "-O2", "-Wall", "-o", program, source, *flags], check=True)
    return str(program)


def elapsed(argv: Sequence[str], env: Mapping[str, str] | None = None, *, codes: Sequence[int] = (0,)) -> float:
    """Run a command to its end, output thrown away; return the seconds it took. Raises Unavailable when it fails."""
    start = time.perf_counter()
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE)
    seconds = time.perf_counter() - start
    if done.returncode not in codes:
        raise Unavailable(f"exit {done.returncode}: {last_line(done.stderr or done.stdout)}")
    return seconds


def processor_time(argv: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """Run a command as `elapsed` does; return the seconds that it and what it waited for kept processors busy.

    Where other work shares the machine this says more than the time on the wall. Raises Unavailable.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    elapsed(argv, env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def pause(seconds: float) -> None:
    """Wait between two looks at what no descriptor tells, such as a file that others write."""
    select.poll().poll(seconds * 1000)


def last_line(output: bytes) -> str:
    """Return the last line of some output, shortened."""
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:100] if lines else "no message"


def stop(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """Ask a process of ours to end, then insist. It leads its own session, so its group is ours alone."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
