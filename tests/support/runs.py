"""Runs without the command line: a plan goes to a guardian over the channel, as `up` would send it."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.logs.files import segments_of
from orchestra.runplan import Dependency, ObjectPlan, ProcessPlan, RunPlan
from orchestra.statedir import StateDir
from orchestra.supervisor.channel import Channel
from orchestra.supervisor.control import ControlClient
from orchestra.supervisor.launch import start_guardian
from tests.support.events import breaches

PATIENCE = 30.0  # seconds any condition may take on a loaded machine


def process(name: str, *command: str, after: dict[str, str] | None = None, **changes: Any) -> ProcessPlan:
    """A process plan; a single word is a shell script."""
    argv = ("/bin/sh", "-c", command[0]) if len(command) == 1 else command
    depends_on = tuple(Dependency(other, condition) for other, condition in (after or {}).items())
    return ProcessPlan(name, tuple((word,) for word in argv), depends_on=depends_on, **changes)


def until(condition: Callable[[], Any], *, what: str = "") -> Any:
    """Return the first true answer of `condition`; fail after PATIENCE. For what no descriptor tells."""
    deadline = time.monotonic() + PATIENCE
    pause = select.poll()
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what or condition}"
        pause.poll(5)
    return found


@dataclass
class Run:
    """One run under test. `events` holds what came over the channel, ticks left out."""

    channel: Channel
    places: StateDir
    plan: RunPlan
    events: list[dict[str, Any]] = field(default_factory=list)
    is_over: bool = False

    def wait_for(self, event: str) -> dict[str, Any]:
        """Return the first message of that kind; fail when the channel ends without one."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = next((message for message in self.events if message["event"] == event), None)
            if found is not None:
                return found
            assert not self.is_over, f"the channel ended without {event}: {self.events}\n{self.errors()}"
            poll = select.poll()
            poll.register(self.channel, select.POLLIN)
            assert poll.poll(max(0.0, deadline - time.monotonic()) * 1000), f"no {event}: {self.events}\n{self.log()}"
            messages, self.is_over = self.channel.receive()
            self.events += [message for message in messages if message is not None]

    def up(self) -> Run:
        self.wait_for("up")
        return self

    def ended(self) -> dict[str, Any]:
        """Wait for the end of the run and of its guardian; return the last message."""
        found = self.wait_for("ended")
        self.reap()
        return found

    def error(self) -> dict[str, Any]:
        found = self.wait_for("error")
        self.reap()
        return found

    def reap(self) -> int:
        """Wait for the guardian's end; return its exit code (negative: a signal)."""
        peer, self.channel.peer = self.channel.peer, None
        assert peer is not None
        _, status = os.waitpid(peer, 0)
        return os.waitstatus_to_exitcode(status)

    def stop(self, name: str = "SIGINT") -> None:
        self.channel.send({"op": "stop", "signal": name})

    def kill(self) -> None:
        self.channel.send({"op": "kill"})

    @property
    def id(self) -> str:
        return str(self.wait_for("accepted")["run"])

    @property
    def folder(self) -> Path:
        return self.places.run_folder(self.id)

    def log(self) -> list[dict[str, Any]]:
        """Every record of the log so far."""
        text = b"".join([Path(part).read_bytes() for part in segments_of(self.wait_for("accepted")["log"])])
        return [json.loads(line) for line in text.split(b"\n") if line.endswith(b"}")]

    def path(self, *names: str) -> list[str]:
        """The path of events: `event process`, for the processes named, or all."""
        return [
            " ".join(filter(None, (record["event"], record.get("process"))))
            for record in self.log()
            if "event" in record and (not names or record.get("process") in names)
        ]

    def lines(self, process: str) -> list[str]:
        return [r["message"] for r in self.log() if "event" not in r and r.get("process") == process]

    def wait_line(self, process: str, text: str) -> str:
        """Wait until a process has written a line that contains `text`."""
        return str(until(lambda: next((x for x in self.lines(process) if text in x), None), what=f"{text!r}"))

    def control(self) -> ControlClient:
        return ControlClient(self.places.socket(self.plan.instance))

    def ps(self) -> dict[str, dict[str, Any]]:
        """The rows of `ps` from the live supervisor, by name (or name.replica)."""
        rows = self.control().state()["processes"]
        return {row["name"] if row["replica"] == 1 else f"{row['name']}.{row['replica']}": row for row in rows}

    def row(self) -> RunRow:
        with Ledger.open(self.places.ledger) as ledger:
            found = ledger.run(self.id)
        assert found is not None
        return found

    def rows(self) -> dict[str, Any]:
        with Ledger.open(self.places.ledger) as ledger:
            return {f"{row.process}.{row.replica}": row for row in ledger.processes(self.id)}

    def errors(self) -> str:
        """What Python had to say in guardian and supervisor."""
        path = self.folder / "stderr.txt" if any(m["event"] == "accepted" for m in self.events) else None
        return path.read_text() if path is not None and path.exists() else ""

    def finish(self) -> None:
        """End the run, whatever state it is in."""
        self.channel.send({"op": "kill"})
        self.channel.close()
        if self.channel.peer is not None:
            self.reap()


def start(
    home: Path,
    *processes: ProcessPlan,
    objects: Sequence[ObjectPlan] = (),
    instance: str = "t",
    detach: bool = False,
    leak: bool = False,
    folder: str | None = None,
    environment: dict[str, str] | None = None,
    channel: Channel | None = None,
    **changes: Any,
) -> Run:
    """Start a run and return at once."""
    places = StateDir(home, home / "run")
    folder = folder or str(home.parent)
    plan = RunPlan(
        "test", instance, os.path.join(folder, "orchestra.yaml"), folder, tuple(objects), tuple(processes),
        dict(os.environ) if environment is None else environment, **changes,
    )  # fmt: skip
    channel = channel or start_guardian()
    order = {
        "op": "run", "plan": json.loads(plan.to_json()), "detach": detach, "leak": leak,
        "home": str(places.home), "runtime": str(places.runtime),
    }  # fmt: skip
    assert channel.send(order)
    return Run(channel, places, plan)


@contextmanager
def running(home: Path, *processes: ProcessPlan, **options: Any) -> Iterator[Run]:
    """Start a run; at the end of the block it is ended, if it has not ended by itself."""
    run = start(home, *processes, **options)
    try:
        yield run
    finally:
        run.finish()
    if any(message["event"] == "accepted" for message in run.events):
        assert not breaches(run.log())


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"
