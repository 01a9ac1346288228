"""What a process runs as and under: the steps, and what /proc says of a child that took them."""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import LaunchFailed
from orchestra.runplan import Attributes
from orchestra.supervisor import spawn
from orchestra.supervisor.attributes import Identity, steps, variables
from orchestra.supervisor.spawn import Launch, launch
from tests.conformance.worlds import in_child

ROOT = Identity(0, 0, ())
ALL = Attributes(
    user=7, group=8, groups=(9, 8), umask=0o22, nice=-3, scheduler=("fifo", 80), cpu_affinity=((0,), (1,)),
    limits=(("core", 0, -1),),
)  # fmt: skip


def test_what_takes_a_privilege_comes_before_who_gives_it_up() -> None:
    calls = [step.plain for step in steps(ALL, 2, ROOT, open_files=(10, 20), directory="/d")]
    assert calls == [
        ("limit", "nofile", 10, 20), ("limit", "core", 0, -1), ("nice", -3), ("scheduler", "fifo", 80),
        ("affinity", 1), ("umask", 0o22), ("groups", 9, 8), ("group", 8), ("user", 7), ("directory", "/d"),
    ]  # fmt: skip


def test_processors_go_round() -> None:
    assert [step.arguments for step in steps(ALL, 3, ROOT) if step.stage == "affinity"] == [(0,)]


def test_a_declared_limit_wins_over_the_one_of_the_caller() -> None:
    found = steps(Attributes(limits=(("nofile", 1, 2),)), 1, ROOT, open_files=(10, 20))
    assert [step.arguments for step in found] == [("nofile", 1, 2)]


def test_who_one_is_already_is_not_asked_for() -> None:
    assert steps(Attributes(user=7, group=8, groups=(9, 8)), 1, Identity(7, 8, (8, 9)), directory="/d") == ()


def test_variables_of_a_login() -> None:
    assert variables(Attributes(home="/home/a", login="a")) == {"HOME": "/home/a", "USER": "a", "LOGNAME": "a"}
    assert variables(Attributes()) == {}


REPORT = """
import json, os, resource, sys
status = dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
stat = open("/proc/self/stat").read().rpartition(")")[2].split()
limits = {line[:25].strip(): line[26:].split()[:2] for line in open("/proc/self/limits")}
fields = {name: status[name] for name in ("Uid", "Gid", "Groups", "Umask", "Cpus_allowed_list", "CapEff")}
json.dump({**fields, "nice": stat[16], "policy": stat[38], "priority": stat[37], "limits": limits, "cwd": os.getcwd(),
           "tty": stat[4], "session": os.getsid(0) == os.getpid()}, open(1, "w"))
"""


@pytest.fixture(autouse=True)
def back_again() -> Iterator[None]:
    """Launching changes the working directory."""
    before = os.getcwd()
    yield
    os.chdir(before)


def told(directory: str, attributes: Attributes, *, python: str = sys.executable, replica: int = 1) -> dict[str, Any]:
    """Launch a child with attributes; return what it saw of itself in /proc."""
    null = os.open(os.devnull, os.O_RDWR)
    read, write = os.pipe()
    try:
        wanted = Launch([python, "-IS", "-c", REPORT], directory, {}, null, write, 2)
        pid = launch(_with(wanted, attributes, replica))
        os.close(write)
        write = -1
        with open(read, closefd=False) as pipe:
            answer: dict[str, Any] = json.load(pipe)
        assert os.waitpid(pid, 0)[1] == 0
        return answer
    finally:
        for fd in (null, read, write):
            if fd >= 0:
                os.close(fd)


def _with(wanted: Launch, attributes: Attributes, replica: int) -> Launch:
    return Launch(
        wanted.argv, wanted.directory, wanted.environment, wanted.stdin, wanted.stdout, wanted.stderr,
        attributes=attributes, replica=replica,
    )  # fmt: skip


def refused(directory: str, attributes: Attributes) -> LaunchFailed:
    with pytest.raises(LaunchFailed) as caught:
        told(directory, attributes)
    return caught.value


