"""Functions as processes: real parents and real children, driven as the loop drives them."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import LaunchFailed, OrchestraError, UsageError
from orchestra.kernel.process import is_subreaper, set_subreaper
from orchestra.runplan import Attributes, ProcessPlan
from orchestra.supervisor import preload, spawn
from orchestra.supervisor.preload import Preloads
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.spawn import Launch
from orchestra.supervisor.states import Who
from tests.support.runs import PATIENCE, is_alive, until

MODULE = """
import json, os, random, sys, threading
print("imported by", os.getpid(), flush=True)
LOG = open("kept.txt", "a")          # stays open, as a module that logs has it
NUMBER = random.random()

def tell(**arguments):
    fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
    known = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in fds if os.path.exists(f"/proc/self/fd/{fd}")}
    stat = open("/proc/self/stat").read().rpartition(")")[2].split()
    print(json.dumps({
        "arguments": arguments, "pid": os.getpid(), "session": os.getsid(0), "group": os.getpgid(0), "cwd": os.getcwd(),
        "environment": dict(os.environ), "fds": known, "comm": open("/proc/self/comm").read().strip(),
        "cmdline": open("/proc/self/cmdline").read().strip("\\0"), "argv": sys.argv, "random": random.random(),
        "cpus": sorted(os.sched_getaffinity(0)), "umask": os.umask(0), "uid": os.getresuid(),
        "blocked": open("/proc/self/status").read().partition("SigBlk:")[2].split()[0],
        "stdin": sys.stdin.readline(), "threads": threading.active_count(),
    }))

def returns(value):
    return value

def leaves(code):
    sys.exit(code)

def fails():
    inner = {}
    return inner["no such key"]

def interrupted():
    raise KeyboardInterrupt

def late():
    import atexit
    atexit.register(print, "at exit")
    threading.Thread(target=lambda: print("thread")).start()
    sys.stdout.write("no newline")
"""


def _is_inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:  # the one that lists
        return False


def _inherited() -> set[int]:
    """What whoever started the tests left open for every program: no doing of ours."""
    return {int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) > 2 and _is_inheritable(int(fd))}


class Bench:
    """The loop's part: opens launches, notes answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reactor = Reactor()
        self.answers: dict[Who, int | LaunchFailed] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.null = os.open(os.devnull, os.O_RDWR)
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        self.changes: dict[str, Any] = {}
        self.more: dict[str, str] = {}
        self.plans: dict[str, ProcessPlan] = {}
        self.preloads = Preloads(
            self.reactor, self, str(folder), self.environment, python=sys.executable, null=self.null
        )

    def environment(self, plan: ProcessPlan) -> tuple[dict[str, str], list[int]]:
        known = {"PATH": os.environ["PATH"], "BEFORE": "x", "SAME": "y"}
        return {**known, **{name: str(value[0]) for name, value in plan.environment}}, [3, 9]

    def begin(self, *plans: ProcessPlan) -> None:
        self.plans.update({plan.name: plan for plan in plans})
        self.preloads.prepare(self.plans.values())
        self.turn(lambda: not self.preloads.is_importing)

    def problem(self, *plans: ProcessPlan) -> OrchestraError:
        self.begin(*plans)
        assert self.preloads.problem is not None
        return self.preloads.problem

    def turn(self, condition: Any) -> None:
        def done() -> Any:
            self.reactor.turn(wait=False)
            return condition()

        until(done)

    def start(self, *whos: Who) -> list[int | LaunchFailed]:
        for who in whos:
            self.answers.pop(who, None)
            self.preloads.start(who, self.plans[who.process])
        self.turn(lambda: all(who in self.answers for who in whos))
        return [self.answers[who] for who in whos]

    def end_of(self, who: Who) -> int:
        (pid,) = self.start(who)
        assert isinstance(pid, int), pid
        return reaped(pid)

    # -- hooks --

    @contextmanager
    def opened(self, who: Who) -> Iterator[Launch]:
        plan = self.plans[who.process]
        with self.out.open("ab") as out, self.err.open("ab") as err:
            environment = {"PATH": os.environ["PATH"], "SAME": "y", "NEW": str(who.replica), **self.more}
            changes = {"directory": str(self.folder), "passed": (self.null,), **self.changes}
            yield Launch(
                [str(who), plan.function], changes.pop("directory"), environment, changes.pop("stdin", self.null),
                out.fileno(), err.fileno(), attributes=plan.attributes, replica=who.replica,
                function=plan.function, arguments=plan.arguments, **changes,
            )  # fmt: skip

    def forked(self, who: Who, pid: int) -> None:
        self.running = who, pid

    def begun(self, who: Who, pid: int) -> None:
        assert self.running == (who, pid)
        self.answers[who] = pid

    def refused(self, who: Who, error: LaunchFailed) -> None:
        self.answers[who] = error

    @contextmanager
    def streams(self, process: str, key: object) -> Iterator[tuple[int, int]]:
        with self.out.open("ab") as out, self.err.open("ab") as err:
            yield out.fileno(), err.fileno()

    def read(self, key: object, pid: int) -> None:
        self.parent = pid

    def released(self, key: object, pid: int) -> None:
        self.gone = pid

    def say(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    def said(self) -> list[Any]:
        """The JSON lines of `tell`."""
        return [json.loads(line) for line in self.out.read_text().splitlines() if line.startswith("{")]

    def close(self) -> None:
        self.preloads.close()
        self.reactor._epoll.close()
        os.close(self.null)


def reaped(pid: int) -> int:
    """Wait for a child of ours; -N for a signal."""
    poll = select.poll()
    fd = os.pidfd_open(pid)
    try:
        poll.register(fd, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), f"{pid} does not end"
    finally:
        os.close(fd)
    found: list[int] = []

    def mine() -> bool:
        try:
            found.append(os.waitpid(pid, 0)[1])
        except ChildProcessError:  # it is still the midwife's
            return False
        return True

    until(mine)
    return os.waitstatus_to_exitcode(found[0])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "jobs.py").write_text(MODULE)
    before, was = os.getcwd(), is_subreaper()
    set_subreaper()
    made = Bench(tmp_path)
    yield made
    made.close()
    os.chdir(before)
    set_subreaper(was)


