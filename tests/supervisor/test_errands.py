"""Commands beside a replica, with real processes. This process becomes a subreaper for the time of a test."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.errors import LaunchFailed
from orchestra.kernel.process import set_subreaper
from orchestra.logs.sink import LogFile
from orchestra.supervisor import spawn
from orchestra.supervisor.errands import Errands, Order
from orchestra.supervisor.kin import Kin
from orchestra.supervisor.output import Outputs
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.states import Who
from tests.support.runs import is_alive, until

A = Who("a", 1)


class Bench:
    """Errands, and what they need of a supervisor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reactor, self.kin = Reactor(), Kin()
        self.log = LogFile(folder / "log.jsonl", run="r")
        self.outputs = Outputs(self.reactor, self.log, "r", 4, lambda _key: None)
        self.errands = Errands(self.reactor, self.kin, self.outputs, self.start)
        self.null = os.open(os.devnull, os.O_RDWR)
        self.told: list[str] = []

    def start(self, order: Order, stdout: int, stderr: int) -> int:
        argv = ["".join(map(str, word)) for word in order.command]
        return spawn.launch(spawn.Launch(argv, str(self.folder), dict(os.environ), self.null, stdout, stderr))

    def order(self, script: str, *, quiet: bool = True, limit: float | None = None) -> Order:
        return Order("probe", A, 1, (("/bin/sh",), ("-c",), (script,)), limit, quiet)

    def turn(self) -> None:
        self.kin.look_again()
        self.reactor.turn(wait=False)
        for death in self.kin.reap():
            assert self.errands.exited(death) or death.who is None
        self.errands.settle()

    def finish(self) -> None:
        def is_over() -> bool:
            self.turn()
            return self.errands.is_idle

        until(is_over)

    def lines(self) -> list[str]:
        self.log.flush()
        return [json.loads(line)["message"] for line in (self.folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.chdir(tmp_path)
    set_subreaper()
    bench = Bench(tmp_path)
    yield bench
    bench.errands.cancel_all(A)
    bench.finish()
    bench.outputs.close()
    bench.log.close()
    os.close(bench.null)
    set_subreaper(on=False)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo fine", ""),
        ("echo what; echo 'no db ' >&2; exit 4", "exited with code 4: no db"),
        ("kill -9 $$", "was ended by SIGKILL"),
        ("yes | head -c 3000000; exit 1", "exited with code 1: y"),
        ("head -c 300000 /dev/zero; echo zeros; exit 1", "exited with code 1: zeros"),
        ("echo closed; exec >&- 2>&-; exit 1", "exited with code 1: closed"),
    ],
)
def test_how_it_failed_and_what_it_said_last(bench: Bench, script: str, told: str) -> None:
    bench.errands.run(bench.order(script), bench.told.append)
    assert not bench.errands.is_idle
    bench.finish()
    assert bench.told == [told]
    assert bench.lines() == []


def test_what_a_loud_one_writes_are_lines_of_its_replica(bench: Bench) -> None:
    bench.errands.run(bench.order("echo one; echo two >&2; exit 1", quiet=False), bench.told.append)
    bench.finish()
    assert sorted(bench.lines()) == ["one", "two"]
    assert bench.told == ["exited with code 1"]


def test_one_that_takes_too_long_is_killed_with_what_it_started(bench: Bench) -> None:
    bench.errands.run(bench.order("echo $$; sleep 1000 & echo $! > child; wait", limit=0.1), bench.told.append)
    bench.finish()
    assert bench.told[0].startswith("did not end within 0.1 s")
    assert not is_alive(int((bench.folder / "child").read_text()))


def test_what_its_leader_leaves_running_is_killed_before_it_counts_as_over(bench: Bench) -> None:
    bench.errands.run(bench.order("sleep 1000 & echo $! > child"), bench.told.append)
    bench.finish()
    assert bench.told == [""]
    assert not is_alive(int((bench.folder / "child").read_text()))


def test_one_that_is_not_needed_any_more_is_killed_and_says_nothing(bench: Bench) -> None:
    errand = bench.errands.run(bench.order("exec sleep 1000"), bench.told.append)
    again = bench.errands.run(bench.order("exec sleep 1000"), bench.told.append)
    assert errand is not None
    assert again is not None
    assert errand != again
    bench.errands.cancel(errand)
    bench.errands.cancel_all(A)
    bench.finish()
    bench.errands.cancel(errand)
    assert bench.told == []


def test_one_that_cannot_be_started(bench: Bench) -> None:
    before = len(os.listdir("/proc/self/fd"))
    order = Order("probe", A, 1, (("/nonexistent",),), None, True)
    assert bench.errands.run(order, bench.told.append) is None
    assert "does not exist" in bench.told[0]
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(LaunchFailed) as caught:
        bench.start(order, 1, 2)
    assert caught.value.errno == errno.ENOENT


def test_what_a_quiet_one_writes_takes_no_memory(bench: Bench) -> None:
    bench.errands.run(bench.order("head -c 8000000 /dev/zero; kill -STOP $$"), bench.told.append)
    (running,) = bench.errands._running.values()

    def has_written() -> bool:
        bench.turn()
        pid = next(iter(bench.kin._leaders))
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    until(has_written)
    assert len(running.said) <= 800
