"""Who belongs to a run, with real processes. This process becomes a subreaper for the time of a test."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator

import pytest

from orchestra.kernel.process import set_subreaper
from orchestra.supervisor.kin import Kin
from orchestra.supervisor.states import Who
from tests.support.programs import BECOMES_A_DAEMON, FORKS_TWICE, LEAVES_A_DEAF_CHILD, pid_in, python
from tests.support.runs import is_alive, until

A, B = Who("a", 1), Who("b", 1)
COUNTS_SIGTERM = python(
    "import os, signal\n"
    "signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'term\\n'))\n"
    "os.write(1, b'ready\\n')\n"
    "while True: signal.pause()\n"
)


class Family:
    """Starts leaders as the supervisor does and reads what they say."""

    def __init__(self) -> None:
        self.kin = Kin()
        self.read, self.write = os.pipe()
        os.set_inheritable(self.write, False)

    def start(self, who: Who, *command: str) -> int:
        null = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, self.write, 1)]
        pid = os.posix_spawnp(command[0], list(command), os.environ, file_actions=actions, setsid=True)
        os.close(null)
        self.kin.add(who, pid)
        return pid

    def line(self) -> str:
        return os.read(self.read, 4096).decode().splitlines()[-1]

    def reap_one(self) -> Who | None:
        """Wait for the next death of a leader."""
        found: list[Who] = []

        def look() -> bool:
            found.extend(death.who for death in self.kin.reap() if isinstance(death.who, Who))
            return bool(found)

        until(look)
        return found[0]

    def sees(self, pid: int) -> Callable[[], bool]:
        """Whether a descendant has come to us."""

        def look() -> bool:
            self.kin.look_again()
            return pid in self.kin.strangers()

        return look

    def end(self) -> None:
        pause = select.poll()
        while not self.kin.is_empty:
            self.kin.sweep(signal.SIGKILL)
            self.kin.reap()
            pause.poll(1)
        os.close(self.read)
        os.close(self.write)


@pytest.fixture
def family() -> Iterator[Family]:
    set_subreaper(True)
    made = Family()
    try:
        yield made
    finally:
        made.end()
        set_subreaper(False)


def test_deaths_are_told_with_code_or_signal(family: Family) -> None:
    family.start(A, "sh", "-c", "exit 3")
    deaths = until(family.kin.reap)
    assert [(d.who, d.code, d.signal) for d in deaths] == [(A, 3, None)]
    family.start(B, "sh", "-c", "kill -KILL $$")
    deaths = until(family.kin.reap)
    assert [(d.who, d.code, d.signal) for d in deaths] == [(B, None, "SIGKILL")]
    assert family.kin.is_empty


def test_a_child_that_outlives_its_leader_lingers_until_it_is_killed(family: Family) -> None:
    family.start(A, *LEAVES_A_DEAF_CHILD)
    pid = pid_in(family.line())
    assert family.reap_one() == A
    assert family.kin.lingering([A]) == {A}
    family.kin.signal(A, signal.SIGTERM)
    assert is_alive(pid)
    family.kin.signal(A, signal.SIGKILL)
    until(lambda: not is_alive(pid))
    until(lambda: family.kin.reap() or not family.kin.lingering([A]))
    assert family.kin.lingering([A]) == set()


def test_a_daemon_does_not_linger_and_is_swept(family: Family) -> None:
    family.start(A, *BECOMES_A_DAEMON)
    pid = pid_in(family.line())
    assert family.reap_one() == A
    assert family.kin.lingering([A]) == set()
    assert not family.kin.is_empty
    assert [stat.pid for stat in family.kin.sweep(signal.SIGTERM)] == [pid]
    assert family.kin.sweep(signal.SIGTERM) == [], "each is told once"
    assert [stat.pid for stat in family.kin.sweep(signal.SIGKILL)] == [pid]
    until(lambda: family.kin.reap() or family.kin.is_empty)


def test_a_grandchild_whose_parent_is_gone_gets_the_signals_of_its_replica(family: Family) -> None:
    leader = family.start(A, *FORKS_TWICE)
    pid = pid_in(family.line())
    until(family.sees(pid))
    family.kin.signal(A, signal.SIGKILL)
    until(lambda: not is_alive(pid) and not is_alive(leader))


def test_a_stopped_process_hears_of_its_end(family: Family) -> None:
    pid = family.start(A, "sleep", "1000")
    os.kill(pid, signal.SIGSTOP)
    family.kin.signal(A, signal.SIGTERM)
    assert family.reap_one() == A


def test_each_process_gets_a_signal_once(family: Family) -> None:
    family.start(A, *COUNTS_SIGTERM)
    until(lambda: family.line() == "ready")
    family.kin.signal(A, signal.SIGTERM)
    assert family.line() == "term"
    family.kin.signal(A, signal.SIGTERM)
    family.kin.signal(A, signal.SIGKILL)
    assert family.reap_one() == A
    os.set_blocking(family.read, False)
    with pytest.raises(BlockingIOError):
        os.read(family.read, 100)


def test_an_ended_replica_is_never_signalled(family: Family) -> None:
    family.start(A, "true")
    family.reap_one()
    family.kin.forget(A)
    family.kin.signal(A, signal.SIGKILL)  # its number may be anybody's by now
    assert family.kin.lingering([A]) == set()


def test_members_of_a_session_and_what_is_being_killed_anyway(family: Family) -> None:
    pid = family.start(A, *FORKS_TWICE)
    grandchild = pid_in(family.line())
    until(family.sees(grandchild))
    family.kin.look_again()
    assert family.kin.members(A) == [pid, grandchild]
    assert family.kin.members(B) == []
    assert {stat.pid for stat in family.kin.living()} >= {pid, grandchild}
    family.kin.signal(A, signal.SIGKILL)
    assert family.kin.sweep(signal.SIGTERM) == []
    assert family.reap_one() == A
