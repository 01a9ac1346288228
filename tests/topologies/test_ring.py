"""ring: built by the run, in a folder of the run, and swept away with it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.cli import child_environment
from tests.support.markdown import ROOT
from tests.topologies.conftest import Up, said

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine"),
]
FILE = ROOT / "topologies" / "ring" / "orchestra.yaml"


@pytest.fixture(autouse=True)
def swept(tmp_path: Path) -> Iterator[None]:
    """Whatever happens in a test: no folder of built programs is left."""
    yield
    assert not list(tmp_path.glob("orc.*"))


@pytest.mark.parametrize("frames", [0, 1, 16, 17, 5000])
def test_what_is_received_is_what_was_sent(frames: int, up: Up) -> None:
    answer = up("ring", "--set", f"frames={frames}")
    assert answer.code == 0, answer.err
    (sent,), (received,) = said(answer, "producer"), said(answer, "consumer")
    assert sent.split()[1:] == received.split()[1:]
    assert re.fullmatch(rf"sent     {frames} frames, \d+ bytes, checksum [0-9a-f]{{16}}", sent)


def test_two_copies_at_the_same_time(up: Up) -> None:
    with ThreadPoolExecutor(2) as both:
        runs = [both.submit(up, "ring", "-n", f"copy-{n}", "--set", f"frames={n * 1000}") for n in (1, 2)]
    for number, run in enumerate(runs, 1):
        assert run.result().code == 0, run.result().err
        assert said(run.result(), "consumer")[0].startswith(f"received {number * 1000} frames")


def test_a_build_that_fails_stops_the_run(up: Up, tmp_path: Path) -> None:
    compiler = tmp_path / "bin" / "cc"
    compiler.parent.mkdir()
    compiler.write_text("#!/bin/sh\necho 'no such language' >&2\nexit 1\n")
    compiler.chmod(0o755)
    answer = up("ring", PATH=f"{compiler.parent}:{os.environ['PATH']}")
    assert answer.code == 1
    assert said(answer, "build") == ["no such language"]
    assert "build" in answer.err
    assert not said(answer, "producer")


def test_an_interrupted_run_sweeps_too(home: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestra", "up", str(FILE), "--set", "frames=100000000"],
        env=child_environment(home, {"TMPDIR": str(tmp_path)}),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "consumer started" in line:
                break
        assert list(tmp_path.glob("orc.ring.frames.*/consumer"))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
