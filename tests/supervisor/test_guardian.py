"""Ending all descendants; everything else the guardian does is in the scenarios."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from orchestra.ledger.journal import Ledger
from orchestra.statedir import StateDir
from orchestra.supervisor.launch import start_guardian
from tests.support.programs import TREE
from tests.support.runs import PATIENCE, Run, is_alive, process, running, until


def test_every_descendant_is_killed_and_reaped() -> None:
    """In a process of its own, which becomes a subreaper."""
    body = (
        "import os, sys, json\n"
        "from orchestra.kernel.process import set_subreaper, children\n"
        "from orchestra.supervisor.guardian import end_descendants\n"
        "set_subreaper()\n"
        "r, w = os.pipe()\n"
        f"os.posix_spawn({TREE[0]!r}, {list(TREE)!r}, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, w, 1)])\n"
        "text = b''\n"
        "while text.count(b'\\n') < 4: text += os.read(r, 4096)\n"
        "killed = end_descendants(10)\n"
        "print(json.dumps([sorted(p for p, _ in killed), sorted(int(x.split()[-1]) for x in text.splitlines()),"
        " children(os.getpid())]))\n"
    )
    found = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, timeout=PATIENCE)
    assert found.returncode == 0, found.stderr
    killed, tree, left = json.loads(found.stdout)
    assert set(tree) <= set(killed)
    assert left == []
    assert not any(is_alive(pid) for pid in tree)


def test_a_plan_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    channel = start_guardian()
    channel.send({"op": "run", "plan": {"version": 99}, "home": str(tmp_path), "runtime": str(tmp_path)})
    run = Run(channel, StateDir(tmp_path, tmp_path), None)  # type: ignore[arg-type]
    try:
        error = run.error()
        assert error["exit_code"] == 1
        assert "plan" in error["error"]["problem"]
    finally:
        run.finish()


def test_a_state_folder_that_cannot_be_used_is_an_error_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with running(tmp_path / "home", process("a", "true")) as run:
        error = run.error()
        assert error["error"]["class"] == "StateError"
    assert sorted(os.listdir(tmp_path)) == ["home"]


def test_who_is_up_already_is_named_also_while_its_supervisor_is_not_known_yet(tmp_path: Path) -> None:
    with running(tmp_path / "home", process("a", "sleep 1000")) as run:
        run.up()
        with Ledger.open(run.places.ledger) as ledger:
            ledger.update_run(run.id, supervisor_pid=None)
        with running(tmp_path / "home", process("a", "true")) as second:
            detail = second.error()["error"]["detail"]
            assert detail == f"run {run.id} of {run.plan.file}, process {run.row().guardian_pid}"


def test_the_plan_is_kept_where_only_its_owner_reads_it(tmp_path: Path) -> None:
    with running(
        tmp_path / "home", process("a", "true"), environment={"SECRET": "x", "PATH": os.environ["PATH"]}
    ) as run:
        run.ended()
        plan = run.folder / "plan.json"
        assert plan.stat().st_mode & 0o777 == 0o600
        assert run.folder.stat().st_mode & 0o777 == 0o700
        assert json.loads(plan.read_text())["environment"]["SECRET"] == "x"


def test_names_of_the_watching_processes(tmp_path: Path) -> None:
    with running(tmp_path / "home", process("a", "sleep 1000")) as run:
        state = run.up().control().state()
        names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in (state["pid"], state["guardian"])}
        assert list(names.values()) == ["orchestra-sup", "orchestra-guard"]
        assert until(lambda: os.getsid(state["guardian"]) != os.getsid(0))
