"""The commands that act on a live instance, on one that lives: whom they mean, what they answer, how they end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestra.cli import live
from orchestra.cli.exits import ExitCode
from tests.support.cli import Answer, inside, orchestra
from tests.support.shapes import MAYBE_TEXT, NUMBER, TEXT, exactly
from tests.support.small_runs import detached

pytestmark = pytest.mark.slow

MAYBE_NUMBER = {"type": ["integer", "null"]}
ROW = exactly(
    name=TEXT, replica=NUMBER, result={"enum": ["ok", "failed", "timeout"]}, state=MAYBE_TEXT, pid=MAYBE_NUMBER,
    exit_code=MAYBE_NUMBER, signal=MAYBE_TEXT, reason=TEXT,
)  # fmt: skip


class Instance:
    """A live instance and the commands on it, run in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], file: Path) -> None:
        self.capsys, self.file = capsys, file

    def __call__(self, *words: str) -> Answer:
        return inside(self.capsys, *words)

    def results(self, *words: str) -> dict[str, str]:
        """Return the results of a JSON answer, which must be as documented."""
        command = words[0]
        answer = self(*words, "--format", "json")
        more: dict[str, Any] = {}
        if command == "wait":
            more = {"for": TEXT, "state": MAYBE_TEXT, "exit_code": MAYBE_NUMBER}
        schema = exactly(
            schema={"const": f"orchestra/{command}/1"}, instance=TEXT, results={"type": "array", "items": ROW}, **more
        )
        jsonschema.validate(answer.json, schema)
        assert live.status_of(answer.json["results"]) == answer.code
        return {f"{row['name']}.{row['replica']}": row["result"] for row in answer.json["results"]}

    def ps(self) -> dict[str, tuple[str, int | None]]:
        rows = self("ps", "demo", "--format", "json").json["processes"]
        return {f"{row['name']}.{row['replica']}": (row["state"], row["pid"]) for row in rows}


@pytest.fixture
def instance(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Instance]:
    monkeypatch.chdir(tmp_path)
    with detached(home, tmp_path) as file:
        yield Instance(capsys, file)


def test_stop_start_restart_scale_signal(instance: Instance) -> None:
    first = instance.ps()
    assert instance.results("stop", "worker.2", "demo.server") == {"worker.2": "ok", "server.1": "ok"}
    stopped = instance.ps()
    assert (stopped["worker.2"][0], stopped["server.1"][0]) == ("exited", "exited")
    assert stopped["worker.1"] == first["worker.1"]  # what depends on a stopped process goes on
    assert instance.results("start", "worker") == {"worker.1": "ok", "worker.2": "ok"}
    started = instance.ps()
    assert started["server.1"][0] == "running"  # worker.2 depends on it
    assert instance.results("restart", "worker.1", "--timeout", "1m") == {"worker.1": "ok"}
    again = instance.ps()
    assert again["worker.1"][1] != started["worker.1"][1]
    assert again["worker.2"] == started["worker.2"]
    assert instance.results("start", "spare") == {"spare.1": "ok"}
    new = ("worker.3", "worker.4", "spare.2")
    assert instance.results("scale", "worker=4", "spare=2") == dict.fromkeys(new, "ok")
    assert instance.results("scale", "worker=1", "-n", "demo") == dict.fromkeys(
        ("worker.2", "worker.3", "worker.4"), "ok"
    )
    assert [name for name in instance.ps() if name.startswith("worker")] == ["worker.1"]
    assert instance.results("signal", "CONT", "server") == {"server.1": "ok"}
    assert instance.results("signal", "CONT", "once", "server") == {"once.1": "failed", "server.1": "ok"}
    table = instance("stop", str(instance.file))  # all of them; the instance stays
    assert (table.code, table.out.count(" ok")) == (0, 5)
    assert instance("ls", "--format", "json").json["instances"][0]["state"] == "up"
    assert instance.results("restart", "once") == {"once.1": "ok"}


def test_wait(instance: Instance) -> None:
    assert instance.results("wait", "once") == {"once.1": "ok"}
    assert instance.results("wait", "once", "--for", "completed") == {"once.1": "ok"}
    assert instance.results("wait", "--for", "ready") == dict.fromkeys(
        ("server.1", "worker.1", "worker.2", "once.1"), "ok"
    )
    late = instance("wait", "worker", "--timeout", "50ms")
    assert (late.code, late.out.count("timeout: ")) == (124, 2)
    assert instance("wait", "--timeout", "50ms").code == 124
    instance("stop", "worker.1")
    assert instance.results("wait", "worker.1") == {"worker.1": "ok"}
    assert instance("down", "demo").code == 0
    assert instance("wait", "demo").out == "demo down, exit status 0\n"
    assert instance.results("wait", "once", "--for", "completed") == {"once.1": "ok"}
    assert instance.results("wait", "spare", "--for", "ready") == {"spare.1": "failed"}
    with_exit = instance("wait", "--format", "json").json
    assert (with_exit["state"], with_exit["exit_code"]) == ("down", 0)


