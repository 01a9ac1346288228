"""A command that leaves one of each: alone in a box, and by difference on the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestra.kernel.namespaces import can_isolate
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Kind, ObjectRef
from orchestra.ledger.journal import Ledger
from tests.support.rows import object_row

ROOT = Path(__file__).parents[2]
WATCH = """
import json, sys
from orchestra.audit.watch import watch
private, name = sys.argv[1] == "private", sys.argv[2]
before = open("/proc/sys/kernel/msgmnb").read(), open("/proc/sys/kernel/sem").read()
words = [sys.executable, "-c", sys.argv[3], name]
found = watch(words, private=private, ignore=[name + ".cache*"], recorded=lambda tree: {})
same = before == (open("/proc/sys/kernel/msgmnb").read(), open("/proc/sys/kernel/sem").read())
objects = [f"{each.seen.ref}" if each.seen.name else f"{each.seen.family}-{each.seen.kind}" for each in found.findings]
print(json.dumps({
    "code": found.code, "objects": sorted(o for o in objects if name in o or private), "leaked": found.leaked,
    "ignored": found.ignored, "private": found.private, "same": same,
    "evidence": {o: each.classified.evidence for o, each in zip(objects, found.findings)},
}))
"""
LEAVES = """
import os, sys
import posix_ipc, sysv_ipc
name = sys.argv[1]
posix_ipc.MessageQueue(name, posix_ipc.O_CREX).close()
posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=10).close_fd()
posix_ipc.SharedMemory(name + ".cache1", posix_ipc.O_CREX, size=10).close_fd()
posix_ipc.Semaphore(name, posix_ipc.O_CREX).close()
posix_ipc.SharedMemory(name + ".tidy", posix_ipc.O_CREX, size=10).unlink()
if len(sys.argv) < 3 and os.environ.get("ORCT_SYSV"):
    sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=10)
    sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX).send(b"x")
    sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX).release()
sys.exit(6)
"""

pytestmark = pytest.mark.slow


def watched(how: str, name: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", WATCH, how, name, LEAVES],
        cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, **environment},
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_alone_in_a_box_everything_is_its_own(ipc_name: Callable[[], str]) -> None:
    if can_isolate():
        pytest.skip(can_isolate())
    name = ipc_name()
    found = watched("private", name, ORCT_SYSV="1")
    assert (found["code"], found["private"], found["ignored"], found["leaked"]) == (6, True, 1, 6)
    assert found["same"], "the box has the limits of the host"
    posix = [f"posix-{kind}:{name}" for kind in ("queue", "segment", "semaphore")]
    assert found["objects"] == [*posix, "sysv-queue", "sysv-segment", "sysv-semaphore"]
    for kind, words in {"segment": "made by process", "queue": "last used by", "semaphore": "last used by"}.items():
        assert found["evidence"][f"sysv-{kind}"].startswith(words)
        assert "held by nobody" in found["evidence"][f"sysv-{kind}"]
    assert not os.path.exists(f"/dev/shm{name}")


def test_on_the_host_by_difference(ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    try:
        found = watched("host", name)
        assert (found["code"], found["private"], found["ignored"]) == (6, False, 1)
        wanted = [f"posix-segment:{name}", f"posix-semaphore:{name}"]
        if os.getuid() == 0:  # who may not list queues says so, see below
            wanted.insert(0, f"posix-queue:{name}")
        assert [each for each in found["objects"] if name in each] == wanted
    finally:
        for kind in (Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE):
            adapter_for(Family.POSIX, kind).remove(ObjectRef(Family.POSIX, kind, name=name))
        adapter_for(Family.POSIX, Kind.SEGMENT).remove(ObjectRef(Family.POSIX, Kind.SEGMENT, name=f"{name}.cache1"))


def test_what_another_run_recorded_is_not_the_commands(tmp_path: Path) -> None:
    from orchestra.audit.command import Member
    from orchestra.audit.watch import recorded_by_others
    from orchestra.kinds import Handle, Identity

    with Ledger.open(tmp_path / "ledger.db") as ledger:
        for number, creator in enumerate((4711, 4712)):
            row = ledger.intend(object_row(creator_pid=creator))
            identity = Identity(Family.POSIX, Kind.SEGMENT, st_dev=27, st_ino=number)
            ledger.confirm(row, Handle(ObjectRef(Family.POSIX, Kind.SEGMENT, name="/x"), identity))
        found = recorded_by_others(ledger)({4712: Member(4712, "orchestra", 1)})
    assert found == {(27, 0): "made by run r1 of pipeline"}
