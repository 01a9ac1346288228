"""From plan to launch, with real descriptors and no child; what a child makes of them is in the scenarios."""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.bindings import Placeholder
from orchestra.errors import LaunchFailed
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Access, Family, Kind
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.objects import LiveObject, create_recorded
from orchestra.runplan import ObjectPlan, ProcessPlan, RunPlan, Use
from orchestra.supervisor.wiring import PipeEnds, open_for, wires

RUN = RunRow("r", "t", "test", "/f", "/", "starting", 1.0, "boot", 0)
BOARD = ObjectPlan("board", Family.POSIX, Kind.SEGMENT, size=4096)
FEED = ObjectPlan("feed", Family.ANONYMOUS, Kind.PIPE)
SCRATCH = ObjectPlan("scratch", Family.MEMFD, Kind.SEGMENT, size=4096)
LOCKS = ObjectPlan("locks", Family.SYSV, Kind.SEMAPHORE, values=(1, 2))


class Bench:
    """Objects made for a test and removed after it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger.open(folder / "ledger.db")
        self.ledger.begin_run(RUN)
        self.things: dict[str, LiveObject] = {}

    def make(self, *plans: ObjectPlan) -> dict[str, LiveObject]:
        for plan in plans:
            self.things[plan.key] = create_recorded(self.ledger, plan, RUN, folder=self.folder)
        return self.things

    def plan(self, *processes: ProcessPlan, **changes: Any) -> RunPlan:
        objects = tuple(thing.plan for thing in self.things.values())
        return RunPlan("test", "t", "/f", str(self.folder), objects, processes, **changes)

    def close(self) -> None:
        for thing in self.things.values():
            adapter_for(thing.plan.family, thing.plan.kind).remove(thing.handle.ref)
        self.ledger.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def using(name: str, *uses: str, replicas: int = 1, **changes: Any) -> ProcessPlan:
    """A process that uses `object:access` …"""
    parsed = tuple(Use(word.partition(":")[0], Access(word.partition(":")[2])) for word in uses)
    return ProcessPlan(name, changes.pop("command", (("true",),)), uses=parsed, replicas=replicas, **changes)


def is_closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError as err:
        return err.errno == errno.EBADF
    return False


def test_a_launch_is_resolved_and_its_descriptors_last_no_longer_than_it(bench: Bench) -> None:
    bench.make(BOARD, LOCKS)
    process = using(
        "a",
        "locks:read-write",
        "board:read",
        command=(("prog",), ("--id=", Placeholder("locks", "id")), ("#", Placeholder("", "replica"))),
        directory=("sub",),
        environment=(("FD", (Placeholder("board", "fd"),)),),
    )
    wire = wires(bench.plan(process, environment={"HOME": "/h", "LISTEN_PID": "9"}), "r", bench.things)["a"]
    with wire.prepared(2, stdin=0, stdout=1, stderr=2) as launch:
        (fd,) = launch.passed
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        assert not os.get_inheritable(fd)
        assert launch.argv == ["prog", f"--id={bench.things['locks'].row.id}", "#2"]
        assert launch.directory == str(bench.folder / "sub")
        env = launch.environment
        assert (env["FD"], env["ORCHESTRA_BOARD_FD"], env["LISTEN_FDS"]) == ("3", "3", "1")
        assert (env["HOME"], env["ORCHESTRA_REPLICA"], env["ORCHESTRA_PROCESS"]) == ("/h", "2", "a")
        assert "LISTEN_PID" not in env
        assert "PYTHONPATH" not in env
        assert json.loads(env["ORCHESTRA_BINDINGS"])["locks"]["access"] == "read-write"
    assert is_closed(fd)


def test_what_is_declared_does_not_overrule_identity(bench: Bench) -> None:
    process = using("a", environment=(("ORCHESTRA_PROCESS", ("fake",)), ("PYTHONPATH", ("/mine",))))
    wire = wires(bench.plan(process, python_path="/lib"), "r", {})["a"]
    with wire.prepared(1, stdin=0, stdout=1, stderr=2) as launch:
        assert launch.environment["ORCHESTRA_PROCESS"] == "a"
        assert launch.environment["PYTHONPATH"] == "/mine:/lib"


def test_an_object_that_vanished_is_a_failure_of_the_descriptors(bench: Bench) -> None:
    bench.make(BOARD, FEED)
    adapter_for(Family.POSIX, Kind.SEGMENT).remove(bench.things["board"].handle.ref)
    wire = wires(bench.plan(using("a", "feed:read", "board:read")), "r", bench.things)["a"]
    gc.collect()  # what earlier tests dropped is not to be closed while we count
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(LaunchFailed) as caught, wire.prepared(1, stdin=0, stdout=1, stderr=2):
        pass
    assert (caught.value.stage, caught.value.errno) == ("descriptors", errno.ENOENT)
    assert caught.value.path == bench.things["board"].handle.ref.name
    assert sorted(os.listdir("/proc/self/fd")) == before
    PipeEnds(bench.plan(), bench.things).close()


def test_a_placeholder_of_a_field_that_the_object_lacks(bench: Bench) -> None:
    bench.make(LOCKS)
    process = using("a", "locks:read-write", command=((Placeholder("locks", "path"),),))
    wire = wires(bench.plan(process), "r", bench.things)["a"]
    with pytest.raises(LaunchFailed, match="placeholder"), wire.prepared(1, stdin=0, stdout=1, stderr=2):
        pass


@pytest.mark.parametrize(("access", "flags"), [(Access.READ, os.O_RDONLY), (Access.READ_WRITE, os.O_RDWR)])
def test_a_memfd_is_opened_anew(bench: Bench, access: Access, flags: int) -> None:
    thing = bench.make(SCRATCH)["scratch"]
    fd = open_for(thing, access)
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == flags
    assert os.get_blocking(fd)
    os.lseek(thing.handle.fds[0], 100, os.SEEK_SET)
    assert os.lseek(fd, 0, os.SEEK_CUR) == 0, "the offset is its own"
    for number in (fd, *thing.handle.fds):
        os.close(number)


def test_both_ends_of_a_pipe_even_when_the_other_is_gone(bench: Bench) -> None:
    """Opening a pipe anew would block, or fail, without the other end; a child must get its descriptor all the same."""
    thing = bench.make(FEED)["feed"]
    read, write = thing.handle.fds
    again = open_for(thing, Access.READ)
    assert os.get_blocking(again)
    os.close(again)
    os.close(read)
    late = open_for(thing, Access.WRITE)
    with pytest.raises(BrokenPipeError):
        os.write(late, b"x")
    os.close(late)
    os.close(write)


class TestPipeEnds:
    """When our copies of the ends go."""

    @pytest.fixture
    def feed(self, bench: Bench) -> tuple[int, int]:
        read, write = bench.make(FEED)["feed"].handle.fds
        return read, write

    def test_each_end_goes_once_none_of_its_users_can_start(self, bench: Bench, feed: tuple[int, int]) -> None:
        ends = PipeEnds(bench.plan(using("r", "feed:read"), using("w", "feed:write", replicas=2)), bench.things)
        read, write = feed
        assert ends.users == {"r", "w"}
        ends.needed_by(["r", "w"])
        assert not is_closed(write)
        ends.needed_by(["w"])
        assert is_closed(read)
        assert not is_closed(write)
        assert ends.users == {"w"}
        ends.needed_by([])
        assert is_closed(write)
        ends.close()

    def test_an_end_that_was_closed_is_opened_through_somebody_else_s(
        self, bench: Bench, feed: tuple[int, int]
    ) -> None:
        thing = bench.things["feed"]
        read, write = feed
        held = os.dup(write)
        os.close(write)
        os.dup2(0, write)  # its number is another file's by now
        again = open_for(thing, Access.WRITE)
        os.write(again, b"x")
        assert os.read(read, 1) == b"x"
        for fd in (again, held, read, write):
            os.close(fd)
        with pytest.raises(LaunchFailed):
            open_for(thing, Access.WRITE)

    def test_an_end_that_nobody_uses_goes_at_once(self, bench: Bench, feed: tuple[int, int]) -> None:
        ends = PipeEnds(bench.plan(using("r", "feed:read"), using("z")), bench.things)
        read, write = feed
        assert is_closed(write)
        assert not is_closed(read)
        poll = select.poll()
        poll.register(read, select.POLLIN)
        assert poll.poll(0)[0][1] & select.POLLHUP, "a reader sees the end"
        ends.needed_by(["r"])
        assert not is_closed(read)
        ends.close()
        assert is_closed(read)
        ends.close()
