"""Topologies in tests: start, wait, look, stop. Each test has a state folder of its own, apart from the user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestra.errors import DeadlinePassed, OrchestraError

_DEADLINE = 124  # exit status of `orchestra wait` when its timeout has passed


class Run:
    """One live or ended run of a topology. Methods raise OrchestraError with what the command said."""

    def __init__(self, name: str, home: Path) -> None:
        self.name, self.home = name, home

    def wait(self, *processes: str, until: str = "exited", timeout: float = 60.0) -> list[dict[str, Any]]:
        """Wait until processes, or the whole run, are `until`: started, ready, completed, exited.

        Return a row for each replica: name, replica, state, exit_code, signal. Raises DeadlinePassed.
        """
        targets = [f"{self.name}.{process}" for process in processes] or ["-n", self.name]
        options = ["--for", until, "--timeout", str(timeout), "--format", "json"]
        done = _orchestra(self.home, "wait", *targets, *options)
        if done.returncode == _DEADLINE:
            what = ", ".join(processes) or self.name
            raise DeadlinePassed(f"{what} not {until} within {timeout:g} s", detail=self.output())
        rows: list[dict[str, Any]] = _answer(done, {0, 1})["results"]
        return rows

    def processes(self) -> list[dict[str, Any]]:
        """Return what `orchestra ps --format json` shows: name, replica, pid, state, exit_code …"""
        rows: list[dict[str, Any]] = self._json("ps", self.name)["processes"]
        return rows

    def objects(self) -> dict[str, dict[str, Any]]:
        """Return the objects by their key in the file: family, kind, name, id, state, holders …"""
        return {row["key"]: row for row in self._json("objects", self.name)["objects"]}

    def logs(self, *targets: str) -> list[dict[str, Any]]:
        """Return the lines of the log as it is stored, of the whole run or of some processes and objects."""
        words = [f"{self.name}.{target}" for target in targets] or [self.name]
        done = _orchestra(self.home, "logs", *words, "--format", "json")
        if done.returncode:
            raise _failed(done)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def output(self, *processes: str, stream: str | None = None) -> str:
        """Return what processes wrote, line by line, without what orchestra itself said."""
        lines = [line for line in self.logs(*processes) if "stream" in line]
        return "".join(f"{line['message']}\n" for line in lines if stream in (None, line["stream"]))

    def stop(self) -> int:
        """Stop it, do what `on_down` says, and return the exit code of the run: 0 when all went well."""
        done = _orchestra(self.home, "down", self.name)
        if done.returncode not in (0, 1):
            raise _failed(done)
        rows = _answer(_orchestra(self.home, "ls", "--format", "json"), {0})["instances"]
        state = next(row["state"] for row in rows if row["instance"] == self.name)
        return 1 if done.returncode or state != "down" else 0

    def _json(self, command: str, *words: str) -> dict[str, Any]:
        return _answer(_orchestra(self.home, command, *words, "--format", "json"), {0})


class Runs:
    """Starts runs below one folder: call it with a topology file."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "orchestra"
        self._runs: list[Run] = []

    def __call__(
        self,
        file: str | os.PathLike[str],
        *,
        name: str | None = None,
        variables: Mapping[str, object] | None = None,
        processes: Sequence[str] = (),
        ready: bool = False,
    ) -> Run:
        """Start a topology in the background and return it; `ready` waits until all of it is.

        `variables` are those of the file. Raises OrchestraError with the words of `orchestra up`.
        """
        own = name or f"test{len(self._runs) + 1}"
        settings = [word for key, value in (variables or {}).items() for word in ("--set", f"{key}={value}")]
        run = Run(own, self.home)
        self._runs.append(run)
        done = _orchestra(
            self.home, "up", "--wait" if ready else "-d", "-n", own, *settings, os.fspath(file), *processes
        )
        if done.returncode:
            raise _failed(done)
        return run

    def stop_all(self) -> None:
        """Stop what still runs, last started first."""
        for run in reversed(self._runs):
            _orchestra(self.home, "down", run.name)


def _orchestra(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ORCHESTRA_HOME": str(home), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "orchestra", *words],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def _answer(done: subprocess.CompletedProcess[str], good: set[int]) -> dict[str, Any]:
    if done.returncode not in good or not done.stdout:
        raise _failed(done)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _failed(done: subprocess.CompletedProcess[str]) -> OrchestraError:
    words = done.stderr.strip() or done.stdout.strip()
    return OrchestraError(words, detail=f"orchestra {' '.join(done.args[3:])} -> {done.returncode}")
