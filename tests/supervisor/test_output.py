"""Pipes of children: everything that was written is logged, in order, also what nobody closes."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestra.logs.sink import LogFile
from orchestra.supervisor.output import BREATH, GATHER, PLENTY, Outputs, pipe_pages
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.states import Who

A = Who("a", 1)


class Bench:
    """Outputs with a log file and a record of the ends."""

    def __init__(self, folder: Path, raw: Path | None = None) -> None:
        self.path = folder / "log.jsonl"
        self.log = LogFile(self.path, run="r")
        self.reactor = Reactor()
        self.ends: list[Hashable] = []
        self.outputs = Outputs(self.reactor, self.log, "r", 2, self.ends.append, raw)

    def start(self, who: Who = A) -> tuple[int, int]:
        """Begin to capture; return our own write ends."""
        with self.outputs.pipes(who) as (out, err):
            ours = os.dup(out), os.dup(err)
            self.outputs.started(who, 7)
        return ours

    def records(self) -> list[dict[str, Any]]:
        self.log.flush()
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def said(self) -> list[str]:
        return [record["message"] for record in self.records()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.outputs.close()
    made.log.close()


def test_lines_are_logged_with_their_origin(bench: Bench) -> None:
    out, err = bench.start()
    os.write(out, b"one\n")
    os.write(err, b"two\n")
    bench.reactor.turn()
    assert [(r["message"], r["stream"], r["pid"]) for r in bench.records()] == [
        ("one", "stdout", 7), ("two", "stderr", 7),
    ]  # fmt: skip
    os.close(out)
    os.close(err)


def watched(bench: Bench) -> int:
    """How many streams the kernel tells of: each is a line of the epoll's in /proc."""
    with open(f"/proc/self/fdinfo/{bench.outputs._inner.fileno()}", encoding="ascii") as file:
        return file.read().count("tfd:")


