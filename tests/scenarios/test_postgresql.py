"""PostgreSQL, killed with SIGKILL beside another server of the same user: the verdicts on what each of them made."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.audit.survey import survey
from orchestra.kernel import procfs
from orchestra.kernel.namespaces import make_private_ipc
from orchestra.ledger.journal import Ledger
from tests.conformance.worlds import in_child

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAMS, reason="PostgreSQL is not installed"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user postgres may enter, with two data directories."""
    user = pwd.getpwnam("postgres")
    folder = Path(tempfile.mkdtemp(prefix="orct-pg-", dir="/tmp"))
    os.chown(folder, user.pw_uid, user.pw_gid)
    as_postgres([str(PROGRAMS[-1].parent / "initdb"), "-D", str(folder / "a"), "-A", "trust", "-N"])
    as_postgres(["cp", "-a", str(folder / "a"), str(folder / "b")])
    yield folder
    shutil.rmtree(folder)


def as_postgres(argv: list[str], **options: Any) -> None:
    subprocess.run(
        argv, user="postgres", group="postgres", extra_groups=[], check=True, cwd="/",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options,
    )  # fmt: skip


def start(folder: Path, name: str) -> int:
    """Start a server and wait until it takes connections; return the pid of its postmaster."""
    data = folder / name
    options = f"-c listen_addresses= -k {data} -c dynamic_shared_memory_type=posix"
    argv = [str(PROGRAMS[-1].parent / "pg_ctl"), "-w", "-D", str(data), "-o", options, "-l", f"{data}.log", "start"]
    as_postgres(argv)
    return int((data / "postmaster.pid").read_text().split()[0])


def end(postmaster: int) -> None:
    """Kill it and all its backends, and wait until they are gone."""
    every = [postmaster, *procfs.descendants(postmaster)]
    waiting = [os.pidfd_open(pid) for pid in every]
    for pid in every:
        os.kill(pid, signal.SIGKILL)
    for fd in waiting:
        import select

        select.select([fd], [], [], 30)
        os.close(fd)


def findings() -> list[dict[str, Any]]:
    with Ledger.open(Path("/nonexistent/ledger.db"), create=False) as ledger:
        return [each.to_json() for each in survey(ledger, lambda run: False).findings]


def test_the_killed_server_and_the_one_beside_it(folder: Path) -> None:
    def scene() -> list[Any]:
        make_private_ipc()
        first, second = start(folder, "a"), start(folder, "b")
        family = [[pid, *procfs.descendants(pid)] for pid in (first, second)]
        both = findings()
        end(first)
        one = findings()
        end(second)
        return [both, one, findings(), family]

    both, one, none, (first, second) = in_child(scene)
    assert {item["verdict"] for item in both} == {"foreign"}
    assert {item["rule"] for item in both} == {"postgresql-dynamic", "postgresql-interlock"}
    assert {item["owner"] for item in both} == {"postgres"}
    for item in both:
        pids = {holder["pid"] for holder in item["holders"]}
        assert pids
        assert pids <= set(first) or pids <= set(second), "no object is shared by two servers"
        assert {holder["command"] for holder in item["holders"]} == {"postgres"}
        assert {holder["user"] for holder in item["holders"]} == {"postgres"}

    orphans = [item for item in one if item["verdict"] == "orphan"]
    (interlock,) = [item for item in orphans if item["kind"] == "segment" and item["family"] == "sysv"]
    assert (interlock["size"], interlock["removable"], interlock["holders"]) == (56, True, [])
    assert f"process {first[0]}, which created it, is gone" in interlock["evidence"]
    held = [item for item in one if item["holders"]]
    assert {item["verdict"] for item in held} == {"foreign"}
    assert {holder["pid"] for item in held for holder in item["holders"]} <= set(second)
    for item in one:
        if item["family"] == "posix" and not item["holders"] and item["verdict"] != "orphan":
            assert item["verdict"] == "foreign", "it might be the other server's"
            assert "normal while a program of its family runs" in item["evidence"]

    assert len(none) == len(both)
    if os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC and not any("postgres" in item["evidence"] for item in none):
        assert {(item["verdict"], item["removable"]) for item in none} == {("orphan", True)}
