"""Processes that say when they are ready, those that never do, and dependants that wait for it."""

from __future__ import annotations

import os
import shutil
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestra.kinds import Access, Family, Kind
from orchestra.runplan import Attributes, ObjectPlan, ProcessPlan, Ready, Restart, Use
from tests.support.programs import WAITS, python
from tests.support.runs import process, running, until

NOTIFY = (
    "import os, signal, socket\n"
    "def say(text):\n"
    "    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "    a = os.environ['NOTIFY_SOCKET']\n"
    "    s.sendto(text.encode(), '\\0' + a[1:] if a[0] == '@' else a)\n"
)
SEGMENT = f"/orct.ready-{os.getpid()}"
BOARD = ObjectPlan("board", Family.POSIX, Kind.SEGMENT, name=SEGMENT, size=4096, made_by="exists")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "home"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def shell(command: str) -> tuple[tuple[str], ...]:
    return (("/bin/sh",), ("-c",), (command,))


def gated(name: str, what: str, ready: Ready, **changes: Any) -> ProcessPlan:
    """Does `what` in a shell once somebody writes to its gate."""
    return process(name, f"read x < gate-{name}; {what}; exec sleep 1000", ready=ready, **changes)


def gated_python(name: str, what: str, ready: Ready, **changes: Any) -> ProcessPlan:
    script = f"{NOTIFY}open('gate-{name}').read()\n{what}\nwhile True: signal.pause()\n"
    return process(name, *python(script), ready=ready, **changes)


def listen(family: str, address: str) -> str:
    return f"s = socket.socket(socket.{family}); s.bind({address}); s.listen(1)"


def ways() -> list[ProcessPlan]:
    """One process of each kind; its name is the kind."""
    four, six = free_port(), free_port()
    make = f"fd = os.open('/dev/shm{SEGMENT}', os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600); os.ftruncate(fd, 4096)"
    return [
        gated_python("notify", "say('STATUS=all set'); say('READY=1\\nMAINPID=1')", Ready("notify")),
        gated("fd", "printf x >&7; echo >&7", Ready("fd", fd=7)),
        gated("log", "printf 'no\\nnow lis'; echo 'tening on 80'", Ready("log", pattern=r"^now listening on \d+$")),
        gated("exec", "touch there", Ready("exec", command=shell('test -e there && test -n "$ORCHESTRA_PID"'))),
        gated_python("tcp", listen("AF_INET", f"('127.0.0.1', {four})"), Ready("tcp", port=four)),
        gated_python("tcp6", listen("AF_INET6", f"('::1', {six})"), Ready("tcp", port=six)),
        gated_python("unix", listen("AF_UNIX", "'sock'"), Ready("unix", path=("sock",))),
        gated_python("exists", make, Ready("exists", object="board"), uses=(Use("board", Access.READ_WRITE),)),
        gated("stopped", "kill -STOP $$; echo continued", Ready("stopped")),
    ]


def test_a_dependant_starts_once_it_is_ready_and_not_before(place: Path) -> None:
    processes = ways()
    names = [plan.name for plan in processes]
    for name in names:
        os.mkfifo(place.parent / f"gate-{name}")
    after = [process(f"b-{name}", "echo up", after={name: "ready"}) for name in names]
    with running(place, *processes, *after, objects=[BOARD]) as run:

        def has_run(name: str) -> bool:
            return f"process.exited {name}" in run.path()

        run.up()
        until(lambda: all(run.ps()[name]["pid"] for name in names))
        assert {run.ps()[name]["state"] for name in names} == {"starting"}
        assert {run.ps()[f"b-{name}"]["state"] for name in names} == {"pending"}
        for name in names:
            assert f"process.started b-{name}" not in run.path()
            (place.parent / f"gate-{name}").write_text("\n")
            until(partial(has_run, f"b-{name}"), what=name)
            before = {"notify": "process.status notify", "exists": "object.made exists"}.get(name)
            assert run.path(name, f"b-{name}") == [
                f"process.started {name}",
                *([before] if before else []),
                f"process.ready {name}",
                f"process.started b-{name}",
                f"process.exited b-{name}",
            ]
        assert {run.ps()[name]["state"] for name in names} == {"ready"}
        run.wait_line("stopped", "continued")
        run.stop()
        assert run.ended()["objects_left"] == []
        assert run.errors() == ""
        assert not list(run.folder.glob("notify.*"))
        assert not Path(f"/dev/shm{SEGMENT}").exists()


def late(name: str, command: str, ready: Ready) -> ProcessPlan:
    return process(name, command, ready=ready, escalate="ignore")


LATE = [
    (late("notify", WAITS, Ready("notify", timeout=0.1)), "READY=1 did not come"),
    (late("log", "printf ready; exec sleep 1000", Ready("log", pattern="ready", timeout=0.4)), "output: line"),
    (late("exec", WAITS, Ready("exec", command=shell("echo no db >&2; exit 4"), timeout=1.0)), "code 4: no db)"),
    (late("hangs", WAITS, Ready("exec", command=shell("sleep 1000 & wait"), timeout=0.2)), "did not exit with 0"),
    (late("tcp", WAITS, Ready("tcp", port=free_port(), timeout=0.2)), "Connection refused"),
    (late("unix", WAITS, Ready("unix", path=("nowhere",), timeout=0.2)), "No such file"),
    (late("exists", WAITS, Ready("exists", object="board", timeout=0.1)), "board does not exist"),
    (late("stopped", WAITS, Ready("stopped", timeout=0.1)), "SIGSTOP"),
    (late("fd", "exec 5>&-; exec sleep 1000", Ready("fd", fd=5)), "closed descriptor 5"),
]


