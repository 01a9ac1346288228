"""Small topologies run by the command line, beside a test that watches them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.cli import Answer, child_environment, orchestra

SLEEPER = "  sleeper: {command: [sh, -c, 'echo here; exec sleep 1000']}\n"
USER = "  sleeper: {command: [sh, -c, 'echo here; exec sleep 1000'], uses: [jobs]}\n"
QUEUE = "queues:\n  jobs: {family: sysv}\n"
KEPT = "segments:\n  board: {family: sysv, size: 4096, on_down: keep}\n"


def topology(folder: Path, processes: str, objects: str = "", name: str = "demo") -> Path:
    """Write an orchestra.yaml; `processes` and `objects` are blocks of YAML."""
    file = folder / "orchestra.yaml"
    file.write_text(f"version: 1\nname: {name}\n{objects}\nprocesses:\n{processes}")
    return file


@contextmanager
def started(home: Path, *arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `orchestra ARGUMENTS` beside the test; ended with its instance when the test is over."""
    child = subprocess.Popen(
        [sys.executable, "-m", "orchestra", *arguments],
        cwd=cwd, env=child_environment(home), text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield child
    finally:
        orchestra("down", "demo", home=home)
        if child.poll() is None:
            child.kill()
        child.communicate()


def wait_for_line(child: subprocess.Popen[str], wanted: str) -> None:
    """Read the child's stdout until a line holds `wanted`."""
    assert child.stdout is not None
    for line in child.stdout:
        if wanted in line:
            return
    raise AssertionError(f"{wanted!r} never came; stderr: {child.stderr.read() if child.stderr else ''}")


def finish(child: subprocess.Popen[str]) -> Answer:
    out, err = child.communicate(timeout=30)
    return Answer(child.returncode, out, err)


def wait_until_not_live(home: Path) -> dict[str, object]:
    """Ask `ls` until the guardian has let go; each question takes its own time, so none is asked in vain."""
    for _ in range(100):
        found: dict[str, object] = orchestra("ls", "--format", "json", home=home).json["instances"][0]
        if found["pid"] is None:
            return found
    raise AssertionError("the instance stays live")


LIVE = """\
version: 1
name: demo
queues: { jobs: { family: sysv }, feed: { max_messages: 2, message_size: 64 } }
processes:
  server: { command: [sleep, "1000"], service: true, uses: { feed: write } }
  worker: { command: [sleep, "1000"], replicas: 2, uses: { jobs: read, feed: read }, depends_on: { server: started } }
  once: { command: [sh, -c, "exit 3"], success: [3] }
  spare: { command: [sleep, "1000"], autostart: false }
"""


@contextmanager
def detached(home: Path, folder: Path, text: str = LIVE) -> Iterator[Path]:
    """Write an orchestra.yaml and run it in the background until the block ends; return the file."""
    file = folder / "orchestra.yaml"
    file.write_text(text)
    answer = orchestra("up", "--wait", str(file), home=home)
    assert answer.code == 0, answer.err
    try:
        yield file
    finally:
        orchestra("down", "demo", home=home)
