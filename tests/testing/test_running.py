"""A topology in a test: started, waited for, looked at, stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestra.errors import DeadlinePassed, OrchestraError
from orchestra.testing.running import Runs

FILE = """
version: 1
name: lab
variables: {word: hello}
queues:
  jobs: {family: sysv}
processes:
  speaker: {command: [sh, -c, "echo ${word}; echo aside >&2"], uses: [jobs]}
"""

pytestmark = pytest.mark.slow


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    file = tmp_path / "lab.yaml"
    file.write_text(FILE)
    run = runs(file, variables={"word": "bonjour"})
    (row,) = run.wait()
    assert (row["name"], row["exit_code"], row["state"]) == ("speaker", 0, "exited")
    assert run.output("speaker", stream="stdout") == "bonjour\n"
    assert run.output(stream="stderr") == "aside\n"
    assert run.objects()["jobs"]["family"] == "sysv"
    assert [row["state"] for row in run.processes()] == ["exited"]
    assert any(line.get("event") == "process.exited" for line in run.logs())
    assert run.stop() == 0
    with pytest.raises(OrchestraError):
        run.wait("nobody")


def test_what_goes_wrong_is_said_and_what_runs_is_stopped(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    file = tmp_path / "lab.yaml"
    file.write_text(FILE.replace("echo ${word}", "sleep 1000"))
    run = runs(file, name="slow")
    with pytest.raises(DeadlinePassed, match="speaker not exited within"):
        run.wait("speaker", timeout=0.1)
    file.write_text("version: 1\nname: lab\nprocesses: {a: {comand: [true]}}\n")
    with pytest.raises(OrchestraError, match="unknown"):
        runs(file)
    runs.stop_all()
    assert [row["state"] for row in run.processes()] != ["running"]