def plan(name: str, function: str, *, arguments: dict[str, Any] | None = None, **changes: Any) -> ProcessPlan:
    return ProcessPlan(name, function=f"jobs:{function}", arguments=arguments or {}, **changes)


@pytest.mark.slow
def test_a_child_has_all_that_it_was_given_and_nothing_else(bench: Bench) -> None:
    cpus, others = sorted(os.sched_getaffinity(0)), _inherited()
    attributes = Attributes(umask=0o027, cpu_affinity=tuple((cpu,) for cpu in cpus))
    bench.begin(plan("a", "tell", arguments={"limit": 3, "deep": {"x": [1, None]}}, attributes=attributes))
    (bench.folder / "sub").mkdir()
    (bench.folder / "input").write_text("a line\n")
    stdin = os.open(bench.folder / "input", os.O_RDONLY)
    ready, write = os.pipe()
    bench.changes = {
        "directory": str(bench.folder / "sub"), "stdin": stdin, "reads_input": True, "extra_fds": {9: write},
    }  # fmt: skip
    whos = [Who("a", number) for number in (1, 2, 3)]
    pids = bench.start(*whos)
    for fd in (stdin, ready, write):
        os.close(fd)
    assert [reaped(pid) for pid in pids if isinstance(pid, int)] == [0, 0, 0], bench.err.read_text()
    told = {one["pid"]: one for one in bench.said()}
    assert sorted(told) == sorted(pids)  # type: ignore[type-var]
    one, two = told[pids[0]], told[pids[1]]
    assert one["arguments"] == {"limit": 3, "deep": {"x": [1, None]}}
    assert (one["session"], one["group"], one["cwd"]) == (one["pid"], one["pid"], str(bench.folder / "sub"))
    environment = one["environment"]
    assert (environment["NEW"], environment["SAME"], environment["LISTEN_PID"]) == ("1", "y", str(one["pid"]))
    assert "BEFORE" not in environment
    assert (one["comm"], one["cmdline"], one["argv"]) == ("a.1", "a.1 jobs:tell", ["jobs:tell"])
    assert one["random"] != two["random"]
    assert sorted(each["stdin"] for each in told.values()) == ["", "", "a line\n"], "one offset for all three"
    assert (one["umask"], one["blocked"], one["threads"]) == (0o027, "0" * 16, 1)
    assert [told[pid]["cpus"] for pid in pids] == [[cpus[n % len(cpus)]] for n in range(3)]
    files = {int(fd): path for fd, path in one["fds"].items() if int(fd) not in others}
    kept = [fd for fd, path in files.items() if path.endswith("kept.txt")]
    assert sorted(files) == sorted([0, 1, 2, 3, 9, *kept]), str(files)
    assert files[3] == os.devnull
    assert files[9].startswith("pipe:")


