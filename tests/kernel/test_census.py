"""Processes as witnesses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestra.kernel.census import Census, boot_time, unit_in, user_name


def test_a_living_process_and_when_it_started() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = Census().alive(child.pid)
        assert found is not None
        assert found.started_at is not None
        assert abs(found.started_at - time.time()) < 60
        assert Census().owner(child.pid) == user_name(os.getuid())
        child.communicate(b"\n")
    assert Census().alive(child.pid) is None


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Census().alive(child.pid) is None
    child.wait()


def test_a_process_that_proc_hides_is_known_to_the_kernel(tmp_path: Path) -> None:
    hiding = Census(str(tmp_path))
    found = hiding.alive(os.getpid())
    assert found is not None
    assert (found.command, found.started_at) == ("", None)
    free = next(pid for pid in range(2**22 - 1, 1, -1) if not Path(f"/proc/{pid}").exists())
    assert hiding.alive(free) is None
    assert hiding.owner(os.getpid()) is hiding.unit(os.getpid()) is None
    assert not hiding.in_first_pid_namespace
    assert hiding.strangers(1)


def test_answers_are_given_from_memory() -> None:
    census = Census()
    assert census.alive(os.getpid()) is census.alive(os.getpid())


def test_programs_by_name_arguments_and_user() -> None:
    mark = "a-word-nobody-else-has"
    with subprocess.Popen([sys.executable, "-c", "input()", mark], stdin=subprocess.PIPE) as child:

        def pids(command: str, arguments: str | None, uid: int | None) -> list[int]:
            pattern = re.compile(arguments) if arguments is not None else None
            return [one.pid for one in Census().running(re.compile(command), pattern, uid)]

        assert pids("python", mark, os.getuid()) == [child.pid]
        assert pids("python", mark, None) == [child.pid]
        assert pids("python", mark, os.getuid() + 1) == []
        assert pids("^ython", mark, None) == []
        assert child.pid in pids("python", None, os.getuid())
        child.communicate(b"\n")


def test_a_process_without_a_name_makes_a_search_blind(tmp_path: Path) -> None:
    assert list(Census().running(re.compile("no such program"), None, None)) == []
    (tmp_path / str(os.getpid())).mkdir()
    hiding = Census(str(tmp_path))
    assert not hiding.blind
    assert list(hiding.running(re.compile("python"), None, None)) == []
    assert hiding.blind


def test_the_host_started_before_us() -> None:
    assert 0 < boot_time() < time.time()


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/postgresql@15-main.service\n", "postgresql@15-main.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-steam.scope\n", "app-steam.scope"),
        ("0::/system.slice/docker-" + "ab" * 32 + ".scope\n", "container abababababab"),
        ("0::/docker/" + "ab" * 32 + "\n", "container abababababab"),
        ("0::/kubepods/besteffort/pod1/cri-containerd-" + "0c" * 32 + ".scope/sub\n", "container 0c0c0c0c0c0c"),
        ("12:cpu:/\n1:name=systemd:/system.slice/cron.service\n0::/\n", "cron.service"),
        ("0::/\n", None),
        ("", None),
    ],
)
def test_units_and_containers(text: str, unit: str | None) -> None:
    assert unit_in(text) == unit


def test_names_of_users() -> None:
    assert user_name(0) == "root"
    assert user_name(3_999_999_999) == "uid 3999999999"
    assert user_name(-1) == "unknown"
