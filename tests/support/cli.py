"""Running the command line from tests: in a process of its own, or in this one where only words matter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer as JSON; fails the test when it is none."""
        return json.loads(self.out)


def orchestra(
    *arguments: str,
    home: Path,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> Answer:
    """Run `orchestra ARGUMENTS` to its end in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestra", *arguments],
        cwd=cwd or home.parent,
        env=child_environment(home, environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def child_environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which nothing of the developer's own settings shows."""
    hidden = ("NO_COLOR", "FORCE_COLOR", "ORCHESTRA_DEBUG", "COLUMNS", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    root = str(Path(__file__).parents[2])
    return {**kept, "ORCHESTRA_HOME": str(home), "PYTHONPATH": root, "TERM": "dumb", **(more or {})}


def inside(capsys: pytest.CaptureFixture[str], *arguments: str) -> Answer:
    """Run a command in this process: faster, and what it raises shows where it was raised."""
    from orchestra.cli.app import main

    capsys.readouterr()
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return Answer(code, out, err)