@pytest.mark.slow
def test_what_a_function_returns_is_how_its_process_ends(bench: Bench) -> None:
    cases: list[tuple[str, Any, int]] = [
        ("returns", None, 0), ("returns", 0, 0), ("returns", 7, 7), ("returns", 256, 1), ("returns", -1, 255),
        ("returns", "no", 1), ("leaves", None, 0), ("leaves", 9, 9), ("leaves", "words", 1),
    ]  # fmt: skip
    plans = [
        plan(f"p{number}", name, arguments={"value" if name == "returns" else "code": value})
        for number, (name, value, _) in enumerate(cases)
    ]
    bench.begin(*plans, plan("fails", "fails"), plan("interrupted", "interrupted"), plan("late", "late"))
    assert [bench.end_of(Who(each.name, 1)) for each in plans] == [code for *_, code in cases]
    assert bench.err.read_text().splitlines() == ["no", "words"]
    bench.err.write_text("")
    assert bench.end_of(Who("fails", 1)) == 1
    lines = bench.err.read_text().splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{bench.folder}/jobs.py", line ')
    assert lines[-1] == "KeyError: 'no such key'"
    assert "forkserver" not in bench.err.read_text()
    assert bench.end_of(Who("interrupted", 1)) == -signal.SIGINT
    bench.out.write_text("")
    assert bench.end_of(Who("late", 1)) == 0
    assert bench.out.read_text().replace("\n", " ").split() == ["thread", "no", "newlineat", "exit"]
    assert [event for event, _ in bench.events] == ["module.imported"], "one parent serves them all"


