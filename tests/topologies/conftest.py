"""The shipped topologies, started as a person would: by the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.cli import Answer, orchestra
from tests.support.markdown import ROOT


class Up(Protocol):
    def __call__(self, name: str, *arguments: str, **environment: str) -> Answer: ...


@pytest.fixture
def up(home: Path, tmp_path: Path) -> Up:
    """Return a starter: `orchestra up` of one of the topologies, to its end, from the test's own folder."""

    def start(name: str, *arguments: str, **environment: str) -> Answer:
        file = ROOT / "topologies" / name / "orchestra.yaml"
        return orchestra(
            "up", str(file), *arguments, home=home, cwd=tmp_path, environment={"TMPDIR": str(tmp_path), **environment}
        )

    return start


def said(answer: Answer, process: str) -> list[str]:
    """Return the lines of one process, without the prefix."""
    lines = [re.fullmatch(r"(\S+) +[│!] (.*)", line) for line in answer.out.splitlines()]
    return [line[2] for line in lines if line and line[1] == process]
