"""From invoking a tool to all N children running: orchestra, honcho, circus, s6, a C and a bare Python spawner.

Each child is a tiny program that writes its pid to a FIFO; the clock stops when the last pid has come. All tools but
orchestra are measured as they are; orchestra also less its `up --dry-run`, which imports and checks the same and starts
nothing. Both output streams of every child are captured by every tool.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks import harness, tools
from tests.benchmarks.harness import Case, Goal, milliseconds, over, ratio
from tests.benchmarks.tools import C_FLOOR, PYTHON_FLOOR, UP, Bench

DRY_RUN = "orchestra up --dry-run"
PEERS = (tools.HONCHO, tools.CIRCUS_NAME, tools.S6_LOG_NAME)
IMPORTS_NAME, CPU = "bare imports", ", processor time"
# Merely importing pydantic loads next to nothing of it: its names come when they are asked for. No model does without
# these two.
IMPORTS = "import typer, yaml, sqlite3, posix_ipc, sysv_ipc; from pydantic import BaseModel, Field"


def cases(bench: Bench, count: int) -> dict[str, Case]:
    """Return the case of each tool for `count` children."""
    offered = tools.tools(bench, count)

    def starting(name: str) -> Callable[[], float]:
        return lambda: bench.started(offered[name].argv(), count)

    def dry_run() -> float:
        return harness.elapsed([*harness.orchestra(), "up", bench.topology(count), "--dry-run"], bench.env)

    def dry_run_processor() -> float:
        return harness.processor_time([*harness.orchestra(), "up", bench.topology(count), "--dry-run"], bench.env)

    table: dict[str, Callable[[], float]] = {
        **{name: starting(name) for name in (C_FLOOR, PYTHON_FLOOR, UP)},
        DRY_RUN: dry_run,
        DRY_RUN + CPU: dry_run_processor,
        **{name: starting(name) for name in PEERS},
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
    peers = [case.median for name in PEERS[:2] if (case := found[name]).median is not None]
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
