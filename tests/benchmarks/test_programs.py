"""The benchmark programs run, with sizes so small that their numbers mean nothing. Nothing is timed here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import harness
from tests.benchmarks.harness import Case, Goal, Unavailable

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def program(name: str, tmp_path: Path, *arguments: str) -> str:
    env = {**os.environ, "ORCHESTRA_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    argv = [sys.executable, "-m", f"tests.benchmarks.{name}", "--rounds", "1", *arguments]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_launch(tmp_path: Path) -> None:
    printed = program("launch", tmp_path, "--children", "2")
    assert "not measured: orchestra" not in printed
    assert "orchestra up less --dry-run" in printed
    assert "net up to C with pipes: <= 1.3x" in printed


def test_functions(tmp_path: Path) -> None:
    printed = program("functions", tmp_path, "--children", "1", "3")
    assert "not measured: orchestra" not in printed
    assert "the same to a bare fork: <= 1.5x" in printed


def test_start(tmp_path: Path) -> None:
    printed = program("start", tmp_path)
    assert "not measured: orchestra" not in printed
    assert "--version to bare Python: <= 1.35x" in printed


def test_idle(tmp_path: Path) -> None:
    printed = program("idle", tmp_path, "--children", "2", "--seconds", "0.1", "--settle", "0.1")
    assert "not measured: orchestra" not in printed
    assert "not measured: C" not in printed
    assert "wake-ups a second: <= 0; here " in printed


def test_stop(tmp_path: Path) -> None:
    printed = program("stop", tmp_path, "--children", "2", "--settle", "0.1")
    assert "not measured: orchestra" not in printed
    assert "not measured: C" not in printed
    assert "the same to C: <= 3x; here " in printed


def test_ready(tmp_path: Path) -> None:
    printed = program("ready", tmp_path, "--links", "3", "--ways", "fd", "notify", "exists", "tcp")
    assert "not measured: orchestra" not in printed
    assert "not measured: C" not in printed
    rows = [line.split() for line in printed.splitlines() if line.startswith("orchestra, ")]
    assert [(row[1], row[2]) for row in rows] == [("fd", "2"), ("notify", "2"), ("exists", "2"), ("tcp", "2")]


@pytest.mark.parametrize("where", [["--shared"], []], ids=["here", "own-namespace"])
def test_client(tmp_path: Path, where: list[str]) -> None:
    printed = program("client", tmp_path, "--messages", "20", *where)
    assert "orchestra.client" not in "".join(line for line in printed.splitlines() if line.startswith("not measured"))
    assert "64 bytes" in printed
    assert "POSIX: time to posix_ipc's: <= 1.6x" in printed


@pytest.mark.root
def test_audit(tmp_path: Path) -> None:
    few = ["--segments", "100", "--queues", "50", "--sysv", "20", "--processes", "10"]
    printed = program("audit", tmp_path, *few)
    assert "not measured: orchestra" not in printed
    assert "the same to C: <= 5x" in printed


def test_capture(tmp_path: Path) -> None:
    assert "plain" in program("capture", tmp_path, "--lines", "100")


def test_logs(tmp_path: Path) -> None:
    tools = ["--tools", "orchestra", "C, same keys, 10 ms"]
    printed = program("logs", tmp_path, "--seconds", "0.01", "--paced-only", *tools)
    assert "not measured: " not in printed
    assert "16 x 10 lines, 1,000 lines/s each" in printed
    assert "CPU to C that looks each 10 ms: <= 4.5x; here" in printed


def test_lossless(tmp_path: Path) -> None:
    printed = program("lossless", tmp_path, "--scale", "0.005", "--trials", "5")
    assert "20 x 2,500 lines, rotated at 1MiB, 10 killed: all " in printed


def test_cases_take_turns_and_the_first_round_is_thrown_away() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    cases = [Case("a", lambda: measure("a")), Case("b", lambda: measure("b"))]
    harness.run(cases, 2)
    assert "".join(order) == "ababab"
    assert [case.samples for case in cases] == [[3.0, 5.0], [4.0, 6.0]]
    assert harness.difference(cases[1], cases[0]) == 1.0


def test_what_cannot_run_is_left_out_with_its_reason() -> None:
    def missing() -> float:
        raise Unavailable("not here")

    case = Case("x", missing)
    harness.run([case], 3)
    assert (case.median, harness.problems([case])) == (None, "not measured: x: not here\n")
    assert harness.ratio(case.median, 1.0) == "-"


@pytest.mark.parametrize(
    ("goal", "line"),
    [
        (Goal("start", 50.0, 80, " ms"), "  start: <= 80 ms; here 50 ms (met)"),
        (Goal("start", 90.0, 80, " ms"), "  start: <= 80 ms; here 90 ms (MISSED)"),
        (Goal("rate", 4.0, 3, "x", at_least=True), "  rate: >= 3x; here 4x (met)"),
        (Goal("rate", None, 3, "x", at_least=True), "  rate: >= 3x; not measured"),
    ],
)
def test_goals_stand_beside_what_was_measured(goal: Goal, line: str) -> None:
    assert goal.line() == line


def test_tables_are_aligned() -> None:
    assert harness.table(["tool", "ms"], [["a", "1.0"], ["longer", "10.0"]]).splitlines() == [
        "tool      ms",
        "------  ----",
        "a        1.0",
        "longer  10.0",
    ]


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(Unavailable, match="exit 3: because"):
        harness.elapsed([sys.executable, "-c", "import sys; print('because', file=sys.stderr); sys.exit(3)"])
