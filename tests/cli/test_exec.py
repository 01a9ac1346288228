"""exec: what a command gets that runs with the wiring of a process, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Answer, child_environment, orchestra
from tests.support.small_runs import detached

pytestmark = pytest.mark.slow

TEXT = """\
version: 1
name: demo
queues: { jobs: { max_messages: 2, message_size: 64 }, old: { family: sysv } }
processes:
  worker:
    command: [sleep, "1000"]
    directory: sub
    environment: { COLOUR: green, TERM: none }
    uses: { jobs: read, old: write }
    umask: 0o027
    limits: { nofile: 99 }
"""

SHOW = """\
import json, os, resource
print(json.dumps({
    "cwd": os.getcwd(), "pid": os.getpid(), "environment": dict(os.environ), "umask": os.umask(0),
    "fds": {n: os.readlink(f"/proc/self/fd/{n}") for n in sorted(map(int, os.listdir("/proc/self/fd")))[:-1]},
    "flags": open("/proc/self/fdinfo/3").read().split()[3] if os.path.exists("/proc/self/fdinfo/3") else "",
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
}))
"""


@pytest.fixture
def live(home: Path, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "sub").mkdir()
    with detached(home, tmp_path, TEXT):
        yield home


def run(home: Path, *words: str, **environment: str) -> Answer:
    return orchestra("exec", *words, home=home, environment=environment)


def test_the_wiring_of_a_process(live: Path, tmp_path: Path) -> None:
    found = run(live, "demo.worker", "--", sys.executable, "-c", SHOW, TERM="xterm", MINE="1").json
    environment = found["environment"]
    assert found["cwd"] == str(tmp_path / "sub")
    assert {name: environment.get(name) for name in ("COLOUR", "ORCHESTRA_PROCESS", "TERM", "MINE", "LISTEN_FDS")} == {
        "COLOUR": "green", "ORCHESTRA_PROCESS": "worker", "TERM": "xterm", "MINE": None, "LISTEN_FDS": "1",
    }  # fmt: skip
    assert environment["LISTEN_PID"] == str(found["pid"])
    assert found["fds"]["3"] == environment["ORCHESTRA_JOBS"]
    assert set(found["fds"]) <= {"0", "1", "2", "3", "4"}
    assert int(found["flags"], 8) & os.O_ACCMODE == os.O_RDONLY
    assert (found["umask"], found["nofile"]) == (0o027, 99)
    assert json.loads(environment["ORCHESTRA_BINDINGS"])["old"]["access"] == "write"


def test_other_objects_and_other_accesses(live: Path, tmp_path: Path) -> None:
    both = run(live, "demo.worker", "--uses", "jobs:write", "--", sys.executable, "-c", SHOW).json
    assert int(both["flags"], 8) & os.O_ACCMODE == os.O_WRONLY
    assert "ORCHESTRA_OLD" in both["environment"]
    mine = run(live, "demo", "--uses", "jobs:read", "--", sys.executable, "-c", SHOW, MINE="1").json
    assert mine["cwd"] == str(tmp_path)
    assert mine["environment"]["MINE"] == "1"
    assert "COLOUR" not in mine["environment"]
    assert "ORCHESTRA_OLD" not in mine["environment"]
    assert "ORCHESTRA_HOME" not in mine["environment"]
    assert mine["fds"]["3"] == mine["environment"]["ORCHESTRA_JOBS"]


def test_it_ends_as_the_command_does(live: Path, tmp_path: Path) -> None:
    plain = tmp_path / "sub" / "plain"
    plain.write_text("not a program")
    assert run(live, "demo.worker", "--", "sh", "-c", "exit 7").code == 7
    ignored = run(live, "demo.worker", "--", "grep", "SigIgn", "/proc/self/status").out.split()[1]
    assert not int(ignored, 16) & 1 << signal.SIGPIPE - 1
    missing = run(live, "demo.worker", "--", "nosuch-program")
    assert (missing.code, "nosuch-program: command not found" in missing.err) == (127, True)
    refused = run(live, "demo.worker", "--", "./plain")
    assert (refused.code, "./plain cannot be executed" in refused.err) == (126, True)
    child = subprocess.Popen(
        [sys.executable, "-m", "orchestra", "exec", "demo.worker", "--", "sh", "-c", "echo up; exec sleep 1000"],
        env=child_environment(live), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    assert "worker" in orchestra("ps", "demo", home=live).out
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == -signal.SIGTERM
    child.stdout.close()


def test_a_shell_says_what_it_has(live: Path) -> None:
    """In a terminal of its own, as a person would have it."""
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {**child_environment(live), "SHELL": "/bin/sh", "PS1": "$ "}
        os.execve(sys.executable, [sys.executable, "-m", "orchestra", "exec", "demo.worker"], environment)
    said = b""
    os.write(terminal, b"echo colour=$COLOUR; test -t 0 && echo terminal; exit 5\n")
    while select.select([terminal], [], [], 30)[0]:
        try:
            said += os.read(terminal, 4096)
        except OSError:  # EIO: the shell has gone
            break
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 5
    text = said.decode().replace("\r", "")
    assert "a shell with the wiring of demo.worker" in text
    assert "  ORCHESTRA_JOBS  read, descriptor 3, /orc.demo.jobs." in text
    assert "colour=green\n" in text
    assert "\nterminal\n" in text
