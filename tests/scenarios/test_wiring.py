"""What a real child finds: environment, descriptors, directory, signals, and nothing of ours."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestra.bindings import Placeholder
from orchestra.kinds import Access, Family, Kind
from orchestra.runplan import ObjectPlan, ProcessPlan, Use
from tests.support.programs import WAITS, python
from tests.support.runs import Run, process, running, until

# Prints everything about itself as one JSON line.
TELL_ALL = python(
    "import fcntl, json, os, signal, stat, sys\n"
    "def fd(number):\n"
    "    info = os.fstat(number)\n"
    "    flags = fcntl.fcntl(number, fcntl.F_GETFL)\n"
    "    return {'mode': info.st_mode, 'ino': info.st_ino, 'size': info.st_size, 'access': flags & os.O_ACCMODE,\n"
    "            'nonblock': bool(flags & os.O_NONBLOCK), 'link': os.readlink(f'/proc/self/fd/{number}')}\n"
    "status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)\n"
    "numbers = [int(n) for n in os.listdir('/proc/self/fd')]\n"
    "open_now = []\n"
    "for n in numbers:\n"
    "    try: os.fstat(n)\n"
    "    except OSError: continue\n"
    "    open_now.append(n)\n"
    "print(json.dumps({'env': dict(os.environ), 'cwd': os.getcwd(), 'argv': sys.orig_argv[-2:], 'pid': os.getpid(),\n"
    "    'sid': os.getsid(0), 'pgid': os.getpgid(0), 'fds': {n: fd(n) for n in sorted(open_now)},\n"
    "    'ignored': int(status['SigIgn'], 16), 'blocked': int(status['SigBlk'], 16), 'umask': status['Umask'],\n"
    "    'files': __import__('resource').getrlimit(7)}))\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "home"


def told(run: Run, name: str = "a", replica: int = 1) -> dict[str, Any]:
    """What a process said about itself: the log keeps a JSON line's keys as data."""
    assert run.ended()["exit_code"] == 0, run.log()
    found = next(r for r in run.log() if r.get("process") == name and r.get("replica") == replica and "data" in r)
    data: dict[str, Any] = found["data"]
    return data


OBJECTS = [
    ObjectPlan("jobs", Family.POSIX, Kind.QUEUE, max_messages=4, message_size=64),
    ObjectPlan("board", Family.POSIX, Kind.SEGMENT, size=4096, extra={"x-shape": [2, 3]}),
    ObjectPlan("slots", Family.POSIX, Kind.SEMAPHORE, values=(2,)),
    ObjectPlan("results", Family.SYSV, Kind.QUEUE),
    ObjectPlan("table", Family.SYSV, Kind.SEGMENT, size=8192),
    ObjectPlan("locks", Family.SYSV, Kind.SEMAPHORE, values=(1, 0, 8)),
    ObjectPlan("scratch", Family.MEMFD, Kind.SEGMENT, size=4096),
    ObjectPlan("feed", Family.ANONYMOUS, Kind.PIPE),
    ObjectPlan("control", Family.FIFO, Kind.PIPE),
]


def uses(**access: str) -> tuple[Use, ...]:
    return tuple(Use(name, Access(value)) for name, value in access.items())


def test_every_kind_of_object_reaches_its_user(place: Path) -> None:
    wanted = uses(
        slots="read-write", jobs="write", results="read", board="read", scratch="read", feed="write",
        table="read-write", locks="read-write", control="read",
    )  # fmt: skip
    journal = ObjectPlan("journal", Family.FILE, Kind.SEGMENT, size=4096, name=str(place.parent / "journal.bin"))
    wanted += uses(journal="read-write")
    with running(
        place,
        process("a", *TELL_ALL, uses=wanted),
        process("reader", WAITS, uses=uses(feed="read"), service=True),
        objects=[*OBJECTS, journal],
    ) as run:
        data = told(run)
    env, fds = data["env"], data["fds"]
    assert sorted(fds) == ["0", "1", "2", "3", "4", "5", "6"], "nothing of the supervisor's is open"
    assert env["LISTEN_FDS"] == "4"
    assert env["LISTEN_PID"] == str(data["pid"])
    assert env["LISTEN_FDNAMES"] == "jobs:board:scratch:feed"
    numbers = {name: env[f"ORCHESTRA_{name.upper()}_FD"] for name in env["LISTEN_FDNAMES"].split(":")}
    assert numbers == {"jobs": "3", "board": "4", "scratch": "5", "feed": "6"}
    assert [fds[n]["access"] for n in "3456"] == [os.O_WRONLY, os.O_RDONLY, os.O_RDONLY, os.O_WRONLY]
    assert not any(fds[n]["nonblock"] for n in "3456")
    assert stat.S_ISFIFO(fds["6"]["mode"])
    assert fds["4"]["size"] == fds["5"]["size"] == 4096
    assert env["ORCHESTRA_JOBS"].startswith("/orc.t.jobs.")
    assert fds["3"]["link"].startswith(env["ORCHESTRA_JOBS"])
    assert env["ORCHESTRA_BOARD"].startswith("/orc.t.board.")
    assert env["ORCHESTRA_SLOTS"].startswith("/orc.t.slots.")
    for key in ("RESULTS", "TABLE", "LOCKS"):
        assert int(env[f"ORCHESTRA_{key}"]) >= 0
        assert int(env[f"ORCHESTRA_{key}_KEY"], 16) > 0
    assert env["ORCHESTRA_CONTROL"].startswith(str(place))
    assert env["ORCHESTRA_JOURNAL"] == str(place.parent / "journal.bin")
    bindings = json.loads(env["ORCHESTRA_BINDINGS"])
    assert list(bindings) == [use.object for use in wanted]
    assert bindings["board"]["x-shape"] == [2, 3]
    assert bindings["table"]["size"] == 8192


