"""Functions as processes, and what children are given, through a whole run: guardian, supervisor, log."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestra.cli.clientfiles import library_folder
from orchestra.kinds import Access, Family, Kind
from orchestra.runplan import Attributes, Dependency, ObjectPlan, ProcessPlan, Ready, Restart, Use
from tests.support.runs import is_alive, process, running, until

pytestmark = pytest.mark.slow

CLIENT = str(library_folder())
MODULE = """
import os, signal, sys, json
from orchestra_client import attach, ready
print("imported")

def serve(limit):
    with attach() as run:
        board = run.segment("board")
        board[int(os.environ["ORCHESTRA_REPLICA"])] = limit
        ready()
        print("ready", os.environ["ORCHESTRA_REPLICA"], os.environ["WHERE"], os.path.basename(os.getcwd()), flush=True)
    signal.pause()

def flaky(marker):
    if not os.path.exists(marker):
        open(marker, "w").close()
        raise RuntimeError("the first time")
    print("the second time")

def streams():
    print(json.dumps([os.isatty(n) for n in (0, 1, 2)]), sys.stdin.read().strip())
"""
BOARD = ObjectPlan("board", Family.POSIX, Kind.SEGMENT, size=4096)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(MODULE)
    return tmp_path


def function(name: str, what: str, **changes: Any) -> ProcessPlan:
    return ProcessPlan(name, function=f"jobs:{what}", **changes)


def test_a_function_is_wired_ready_restarted_and_stopped_as_a_program_is(folder: Path) -> None:
    (folder / "sub").mkdir()
    server = function(
        "server", "serve", arguments={"limit": 7}, replicas=2, uses=(Use("board", Access.READ_WRITE),), service=True,
        ready=Ready("notify"), directory=("sub",), environment=(("WHERE", ("here",)),),
    )  # fmt: skip
    flaky = function(
        "flaky", "flaky", arguments={"marker": str(folder / "marker")},
        restart=Restart("on-failure", delay=0.01), depends_on=(Dependency("server", "ready"),),
    )  # fmt: skip
    report = "for pid in $(pgrep -f '^server.[12] jobs:serve'); do cut -d' ' -f4 /proc/$pid/stat; done"
    last = process("last", report, after={"flaky": "completed"})
    with running(folder / "home", server, flaky, last, objects=[BOARD], folder=str(folder), python_path=CLIENT) as run:
        assert run.ended()["exit_code"] == 0, "\n".join(r["message"] for r in run.log())
        lines = run.lines("server")
        assert lines[0] == "imported"
        assert sorted(lines[1:]) == ["ready 1 here sub", "ready 2 here sub"]
        said = run.lines("flaky")
        assert said[:2] == ["imported", "Traceback (most recent call last):"]
        assert said[-2:] == ["RuntimeError: the first time", "the second time"]
        path = run.path("server", "flaky")
        assert path.index("process.ready server") < path.index("process.started flaky")
        assert path.count("process.started flaky") == 2
        assert path.count("process.exited server") == 2
        events = [record["event"] for record in run.log() if "event" in record]
        assert events.count("module.imported") == 2, "one parent for each environment"
        assert events.index("module.imported") < events.index("object.created")
        assert "descendant.killed" not in events, "the parents are no survivors"
        supervisor = next(record["data"]["pid"] if "pid" not in record else record["pid"]
                          for record in run.log() if record.get("event") == "run.started")  # fmt: skip
        parents = set(run.lines("last"))
        assert parents == {str(supervisor)}, "the replicas are the supervisor's own children"


def test_a_module_that_cannot_be_imported_leaves_no_object(folder: Path) -> None:
    (folder / "jobs.py").write_text("import json\njson.loads('{')\n")
    with running(folder / "home", function("a", "f"), objects=[BOARD], folder=str(folder)) as run:
        error = run.error()
        assert error["exit_code"] == 1
        assert error["error"]["problem"].startswith("jobs cannot be imported: json.decoder.JSONDecodeError")
        assert error["error"]["detail"].startswith("Traceback")
        assert run.path() == ["run.started", "module.failed", "run.ended"]
        (failed,) = [record for record in run.log() if record.get("event") == "module.failed"]
        assert failed["data"]["traceback"] == error["error"]["detail"], "whole, and logged"


def test_a_stop_while_a_module_is_being_imported(folder: Path) -> None:
    (folder / "jobs.py").write_text("print('slow', flush=True)\nopen('gate').read()\n")
    os.mkfifo(folder / "gate")
    with running(folder / "home", function("a", "f"), objects=[BOARD], folder=str(folder)) as run:
        run.wait_line("a", "slow")
        run.stop()
        assert run.ended()["exit_code"] == 130
        assert "object.created board" not in run.path()


def test_the_death_of_a_parent_hurts_nobody(folder: Path) -> None:
    server = function("server", "serve", arguments={"limit": 1}, uses=(Use("board", Access.READ_WRITE),), service=True,
                      environment=(("WHERE", ("here",)),), restart=Restart("always", delay=0.01))  # fmt: skip
    os.mkfifo(folder / "gate")
    with running(
        folder / "home", server, process("hold", "read x < gate"), objects=[BOARD], folder=str(folder),
        python_path=CLIENT,
    ) as run:  # fmt: skip
        run.up().wait_line("server", "ready")
        first = run.ps()["server"]["pid"]
        parent = next(r["pid"] for r in run.log() if r.get("event") == "module.imported")
        os.kill(parent, signal.SIGKILL)
        until(lambda: "module.parent_died" in [r.get("event") for r in run.log()])
        assert is_alive(first)
        os.kill(first, signal.SIGTERM)
        until(lambda: len([line for line in run.lines("server") if line.startswith("ready")]) == 2, what="the second")
        assert [r["event"] for r in run.log() if "event" in r].count("module.imported") == 2


def test_the_streams_of_programs_and_functions(folder: Path) -> None:
    (folder / "input").write_text("from a file\n")
    report = (
        "import os, sys; print([os.isatty(n) for n in (0, 1, 2)], sys.stdin.read().strip());"
        "sys.stdout.flush(); print('e', file=sys.stderr)"
    )
    with_file: dict[str, Any] = {"stdin": "file", "stdin_file": ("input",)}
    plans = [
        process("tty", sys.executable, "-c", report, output="tty", **with_file),
        process("bad", "true", stdin="file", stdin_file=("none",), escalate="ignore"),
        function("called", "streams", output="tty", **with_file),
    ]
    if shutil.which("stdbuf"):
        plans.append(process("line", "echo $PYTHONUNBUFFERED $_STDBUF_O", output="line"))
    with running(folder / "home", *plans, folder=str(folder), python_path=CLIENT) as run:
        assert run.ended()["exit_code"] == 1
        lines = {r["stream"]: r["message"] for r in run.log() if r.get("process") == "tty" and "stream" in r}
        assert lines == {"stdout": "[False, True, True] from a file", "stderr": "e"}, "in whatever order"
        assert run.lines("called")[-1] == f"{json.dumps([False, True, True])} from a file"
        failed = next(r for r in run.log() if r.get("event") == "process.launch_failed")
        assert failed["data"]["stage"] == "stdin"
        assert f"{folder}/none cannot be opened: No such file" in failed["message"]
        if shutil.which("stdbuf"):
            assert run.lines("line") == ["1 L"]


def test_attributes_of_a_whole_run(folder: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    attributes = Attributes(nice=5, umask=0o077, cpu_affinity=tuple((cpu,) for cpu in cpus),
                            limits=(("core", 0, 0),), home="/nowhere", login="somebody")  # fmt: skip
    script = "echo $(nice) $(umask) $(ulimit -c) $HOME $USER $LOGNAME; grep Cpus_allowed_list /proc/self/status"
    with running(folder / "home", process("a", script, replicas=2, attributes=attributes), folder=str(folder)) as run:
        assert run.ended()["exit_code"] == 0
        lines = run.lines("a")
        assert lines.count("5 0077 0 /nowhere somebody somebody") == 2
        seen = sorted(line.split()[1] for line in lines if line.startswith("Cpus"))
        assert seen == sorted(str(cpus[n % len(cpus)]) for n in range(2))
