"""How long the command line takes to answer: `--version`, `--help`, and `ps` of a live instance; beside bare Python,
bare typer, and what honcho and circus need for the same.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks import harness
from tests.benchmarks.harness import Case, Goal, Unavailable, milliseconds, over, ratio

TYPER = """
import typer
app = typer.Typer(rich_markup_mode=None, add_completion=False)
@app.command()
def ps() -> None:
    typer.echo("nothing")
@app.command()
def ls() -> None:
    typer.echo("nothing")
app()
"""
TOPOLOGY = """version: 1
name: bench
processes:
  sleeper:
    command: [sleep, "1000"]
    replicas: 10
"""
CIRCUS = """[circus]
endpoint = ipc://{folder}/endpoint
pubsub_endpoint = ipc://{folder}/pubsub
[watcher:sleeper]
cmd = sleep 1000
numprocesses = 10
warmup_delay = 0
"""
BARE, TYPER_FLOOR = "python -c pass", "typer with 2 commands, one run"
VERSION, PS = "orchestra --version", "orchestra ps (10 processes)"
CPU = ", processor time"
HONCHO, CIRCUSCTL = "honcho version", "circusctl status"


@contextmanager
def live_orchestra(folder: Path) -> Iterator[Callable[..., float]]:
    """Yield a measure of `ps` on a live instance; its argument is what to measure with, as `harness.elapsed`."""
    env = {**os.environ, "ORCHESTRA_HOME": str(folder / "home")}
    name = f"bench-{secrets.token_hex(3)}"
    file = folder / "orchestra.yaml"
    file.write_text(TOPOLOGY)
    command = harness.orchestra()
    problem = ""
    try:
        harness.elapsed([*command, "up", str(file), "-n", name, "-d"], env)
    except Unavailable as err:
        problem = str(err)

    def measure(how: Callable[..., float] = harness.elapsed) -> float:
        if problem:
            raise Unavailable(problem)
        return how([*command, "ps", name], env)

    try:
        yield measure
    finally:
        if not problem:
            subprocess.run([*command, "down", name], env=env, capture_output=True, timeout=harness.DEADLINE)


@contextmanager
def live_circus(folder: Path) -> Iterator[Callable[[], float]]:
    """Yield a measure of `circusctl status` on a live arbiter."""
    config = folder / "circus.ini"
    config.write_text(CIRCUS.format(folder=folder))
    try:
        daemon, client = harness.tool("circusd"), harness.tool("circusctl")
    except Unavailable as err:
        problem = str(err)

        def unavailable() -> float:
            raise Unavailable(problem)

        yield unavailable
        return
    process = subprocess.Popen(
        [daemon, str(config)], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield lambda: harness.elapsed([client, "--endpoint", f"ipc://{folder}/endpoint", "status"])
    finally:
        harness.stop(process)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    chosen = harness.options(__doc__ or "", rounds="15").parse_args(arguments)
    command = harness.orchestra()
    print(f"start: {harness.machine()}\n")
    with tempfile.TemporaryDirectory(prefix="orct-start-") as name:
        folder = Path(name)
        typer = folder / "bare_typer.py"
        typer.write_text(TYPER)
        with live_orchestra(folder) as ps, live_circus(folder) as status:
            commands = {
                BARE: [sys.executable, "-c", "pass"],
                "python -IS -c pass": [sys.executable, "-IS", "-c", "pass"],
                TYPER_FLOOR: [sys.executable, str(typer), "ps"],
                VERSION: [*command, "--version"],
                "orchestra --help": [*command, "--help"],
            }
            cases = [Case(what, lambda argv=argv: harness.elapsed(argv)) for what, argv in commands.items()]  # type: ignore[misc]
            honcho = Case(HONCHO, lambda: harness.elapsed([harness.tool("honcho"), "version"]))
            cases += [
                Case(PS, ps),
                Case(PS + CPU, lambda: ps(harness.processor_time)),
                Case(TYPER_FLOOR + CPU, lambda: harness.processor_time(commands[TYPER_FLOOR])),
                honcho,
                Case(CIRCUSCTL, status),
            ]
            harness.run(cases, chosen.rounds)
    print(report({case.name: case for case in cases}))


def report(found: dict[str, Case]) -> str:
    """Return the table, with the goals."""
    bare, version, ps = (found[name].median for name in (BARE, VERSION, PS))
    rows = [
        [case.name, "-" if case.median is None else f"{case.median * 1000:.1f}", ratio(case.median, bare)]
        for case in found.values()
    ]
    typer = found[TYPER_FLOOR].median
    beyond = None if ps is None or typer is None else ps - typer
    beyond_cpu = harness.difference(found[PS + CPU], found[TYPER_FLOOR + CPU])
    wanted = [
        Goal("--version to bare Python", over(version, bare), 1.35, "x"),
        Goal("--version to honcho's", over(version, found[HONCHO].median), 0.2, "x"),
        Goal("ps", milliseconds(ps), 80, " ms"),
        Goal("ps beyond bare typer", milliseconds(beyond), 20, " ms"),
        Goal("the same in processor time", milliseconds(beyond_cpu), 20, " ms"),
        Goal("ps to circusctl status", over(ps, found[CIRCUSCTL].median), 1.0, "x"),
    ]
    header = ["whole process", "ms", "to bare Python"]
    return f"{harness.table(header, rows)}\n{harness.problems(found.values())}{harness.goals(wanted)}\n"


if __name__ == "__main__":
    main()