def test_one_that_is_not_ready_in_time_has_failed_and_is_stopped(place: Path) -> None:
    after = [process(f"b-{plan.name}", "echo never", after={plan.name: "ready"}) for plan, _ in LATE]
    board = BOARD._replace(name=f"{SEGMENT}-late")
    with running(place, *(plan for plan, _ in LATE), *after, objects=[board]) as run:
        ended = run.ended()
        assert ended["exit_code"] == 1
        reasons = {failure["process"]: failure["reason"] for failure in ended["failed"]}
        for plan, words in LATE:
            assert words in reasons[plan.name]
            assert run.rows()[f"b-{plan.name}.1"].state == "skipped"
            assert run.path(plan.name) == [
                f"process.{what} {plan.name}" for what in ("started", "rejected", "stopping", "exited", "failed")
            ]
        assert ended["processes_left"] == []
        assert "descendant.killed" not in run.path()


def test_what_a_process_said_before_it_ended_counts(place: Path) -> None:
    """Its word and its end come together: the supervisor sees both at once."""
    with running(
        place,
        process("a", *python(NOTIFY + "say('READY=1')"), ready=Ready("notify")),
        process("c", "echo >&9", ready=Ready("fd", fd=9)),
        process("d", "printf ready", ready=Ready("log", pattern="ready")),
        process("b", "echo up", after={"a": "ready", "c": "ready", "d": "ready"}),
    ) as run:
        assert run.ended()["exit_code"] == 0
        assert run.lines("b") == ["up"]
        for name in "acd":
            assert run.path(name) == [f"process.started {name}", f"process.ready {name}", f"process.exited {name}"]


def test_one_that_ends_before_it_is_ready_has_failed(place: Path) -> None:
    with running(
        place, process("a", "true", ready=Ready("fd", fd=3)), process("b", "true", after={"a": "ready"})
    ) as run:
        ended = run.ended()
        assert ended["failed"][0]["reason"] == "exited with code 0 before it was ready"
        assert "process.rejected a" not in run.path()


def test_a_watchdog(place: Path) -> None:
    once = python(f"{NOTIFY}say('READY=1'); say('WATCHDOG=1'); print(os.environ['WATCHDOG_USEC'])\nsignal.pause()")
    command = ("/usr/bin/env", "PYTHONUNBUFFERED=1", once[0], *once[3:])
    with running(place, process("a", *command, ready=Ready("notify"), watchdog=0.5)) as run:
        ended = run.ended()
        assert "WATCHDOG=1" in ended["failed"][0]["reason"]
        assert run.lines("a")[0] == "500000"
        assert run.path("a") == [
            f"process.{what} a"
            for what in ("started", "ready", "watchdog", "rejected", "stopping", "exited", "failed")
        ]  # fmt: skip
        assert run.rows()["a.1"].signal == "SIGABRT"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process as another user")
@pytest.mark.skipif(shutil.which("perl", path="/usr/bin") is None, reason="needs a program that any user can run")
def test_a_process_of_another_user_can_say_that_it_is_ready(place: Path) -> None:
    script = (
        "use Socket; my $a = $ENV{NOTIFY_SOCKET}; $a =~ s/^@/\\0/; socket(my $s, PF_UNIX, SOCK_DGRAM, 0);"
        'send($s, "READY=1", 0, pack("Sa*", AF_UNIX, $a)) or die $!; sleep 1000'
    )
    attributes = Attributes(user=65534, group=65534, groups=())
    with running(
        place,
        process("a", "/usr/bin/perl", "-e", script, ready=Ready("notify"), attributes=attributes),
        process("b", "echo up", after={"a": "ready"}),
        folder="/",
    ) as run:
        run.wait_line("b", "up")
        run.stop()
        run.ended()


def test_functions_are_ready_restarted_and_stopped_as_programs_are(place: Path) -> None:
    (place.parent / "jobs.py").write_text(
        f"{NOTIFY}\n"
        "def notify():\n    say('READY=1'); signal.pause()\n"
        "def fd():\n    os.write(int(os.environ['ORCHESTRA_READY_FD']), b'\\n'); signal.pause()\n"
        "def log():\n    print('listening', flush=True); signal.pause()\n"
        "def stopped():\n    os.kill(os.getpid(), signal.SIGSTOP); signal.pause()\n"
        "def fails():\n    say('READY=1'); os._exit(3)\n"
    )
    ways = {
        "notify": Ready("notify"),
        "fd": Ready("fd", fd=20),
        "log": Ready("log", pattern="listening"),
        "stopped": Ready("stopped"),
    }
    stop = shell("echo stop $ORCHESTRA_PID; exit 1")
    functions = [
        ProcessPlan(name, function=f"jobs:{name}", ready=ready, stop_command=stop, service=True)
        for name, ready in ways.items()
    ]
    restart = Restart("on-failure", limit=1, delay=0.01)
    fails = ProcessPlan("fails", function="jobs:fails", ready=Ready("notify"), restart=restart, escalate="ignore")
    with running(place, *functions, fails, process("end", "true", after=dict.fromkeys(ways, "ready"))) as run:
        ended = run.ended()
        assert [failure["process"] for failure in ended["failed"]] == ["fails"]
        for name in ways:
            assert run.path(name) == [
                f"process.{what} {name}" for what in ("started", "ready", "stopping", "stop_command_failed", "exited")
            ]
            assert run.lines(name)[-1] == f"stop {run.rows()[f'{name}.1'].pid}"
        once = ["process.started fails", "process.ready fails", "process.exited fails"]
        assert run.path("fails") == [*once, "process.restarting fails", *once, "process.failed fails"]
