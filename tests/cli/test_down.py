"""down: of a live instance, of an ended one, after a crash."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest

from tests.support.cli import orchestra
from tests.support.small_runs import (
    QUEUE,
    USER,
    topology,
    wait_until_not_live,
)

pytestmark = pytest.mark.slow


def test_detached_it_returns_and_down_ends_it(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, USER, QUEUE)
    up = orchestra("up", "-d", home=home, cwd=tmp_path)
    try:
        assert (up.code, up.out) == (0, "")
        assert up.err.startswith("demo is up: run ")
        assert "orchestra down demo" in up.err
        listed = orchestra("ls", "--format", "json", home=home).json["instances"][0]
        assert (listed["state"], listed["processes"], listed["objects"]) == ("up", 1, 1)
        shown = orchestra("ps", "--format", "json", home=home).json
        assert shown["state"] == "up"
        assert [(p["name"], p["state"]) for p in shown["processes"]] == [("sleeper", "running")]
        again = orchestra("up", home=home, cwd=tmp_path)
        assert (again.code, again.out) == (5, "")
        assert "demo is already up" in again.err
    finally:
        down = orchestra("down", home=home, cwd=tmp_path)
    assert (down.code, down.out) == (0, "")
    assert "demo is down: 1 object removed" in down.err
    again = orchestra("down", "demo", home=home)
    assert (again.code, again.err) == (0, "demo was down already\n")


def test_after_a_crash_down_finishes_and_audit_tells(home: Path, tmp_path: Path) -> None:
    topology(tmp_path, USER, QUEUE)
    orchestra("up", "-d", home=home, cwd=tmp_path)
    run = orchestra("ps", "--format", "json", home=home).json["run"]
    pid = orchestra("ls", "--format", "json", home=home).json["instances"][0]["pid"]
    gone = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([gone], [], [], 10)
    os.close(gone)
    crashed = wait_until_not_live(home)
    assert crashed["state"] == "crashed"
    audit = orchestra("audit", "--format", "junit", "-o", str(tmp_path / "audit.xml"), home=home)
    assert (audit.code, audit.out) == (3, "")
    assert run in (tmp_path / "audit.xml").read_text()
    assert orchestra("audit", "--exit-zero", home=home).code == 0
    down = orchestra("down", "demo", home=home)
    assert (down.code, "1 object removed" in down.err) == (0, True)
    assert orchestra("audit", home=home).code == 0