def test_identity_and_environment(place: Path) -> None:
    caller = {
        "PATH": os.environ["PATH"], "KEPT": "yes", "PYTHONPATH": "/theirs", "LISTEN_FDS": "9", "ORCHESTRA_HOME": "/x",
        "NOTIFY_SOCKET": "/n",
    }  # fmt: skip
    a = process(
        "a", *TELL_ALL, replicas=2, environment=(("MINE", ("v", Placeholder("", "replica"))), ("KEPT", ("no",)))
    )
    with running(place, a, environment=caller, python_path="/lib/orchestra") as run:
        env = told(run, replica=2)["env"]
        assert env["ORCHESTRA_RUN"] == run.id
    for name, value in {
        "ORCHESTRA_VERSION": "1", "ORCHESTRA_TOPOLOGY": "test", "ORCHESTRA_INSTANCE": "t", "ORCHESTRA_PROCESS": "a",
        "ORCHESTRA_REPLICA": "2", "MINE": "v2", "KEPT": "no", "PYTHONPATH": "/theirs:/lib/orchestra",
        "ORCHESTRA_PATH": "/lib/orchestra",
    }.items():  # fmt: skip
        assert env[name] == value
    assert not {"LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "ORCHESTRA_HOME"} & set(env)


@pytest.mark.parametrize("way", ["spawn", "fork"])
def test_a_child_starts_from_a_clean_slate(place: Path, way: str) -> None:
    objects = OBJECTS[:1] if way == "fork" else []
    a = process("a", *TELL_ALL, uses=uses(jobs="read") if way == "fork" else ())
    old = signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # as nohup does with SIGHUP
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        with running(place, a, objects=objects) as run:
            data = told(run)
    finally:
        signal.signal(signal.SIGUSR2, old)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    expected = {signal.SIGPIPE, signal.SIGXFSZ, 32, 33}  # by Python, in the child; by glibc's posix_spawn
    assert {number for number in range(1, 65) if data["ignored"] >> number - 1 & 1} <= expected
    assert data["blocked"] == 0
    assert data["pid"] == data["sid"] == data["pgid"]
    assert data["fds"]["0"]["link"] == "/dev/null"
    assert stat.S_ISFIFO(data["fds"]["1"]["mode"])
    assert data["fds"]["1"]["ino"] != data["fds"]["2"]["ino"]
    assert not data["fds"]["1"]["nonblock"]
    umask = os.umask(0)
    os.umask(umask)
    assert int(data["umask"], 8) == umask
    assert data["cwd"] == str(place.parent)


@pytest.mark.parametrize("way", ["spawn", "fork"])
def test_sigpipe_is_at_its_default(place: Path, way: str) -> None:
    a = process("a", "kill -PIPE $$; echo survived", uses=uses(jobs="read") if way == "fork" else ())
    with running(place, a, objects=OBJECTS[:1] if way == "fork" else []) as run:
        assert run.ended()["failed"][0]["reason"] == "was ended by SIGPIPE"


def test_descriptors_of_two_replicas_are_not_shared(place: Path) -> None:
    """O_NONBLOCK belongs to the open file description: one replica sets it, the other must not see it."""
    script = python(
        "import fcntl, os, time\n"
        "for n in (3, 4, 5, 6):\n"
        "    flags = fcntl.fcntl(n, fcntl.F_GETFL)\n"
        "    assert not flags & os.O_NONBLOCK, n\n"
        "    fcntl.fcntl(n, fcntl.F_SETFL, flags | os.O_NONBLOCK)\n"
        "print('ok')\n"
    )
    objects = [OBJECTS[0], OBJECTS[1], OBJECTS[6], OBJECTS[7]]
    a = process("a", *script, replicas=3, uses=uses(jobs="read", board="read", scratch="read-write", feed="read"))
    later = process("b", *script, uses=a.uses, after={"a": "completed"})
    with running(place, a, later, objects=objects) as run:
        assert run.ended()["exit_code"] == 0, run.log()
        assert len(run.lines("a")) == 3


def test_a_reader_sees_the_end_of_a_pipe_when_its_writers_have_ended(place: Path) -> None:
    with running(
        place,
        process("reader", "cat <&3", uses=uses(feed="read")),
        process("writer", "echo from $ORCHESTRA_REPLICA >&3", uses=uses(feed="write"), replicas=2),
        process("late", "echo late >&3", uses=uses(feed="write"), after={"writer": "completed"}),
        objects=[OBJECTS[7]],
    ) as run:
        assert run.ended()["exit_code"] == 0
        assert sorted(run.lines("reader")) == ["from 1", "from 2", "late"]


def test_a_writer_learns_that_nobody_reads(place: Path) -> None:
    with running(
        place,
        process("writer", "while echo x >&3; do :; done 2>/dev/null", uses=uses(feed="write")),
        process("reader", "read x <&3", uses=uses(feed="read")),
        objects=[OBJECTS[7]],
    ) as run:
        ended = run.ended()
        assert ended["failed"] == [{"process": "writer", "replica": 1, "reason": "was ended by SIGPIPE"}]


NAME = Placeholder("jobs", "name")


def test_placeholders_wire_an_unmodified_program(place: Path) -> None:
    plan = ProcessPlan(
        "a",
        (("/bin/echo",), ("id=", Placeholder("results", "id"), " fd=", Placeholder("jobs", "fd")), (NAME,)),
        uses=uses(results="read", jobs="read"),
    )
    with running(place, plan, objects=[OBJECTS[0], OBJECTS[3]]) as run:
        run.ended()
        (line,) = run.lines("a")
        identity, fd, name = line.split()
        assert int(identity.removeprefix("id=")) >= 0
        assert fd == "fd=3"
        assert name.startswith("/orc.t.jobs.")


def test_programs_are_found_as_a_shell_would(place: Path) -> None:
    folder = place.parent
    (folder / "bin").mkdir()
    for name in ("bin/tool", "local"):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$0"\n')
        (folder / name).chmod(0o755)
    path = (("PATH", (f"{folder}/bin:/usr/bin:/bin",)),)
    with running(
        place,
        process("a", "tool", "x", environment=path),
        process("b", "./local", "x"),
        process("c", "./tool", "x", directory=("bin",)),
    ) as run:
        assert run.ended()["exit_code"] == 0
        assert run.lines("a") == [f"bin/tool {folder}/bin/tool"]
        assert run.lines("b") == ["local ./local"]
        assert run.lines("c") == ["bin/tool ./tool"]


def test_a_guardian_started_without_standard_descriptors(place: Path) -> None:
    """`up <&- >&- 2>&-`: no socket of ours may take the place of stdout."""
    script = (
        "import os, sys\n"
        f"sys.path.insert(0, {os.getcwd()!r})\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "from pathlib import Path\n"
        "from tests.support.runs import process, running\n"
        f"with running(Path({str(place)!r}), process('a', 'echo hello; echo err >&2')) as run:\n"
        "    code = run.ended()['exit_code'] or len(run.lines('a')) - 2\n"
        "os._exit(code)\n"
    )
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", script], os.environ)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_more_children_than_the_limit_of_open_files(place: Path) -> None:
    script = (
        "import os, resource, sys\n"
        f"sys.path.insert(0, {os.getcwd()!r})\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))\n"
        "from pathlib import Path\n"
        "from tests.support.runs import process, running\n"
        f"with running(Path({str(place)!r}), process('a', 'ulimit -n; read x < gate; true', replicas=60)) as run:\n"
        f"    os.mkfifo({str(place.parent / 'gate')!r})\n"
        "    run.up()\n"
        "    gate = os.open(" + repr(str(place.parent / "gate")) + ", os.O_WRONLY)\n"
        "    while len(run.lines('a')) < 60: run.channel.receive(wait=True)\n"
        "    os.close(gate)\n"
        "    code = run.ended()['exit_code']\n"
        "    assert set(run.lines('a')) == {'128'}, run.lines('a')\n"
        "os._exit(code)\n"
    )
    os.set_inheritable(sys.stderr.fileno(), True)
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", script], os.environ)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_watching_processes_stay_light(place: Path) -> None:
    """Neither guardian nor supervisor ever loads what only the command line needs, nor holds the caller's files."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        with running(place, process("a", WAITS), objects=OBJECTS) as run:
            state = run.up().control().state()
            os.close(write)
            write = -1
            assert os.read(read, 1) == b"", "somebody else holds the write end"
            for pid in (state["pid"], state["guardian"]):
                maps = Path(f"/proc/{pid}/maps").read_text()
                for heavy in ("pydantic", "_yaml", "structlog", "typer"):
                    assert heavy not in maps
                assert Path(f"/proc/{pid}/cwd").readlink() in (Path("/"), place.parent)
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


def test_an_idle_supervisor_is_never_woken(place: Path) -> None:
    with running(place, *[process(f"p{n}", WAITS) for n in range(5)]) as run:
        state = run.up().control().state()
        pids = (state["pid"], state["guardian"])

        def is_quiet() -> bool:
            before = [_switches(pid) for pid in pids]
            window.poll(300)
            return before == [_switches(pid) for pid in pids]

        import select

        window = select.poll()
        until(is_quiet, what="300 ms without a wake-up")


def _switches(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