def test_a_stream_with_much_to_say_is_read_by_the_clock_until_it_is_silent(bench: Bench) -> None:
    out, err = bench.start()
    assert watched(bench) == 2
    for count in (1, 100_000 // 8):
        os.write(out, b"a line\n" * count)
        bench.reactor.turn()
        assert watched(bench) == 1, "telling of each write is what makes writes dear"
    while watched(bench) < 2:
        bench.reactor.turn()
    assert not bench.reactor._timers, "a silent run is never woken"
    os.write(out, b"again\n")
    bench.reactor.turn()
    assert bench.said()[-1] == "again"
    os.close(out)
    os.close(err)
    while bench.outputs.is_open(A):
        bench.reactor.turn()
    assert not bench.reactor._timers


def test_much_output_is_read_without_a_pause(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = bench.start()
    pauses: list[float] = []
    monkeypatch.setattr(bench.reactor, "after", lambda name, seconds, callback: pauses.append(seconds))
    os.write(out, b"x" * PLENTY + b"\n")
    bench.outputs._pass()
    os.write(out, b"and a little\n")
    bench.outputs._pass()
    os.write(out, b"and a little more\n")
    bench.outputs._pass()
    assert pauses == [0, BREATH, GATHER], "a fast writer has filled a small pipe within a millisecond"
    assert watched(bench) == 1
    os.close(out)
    os.close(err)


def test_the_end_of_a_stream_is_told(bench: Bench) -> None:
    out, err = bench.start()
    os.write(out, b"unfinished")
    os.close(out)
    while not bench.ends:
        bench.reactor.turn()
    assert bench.outputs.is_open(A)
    assert bench.records()[0]["data"] == {"unterminated": True}
    os.close(err)
    while len(bench.ends) < 2:
        bench.reactor.turn()
    assert not bench.outputs.is_open(A)


def test_many_small_writes_cost_few_wake_ups(bench: Bench) -> None:
    out, err = bench.start()
    turns = 0
    for number in range(50):
        os.write(out, b"%d\n" % number)
        bench.reactor.turn(wait=False)  # what an eager loop would do
    while len(bench.said()) < 50:
        bench.reactor.turn()
        turns += 1
    assert turns <= 3, "one pass, one pause, one pass"
    assert bench.said() == [str(number) for number in range(50)]
    os.close(out)
    os.close(err)


def test_draining_reads_what_is_there_and_keeps_what_somebody_else_holds(bench: Bench) -> None:
    out, err = bench.start()
    os.write(out, b"before\nhalf")
    os.close(err)
    bench.outputs.drain(A)
    assert bench.outputs.is_open(A), "out is still held"
    assert bench.said() == ["before"]
    os.write(out, b" a line\n")
    os.close(out)
    bench.outputs.drain(A)
    assert bench.said() == ["before", "half a line"]
    assert not bench.outputs.is_open(A)
    bench.outputs.drain(A)


def test_a_full_pipe_is_drained_whole(bench: Bench) -> None:
    out, err = bench.start()
    os.set_blocking(out, False)
    written = 0
    try:
        while True:
            written += os.write(out, b"y" * 127 + b"\n")
    except BlockingIOError:
        pass
    os.close(out)
    os.close(err)
    bench.outputs.drain(A)
    assert not bench.outputs.is_open(A)
    assert len(bench.said()) == written // 128


def test_closing_logs_what_is_left_and_ends_held_streams(bench: Bench, tmp_path: Path) -> None:
    out, err = bench.start()
    os.write(out, b"last")
    bench.outputs.close()
    assert bench.said() == ["last"]
    os.close(out)
    os.close(err)
    bench.outputs = Outputs(bench.reactor, bench.log, "r", 2, bench.ends.append)


def test_a_launch_that_fails_leaves_no_descriptor(bench: Bench) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyError), bench.outputs.pipes(A):
        raise KeyError
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert not bench.outputs.is_open(A)


def test_nothing_of_one_incarnation_comes_into_the_next(bench: Bench) -> None:
    first, err = bench.start()
    os.write(first, b"old, half")
    os.close(err)
    bench.outputs.drain(A)  # somebody else still holds the pipe
    with bench.outputs.pipes(A) as (out, _):
        second = os.dup(out)
        bench.outputs.started(A, 8)
    os.write(second, b"new\n")
    os.close(second)
    bench.outputs.drain(A)
    os.write(first, b" a line\n")
    os.close(first)
    bench.outputs.drain(A)
    assert [(r["pid"], r["message"]) for r in bench.records()] == [(8, "new"), (7, "old, half a line")]
    assert not bench.outputs.is_open(A)


def test_a_raw_copy_of_each_stream(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tmp_path / "raw")
    out, err = bench.start()
    os.write(out, b"\x00\xff no line")
    os.write(err, b"a\nb\n")
    bench.outputs.drain(A)
    os.close(out)
    os.close(err)
    bench.outputs.close()
    assert {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()} == {
        "a.1.stdout": b"\x00\xff no line", "a.1.stderr": b"a\nb\n",
    }  # fmt: skip
    assert "event" not in bench.records()[0]
    bench.log.close()


def test_a_raw_copy_that_cannot_be_written_is_said_and_costs_no_line(tmp_path: Path) -> None:
    (tmp_path / "raw").touch()
    bench = Bench(tmp_path, tmp_path / "raw" / "deeper")
    out, err = bench.start()
    for _ in range(2):
        os.write(out, b"line\n")
        bench.outputs.drain(A)
    os.close(out)
    os.close(err)
    bench.outputs.close()
    *lines, lost = bench.records()
    assert [record["message"] for record in lines] == ["line", "line"]
    assert lost["message"] == "10 bytes are missing in the raw copy of stdout of a.1: ENOTDIR"
    assert (lost["event"], lost["stream"]) == ("log.raw_lost", "stdout")
    assert lost["data"] == {"bytes": 10, "reason": "ENOTDIR"}
    bench.log.close()


def test_a_slow_disk_slows_the_child_and_memory_stays_small(tmp_path: Path) -> None:
    # A FIFO is a disk that takes 64 KiB and then nothing until somebody reads.
    os.mkfifo(tmp_path / "log.jsonl")
    bench = Bench(tmp_path)
    disk = os.open(bench.path, os.O_RDONLY)
    out, err = bench.start()
    os.close(err)
    block = b"".join([b"%063d\n" % number for number in range(1024)])
    total, begun, taken = 4 * 1024 * 1024, threading.Event(), bytearray()
    done: list[int] = []

    def write() -> None:
        for start in range(0, total, len(block)):
            os.write(out, block)
            if start >= 256 * 1024:
                begun.set()
        done.append(total)
        os.close(out)

    def take() -> None:
        done.append(-1 if begun.wait(20) and not done else 0)
        while (piece := os.read(disk, 65536)) != b"":
            taken.extend(piece)

    threads = [threading.Thread(target=write), threading.Thread(target=take)]
    for thread in threads:
        thread.start()
    most = 0
    while bench.outputs.is_open(A):
        bench.reactor.turn()
        most = max(most, bench.log.pending)
        bench.log.flush()
    bench.outputs.close()
    bench.log.close()
    for thread in threads:
        thread.join()
    os.close(disk)
    assert done == [-1, total], "the child was not done before the disk took anything"
    assert most < 1024 * 1024
    messages = [json.loads(line)["message"] for line in bytes(taken).splitlines()]
    assert messages == block.decode().splitlines() * (total // len(block))


def test_a_stream_gives_way_to_others(bench: Bench) -> None:
    out, err = bench.start()
    other = Who("b", 1)
    with bench.outputs.pipes(other) as (second, _):
        theirs = os.dup(second)
        bench.outputs.started(other, 8)
    os.set_blocking(out, False)
    with suppress(BlockingIOError):
        while os.write(out, (b"x" * 1023 + b"\n") * 64):
            pass
    os.write(theirs, b"me too\n")
    bench.reactor.turn()
    assert "me too" in bench.said()
    for fd in (out, err, theirs):
        os.close(fd)


def test_many_busy_streams_make_no_long_pass(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    ends = [bench.start(Who("w", number)) for number in range(1, 41)]
    for out, _ in ends:
        os.set_blocking(out, False)
        with suppress(BlockingIOError):
            while os.write(out, (b"x" * 1023 + b"\n") * 64):
                pass
    bench.outputs._pass()
    seen = Counter(record["replica"] for record in bench.records())
    assert (len(seen), max(seen.values()) <= 64) == (40, True), "at most 64 KiB of each, and something of all"
    for fd in [fd for pair in ends for fd in pair]:
        os.close(fd)
    bench.outputs.close()
    bench.log.close()


@pytest.mark.parametrize(
    ("streams", "limit", "pages"),
    [
        (2, 16384, 256),
        (8, 16384, 256),
        (32, 16384, 128),
        (200, 16384, 16),
        (1000, 16384, 16),
        (0, 16384, 256),
        (2, 0, 16),
    ],
)
def test_pipes_stay_within_a_quarter_of_the_user_s_share(streams: int, limit: int, pages: int) -> None:
    assert pipe_pages(streams, limit) == pages