MISTAKES = [
    (["stop", "nobody"], 4, "has no process or object `nobody`"),
    (["stop", "jobs"], 2, "`jobs` is an object of demo"),
    (["stop", "worker.first"], 2, "`first` is no number of a replica of worker"),
    (["ps", "worker"], 4, "`worker` is a process of demo, not an instance"),
    (["down", "demo.worker"], 4, "For the whole instance write demo; single processes: orchestra stop"),
    (["objects", "jobs"], 4, "`jobs` is an object of demo, not an instance"),
    (["signal", "worker", "USR1"], 2, "Write orchestra signal USR1 worker"),
    (["exec", "worker", "sh", "-c", "exit 7"], 2, "orchestra exec TARGET -- CMD"),
    (["wait", "--timeout", "0"], 124, "demo has not ended in the time given: it is up"),
    (["exec", "worker", "--uses", "job:read"], 4, "Objects: "),
    (["stop", "sysv-queue:7"], 2, "is an object; this acts on processes"),
    (["start", "worker.9"], 4, "worker has no replica 9"),
    (["restart", "elsewhere.worker"], 4, "there is no instance `elsewhere`"),
    (["restart", "worker", "--timeout", "soon"], 2, "is no duration"),
    (["scale", "worker"], 2, "has no `=`"),
    (["scale", "worker=0"], 2, "worker cannot have 0 replicas"),
    (["scale", "worker=many"], 2, "is no number of replicas"),
    (["scale", "worker.1=3"], 2, "is one replica"),
    (["scale", "demo=3"], 2, "an instance cannot be scaled"),
    (["scale", "worker=2", "demo.worker=3"], 2, "given twice"),
    (["signal", "SIGNOTHING", "worker"], 2, "there is no signal"),
    (["wait", "--for", "spring"], 2, "'spring' is not one of"),
    (["exec", "demo"], 2, "whose wiring?"),
    (["exec", "worker", "--uses", "jobs:rw"], 2, "is no use of an object"),
    (["exec", "worker", "--uses", "job:read"], 4, "has no object `job`"),
]


def test_mistakes(instance: Instance) -> None:
    wrong = []
    for words, code, problem in MISTAKES:
        answer = instance(*words)
        if (answer.code, answer.out) != (code, "") or problem not in answer.err:
            wrong.append((words, answer))
    assert not wrong
    instance("down", "demo")
    for words in (["stop", "worker"], ["restart", "demo"], ["signal", "HUP", "worker"], ["exec", "worker"]):
        answer = instance(*words)
        assert answer.code == ExitCode.NOT_FOUND
        assert "demo is not up" in answer.err


def test_names_that_mean_several_instances(home: Path, instance: Instance) -> None:
    assert orchestra("up", "-d", str(instance.file), "-n", "second", home=home).code == 0
    try:
        answer = instance("stop", "demo.worker", "second.worker")
        assert (answer.code, "2 instances: demo, second" in answer.err) == (2, True)
        assert instance.results("stop", "second.worker.1") == {"worker.1": "ok"}
        assert instance.ps()["worker.1"][0] == "running"
    finally:
        orchestra("down", "second", home=home)


def test_a_status_for_every_mix_of_results() -> None:
    for results, code in (([], 0), (["ok"], 0), (["ok", "timeout"], 124), (["timeout", "failed"], 1)):
        assert live.status_of([{"result": word} for word in results]) == code


def test_completion(instance: Instance) -> None:
    from orchestra.cli import complete

    assert complete.processes("demo.worker.") == ["demo.worker.1", "demo.worker.2"]
    assert complete.processes("w") == ["worker"]
    assert "demo.jobs" not in complete.processes("demo.")
    assert complete.scales("wo") == ["worker="]
    assert complete.signals("us") == ["USR1", "USR2"]
    assert complete.signals("SIGUSR")[0] == "SIGUSR1"
    assert complete.uses("jobs:r") == ["jobs:read", "jobs:read-write"]