@pytest.mark.root
def test_as_root_everything_is_as_proc_says() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    attributes = ALL._replace(cpu_affinity=tuple((cpu,) for cpu in cpus), limits=(("nofile", 40, 50), ("core", 0, 0)))
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    found = told("/", attributes, python=python, replica=len(cpus))
    assert (found["Uid"].split(), found["Gid"].split()) == (["7"] * 4, ["8"] * 4)
    assert sorted(found["Groups"].split()) == ["8", "9"]
    assert (found["Umask"], found["Cpus_allowed_list"]) == ("0022", str(cpus[-1]))
    assert int(found["CapEff"], 16) == 0
    assert (found["policy"], found["priority"]) == ("1", "80"), "SCHED_FIFO"
    assert found["limits"]["Max open files"] == ["40", "50"]
    assert found["limits"]["Max core file size"] == ["0", "0"]
    assert found["session"]
    plain = told("/", Attributes(nice=-5, scheduler=("batch", 0)))
    assert (plain["nice"], plain["policy"]) == ("-5", "3")


@pytest.mark.root
def test_a_directory_that_only_root_may_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    error = refused(str(tmp_path), Attributes(user=65534, group=65534, groups=()))
    assert (error.stage, error.errno) == ("chdir", errno.EACCES)
    assert error.problem == f"user 65534 cannot enter the directory {tmp_path}: Permission denied"


@pytest.mark.root
def test_a_program_that_only_root_may_execute(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    with pytest.raises(LaunchFailed) as caught:
        launch(Launch([str(program)], "/", {}, 0, 1, 2, attributes=Attributes(user=65534, group=65534, groups=())))
    assert caught.value.problem == f"user 65534 may not execute {program}"


def as_nobody(work: Callable[[], Any]) -> Any:
    """Return what `work` returns in a child of ours with no privilege."""

    def unprivileged() -> Any:
        spawn._identity.cache_clear()
        return work()

    return in_child(unprivileged, as_nobody=True)


def failure(attributes: Attributes) -> list[Any]:
    try:
        launch(Launch(["/bin/true"], "/", {}, 0, 1, 2, attributes=attributes))
    except LaunchFailed as err:
        return [err.stage, err.errno, err.problem, bool(err.hint)]
    return ["nothing was refused"]


@pytest.mark.parametrize(
    ("attributes", "stage", "words"),
    [
        (Attributes(user=1), "credentials", "becoming user 1 was refused"),
        (Attributes(group=1), "credentials", "becoming group 1 was refused"),
        (Attributes(groups=(1, 2)), "credentials", "the groups 1, 2 were refused"),
        (Attributes(nice=-20), "nice", "the nice value -20 was refused"),
        (Attributes(scheduler=("fifo", 80)), "scheduler", "the scheduler fifo:80 was refused"),
        (
            Attributes(limits=(("nofile", 10, 1 << 30),)),
            "limits",
            "the limit nofile of 10, at most 1073741824, was refused",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_without_privileges_the_step_and_what_it_takes_are_named(
    attributes: Attributes, stage: str, words: str
) -> None:
    found = as_nobody(lambda: failure(attributes))
    if stage == "nice" and resource.getrlimit(resource.RLIMIT_NICE)[0] >= 40:
        pytest.skip("RLIMIT_NICE allows everybody every nice value here")
    number = errno.EACCES if stage == "nice" else errno.EPERM
    assert found == [stage, number, f"{words}: {os.strerror(number)}", True]


def test_without_privileges_what_takes_none_works() -> None:
    own = Attributes(umask=0o077, nice=7, limits=(("nofile", 20, 30),), scheduler=("idle", 0))
    if os.geteuid() == 0:
        own = own._replace(user=65534, group=65534, groups=())
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    found = as_nobody(lambda: told("/", own, python=python))
    assert (found["Umask"], found["nice"], found["policy"]) == ("0077", "7", "5")
    assert found["limits"]["Max open files"] == ["20", "30"]


def test_processors_that_are_not_there() -> None:
    found = failure(Attributes(cpu_affinity=((4000,),)))
    assert found[0] == "affinity"
    assert found[2].startswith("the processors 4000 cannot be used")
