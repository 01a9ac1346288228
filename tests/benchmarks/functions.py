"""What a further child costs: a function of a module imported once, beside bare forks and programs in Python.

Each child writes its pid to a FIFO; the clock stops when the last pid has come. Every way is measured for a few and for
many children in each round; the difference, shared out among the children between, is the price of one more. What is
the same for all (the start of the tool, the import) cancels out.
"""

from __future__ import annotations

import secrets
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks import harness
from tests.benchmarks.harness import Case, Goal, milliseconds, over, ratio
from tests.benchmarks.tools import Bench

FORK, FUNCTION, COMMAND, EXEC = (
    "bare os.fork",
    "orchestra, function:",
    "orchestra, command: python",
    "C, exec of python",
)

# What the children import: a few packages of the standard library, as an ordinary worker does.
MODULE = """
import json, logging, os, re, signal, sys

def report(fifo):
    with open(fifo, "w") as file:
        file.write(f"{os.getpid()}\\n")
    signal.pause()

if __name__ == "__main__":
    report(sys.argv[1])
"""
FORKER = """
import gc, os, signal, sys
import reporting
count, fifo = int(sys.argv[1]), sys.argv[2]
gc.freeze()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
pids = []
for _ in range(count):
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        reporting.report(fifo)
    pids.append(pid)
signal.sigwait([signal.SIGTERM])
for pid in pids:
    os.kill(pid, signal.SIGTERM)
for pid in pids:
    os.waitpid(pid, 0)
"""
FILE = """
version: 1
name: bench
processes:
  child:
    {how}
    replicas: {count}
"""


def ways(bench: Bench, module: str) -> dict[str, Callable[[int], float]]:
    """Return how to start so many children, by name; each returns the seconds until all have reported."""

    def orchestra(how: str, count: int) -> float:
        name = f"bench-{secrets.token_hex(3)}"
        path = bench.file(f"{name}.orchestra.yaml", FILE.format(how=how, count=count))
        return bench.started([*harness.orchestra(), "up", path, "-n", name], count)

    def fork(count: int) -> float:
        script = bench.file("forker.py", FORKER)
        return bench.started([sys.executable, script, str(count), str(bench.fifo)], count)

    def spawner(count: int) -> float:
        argv = [sys.executable, module, str(bench.fifo)]
        return bench.started([harness.compiled("spawner", bench.folder), str(count), *argv], count)

    return {
        FORK: fork,
        FUNCTION: lambda count: orchestra(f"function: reporting:report\n    arguments: {{fifo: {bench.fifo}}}", count),
        COMMAND: lambda count: orchestra(f"command: [{sys.executable}, {module}, {bench.fifo}]", count),
        EXEC: spawner,
    }


def each_more(few: Case, many: Case, children: int) -> float | None:
    """Return the seconds that one of `children` more children takes; the median over the rounds."""
    pairs = list(zip(few.samples, many.samples, strict=False))
    return statistics.median([(b - a) / children for a, b in pairs]) if pairs else None


def report(found: dict[str, tuple[Case, Case]], few: int, many: int) -> str:
    """Return the table and the goals."""
    price = {name: each_more(*pair, many - few) for name, pair in found.items()}
    rows = [
        [name, *[_ms(case.median) for case in found[name]], _ms(seconds), ratio(seconds, price[FORK])]
        for name, seconds in price.items()
    ]
    text = harness.table(["", f"{few} children, ms", f"{many} children, ms", "each more, ms", "to fork"], rows)
    execs = [seconds for name in (COMMAND, EXEC) if (seconds := price[name]) is not None]
    wanted = [
        Goal("each further child of a function", milliseconds(price[FUNCTION]), 0.8, " ms"),
        Goal("the same to a bare fork", over(price[FUNCTION], price[FORK]), 1.5, "x"),
        Goal(
            "the cheapest exec of Python to it", over(min(execs, default=None), price[FUNCTION]), 7, "x", at_least=True
        ),
    ]
    cases = [case for pair in found.values() for case in pair]
    return f"{text}\n{harness.problems(cases)}{harness.goals(wanted)}\n"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = harness.options(__doc__ or "", rounds="7")
    parser.add_argument("--children", type=int, nargs=2, default=[10, 110], metavar=("FEW", "MANY"))
    chosen = parser.parse_args(arguments)
    few, many = chosen.children
    print(f"functions: {harness.machine()}\n")
    with tempfile.TemporaryDirectory(prefix="orct-functions-") as name:
        bench = Bench(Path(name))
        module = bench.file("reporting.py", MODULE)
        found = {
            label: (Case(f"{label}, {few}", _counted(way, few)), Case(f"{label}, {many}", _counted(way, many)))
            for label, way in ways(bench, module).items()
        }
        harness.run([case for pair in found.values() for case in pair], chosen.rounds)
        print(report(found, few, many), flush=True)


def _counted(way: Callable[[int], float], count: int) -> Callable[[], float]:
    return lambda: way(count)


if __name__ == "__main__":
    main()