SYSTEM_PYTHON = Path("/usr/bin/python3")
THREADED = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
def f(): pass
"""
NATIVE = """
import ctypes
libc = ctypes.CDLL(None)
number = ctypes.c_ulong()
libc.pthread_create(ctypes.byref(number), None, libc.pause, None)
def f(): pass
"""
WHO = """
import json, os
WHO = [*os.getresuid(), *os.getresgid(), *os.getgroups()]
def f(): print(json.dumps({"who": WHO}))
"""
IMPORTS = {
    "raises": ("import json\njson.loads('{')\n", "import", "JSONDecodeError"),
    "lacks": ("import no_such_thing\n", "import", "No module named 'no_such_thing'"),
    "exits": ("import sys\nsys.exit(3)\n", "import", "SystemExit: 3"),
    "broken": ("def f(:\n", "import", "SyntaxError"),
    "threaded": (THREADED, "threads", "started threads, which a fork would lose: Thread-"),
    "native": (NATIVE, "threads", "1 of a library's own"),
}


@pytest.mark.slow
def test_a_module_that_cannot_be_a_parent_says_why(bench: Bench) -> None:
    for name, (text, stage, words) in IMPORTS.items():
        (bench.folder / f"{name}.py").write_text(text)
        fresh = Bench(bench.folder)
        try:
            problem = fresh.problem(ProcessPlan("p", function=f"{name}:f"))
        finally:
            fresh.close()
        assert isinstance(problem, LaunchFailed)
        assert problem.stage == stage
        assert words in problem.problem
        assert not is_alive(fresh.parent)
        if stage == "import":
            assert problem.detail.startswith(("Traceback (most recent call last):\n", "  File "))
            assert f'File "{bench.folder}/{name}.py"' in problem.detail
            assert "importlib" not in problem.detail
            assert problem.exit_code == 1


@pytest.mark.slow
def test_a_name_that_leads_nowhere_is_an_error_of_the_file(bench: Bench) -> None:
    problem = bench.problem(plan("p", "retruns"))
    assert isinstance(problem, UsageError)
    assert (problem.problem, problem.hint) == ("jobs has no function retruns", "Did you mean returns?")
    fresh = Bench(bench.folder)
    problem = fresh.problem(ProcessPlan("p", function="jbos:f"))
    fresh.close()
    assert isinstance(problem, UsageError)
    assert problem.problem == "there is no module jbos"
    assert str(bench.folder) in problem.hint


@pytest.mark.slow
def test_a_start_that_fails_says_at_which_step(bench: Bench) -> None:
    affinity = Attributes(cpu_affinity=((900,),))
    bench.begin(plan("a", "tell"), plan("b", "tell", attributes=affinity))
    bench.changes = {"directory": str(bench.folder / "none")}
    (error,) = bench.start(Who("a", 1))
    assert isinstance(error, LaunchFailed)
    assert (error.stage, error.errno) == ("chdir", errno.ENOENT)
    assert error.problem.startswith(f"cannot enter the directory {bench.folder}/none")
    bench.changes = {}
    (error,) = bench.start(Who("b", 1))
    assert isinstance(error, LaunchFailed)
    assert (error.stage, error.problem) == ("affinity", "the processors 900 cannot be used: Invalid argument")
    assert bench.end_of(Who("a", 1)) == 0, "the parent serves on"
    for _ in range(2):
        until(lambda: os.waitpid(-1, os.WNOHANG)[1], what="the ends of the two that failed")


@pytest.mark.slow
def test_an_environment_larger_than_a_packet(bench: Bench) -> None:
    bench.begin(plan("a", "tell"))
    bench.more = {f"V{n}": "v" * 10_000 for n in range(30)}
    assert bench.end_of(Who("a", 1)) == 0
    assert bench.said()[0]["environment"]["V29"] == "v" * 10_000


@pytest.mark.slow
def test_a_hundred_in_a_row_are_all_ours_and_each_is_reaped(bench: Bench) -> None:
    bench.begin(plan("a", "returns", arguments={"value": 5}))
    pids = bench.start(*[Who("a", number) for number in range(1, 101)])
    assert [reaped(pid) for pid in pids if isinstance(pid, int)] == [5] * 100


@pytest.mark.slow
def test_a_parent_that_dies_is_reported_at_the_next_start_and_replaced(bench: Bench) -> None:
    bench.begin(plan("a", "returns", arguments={"value": 0}))
    first = bench.parent
    os.kill(first, signal.SIGKILL)
    bench.turn(lambda: any(event == "module.parent_died" for event, _ in bench.events))
    assert bench.events[-1][1]["reason"] == "was ended by SIGKILL"
    assert bench.end_of(Who("a", 1)) == 0
    assert bench.parent != first
    assert [event for event, _ in bench.events][-2:] == ["module.parent_died", "module.imported"]
    with pytest.raises(ChildProcessError):
        os.waitpid(first, 0)


@pytest.mark.slow
def test_an_edited_module_is_imported_anew_by_the_next_start(bench: Bench) -> None:
    bench.begin(plan("a", "returns", arguments={"value": 1}))
    assert bench.end_of(Who("a", 1)) == 1
    (bench.folder / "jobs.py").write_text("def returns(value): return 42\n")
    first = bench.parent
    assert bench.end_of(Who("a", 1)) == 42
    assert not is_alive(first)
    (bench.folder / "jobs.py").write_text("nonsense\n")
    (error,) = bench.start(Who("a", 1))
    assert isinstance(error, LaunchFailed)
    assert (error.stage, error.problem) == (
        "import", "jobs cannot be imported: NameError: name 'nonsense' is not defined",
    )  # fmt: skip
    assert bench.err.read_text().splitlines()[-1] == "NameError: name 'nonsense' is not defined", "whole, in the log"
    (bench.folder / "jobs.py").write_text("def returns(value): return 43\n")
    assert bench.end_of(Who("a", 1)) == 43


@pytest.mark.slow
def test_starts_that_nobody_wants_any_more_are_taken_back(bench: Bench) -> None:
    (bench.folder / "slow.py").write_text("open('go').read()\ndef f(): pass\n")
    os.mkfifo(bench.folder / "go")
    bench.plans["s"] = ProcessPlan("s", function="slow:f")
    bench.preloads.prepare(bench.plans.values())
    for number in (1, 2):
        bench.preloads.start(Who("s", number), bench.plans["s"])
    assert bench.preloads.withdraw(lambda who: who.replica == 1) == [Who("s", 1)]
    (bench.folder / "go").write_text("")
    bench.turn(lambda: Who("s", 2) in bench.answers)
    assert Who("s", 1) not in bench.answers
    pid = bench.answers[Who("s", 2)]
    assert isinstance(pid, int)
    assert reaped(pid) == 0


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.other_user
def test_the_module_is_imported_as_the_user_that_the_process_has(bench: Bench) -> None:
    _open_to_all(bench.folder)
    (bench.folder / "who.py").write_text(WHO)
    attributes = Attributes(user=65534, group=65534, groups=(65534,), nice=3, limits=(("nofile", 50, 60),))
    if not SYSTEM_PYTHON.exists():
        pytest.skip(f"no {SYSTEM_PYTHON}, which everybody may execute")
    bench.begin(ProcessPlan("w", function="who:f", attributes=attributes, python=str(SYSTEM_PYTHON)))
    assert bench.preloads.problem is None
    assert bench.end_of(Who("w", 1)) == 0
    assert bench.said()[0]["who"] == [65534] * 7
    bench.folder.chmod(0o711)
    fresh = Bench(bench.folder)
    problem = fresh.problem(ProcessPlan("w", function="who:f", attributes=attributes, python=str(SYSTEM_PYTHON)))
    fresh.close()
    assert problem.hint == f"{bench.folder} may not be read by user 65534."


@pytest.mark.slow
def test_an_interpreter_that_is_none(bench: Bench) -> None:
    with pytest.raises(LaunchFailed, match="does not exist"):
        bench.begin(plan("a", "tell", python="/no/such/python"))
    fresh = Bench(bench.folder)
    problem = fresh.problem(plan("a", "tell", python="/bin/false"))
    fresh.close()
    assert problem.problem == "the parent of jobs exited with code 1 while it was importing"


@pytest.mark.slow
def test_a_parent_that_does_not_answer_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preload, "ANSWER", 0.2)
    bench.begin(plan("a", "returns", arguments={"value": 0}))
    os.kill(bench.parent, signal.SIGSTOP)
    (error,) = bench.start(Who("a", 1))
    assert isinstance(error, LaunchFailed)
    assert (error.stage, error.problem) == ("fork", "the parent of jobs was ended by SIGKILL")
    assert bench.end_of(Who("a", 1)) == 0, "the next start has another"


@pytest.mark.slow
def test_an_ordinary_user_runs_functions_too(tmp_path: Path) -> None:
    """Everything as uid 65534 with no capability, on an interpreter that everybody may execute."""
    if not SYSTEM_PYTHON.exists() or not _others_can_read(Path(preload.__file__)):
        pytest.skip(f"needs {SYSTEM_PYTHON}, and a checkout that everybody can read")
    (tmp_path / "jobs.py").write_text(MODULE)
    _open_to_all(tmp_path)
    tmp_path.chmod(0o777)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        answer: Any = "nothing"
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            set_subreaper()
            spawn._identity.cache_clear()
            bench = Bench(tmp_path)
            attributes = Attributes(nice=4, limits=(("core", 0, 0),))
            bench.begin(plan("a", "tell", python=str(SYSTEM_PYTHON), attributes=attributes))
            code = bench.end_of(Who("a", 1))
            answer = [code, bench.said()[0]["uid"]]
            bench.close()
        except BaseException as err:
            answer = repr(err)
        finally:
            os.write(write, json.dumps(answer).encode())
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        answer = json.load(pipe)
    os.waitpid(child, 0)
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    assert answer == [0, [user] * 3]


def _others_can_read(path: Path) -> bool:
    return path.stat().st_mode & 0o004 != 0 and all(folder.stat().st_mode & 0o001 for folder in path.parents)


def _open_to_all(folder: Path) -> None:
    for place in (folder, *folder.parents):
        if place.stat().st_mode & 0o005 != 0o005:
            place.chmod(place.stat().st_mode | 0o055)
