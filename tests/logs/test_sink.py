"""The log file when the disk is full, when writes are partial, when somebody died in the middle of a line.

RLIMIT_FSIZE makes the real kernel refuse real writes at an exact byte (CPython ignores SIGXFSZ).
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestra.logs import sink
from orchestra.logs.sink import BACKLOG, LogFile, append_records


@contextmanager
def room(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    log = LogFile(path, run="r7")
    yield log
    log.close()


def test_lines_are_written_at_the_flush_in_order(log: LogFile, path: Path) -> None:
    for number in range(1000):
        log.write(b'{"n":%d}\n' % number)
    assert path.read_bytes() == b""
    assert (log.flush(), log.pending) == (True, 0)
    assert [json.loads(line)["n"] for line in path.read_bytes().splitlines()] == list(range(1000))
    assert log.flush() is False, "nothing new"


def test_it_is_private_and_appends(path: Path) -> None:
    path.write_bytes(b'{"n":0}\n')
    log = LogFile(path, run="r7")
    log.write(b'{"n":1}\n')
    append_records(path, b'{"n":2}\n')
    log.close()
    assert path.read_bytes() == b'{"n":0}\n{"n":2}\n{"n":1}\n'
    assert os.stat(LogFile(path.with_name("new"), run="r7").path).st_mode & 0o777 == 0o600


def test_a_write_that_stops_in_the_middle_of_a_line_goes_on_there(log: LogFile, path: Path) -> None:
    with room(10):
        log.write(b'{"n":1}\n')
        log.write(b'{"n":2}\n')
        assert log.flush() is True
        assert (log.problem, log.pending, path.read_bytes()) == ("EFBIG", 6, b'{"n":1}\n{"')
        log.write(b'{"n":3}\n')
        assert log.flush() is False
    assert log.flush() is True
    assert (log.problem, log.pending, path.read_bytes()) == ("", 0, b'{"n":1}\n{"n":2}\n{"n":3}\n')
    assert log.lost_lines == 0


def test_what_the_backlog_cannot_hold_is_counted_and_said(log: LogFile, path: Path) -> None:
    block = b'{"n":"%s"}\n' % (b"x" * 1015) * 1024  # 1 MiB in 1,024 lines
    with room(0):
        log.write(block)
        log.flush()
        for _ in range(10):
            log.write(block)
        log.write(b'{"small":1}\n')  # would fit, but lines must not overtake the gap
        assert log.flush() is False
        assert log.pending <= BACKLOG
    assert log.flush() is True
    log.write(b'{"after":1}\n')
    log.flush()
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    kept = BACKLOG // len(block) * 1024
    assert len(records) == kept + 2
    lost = records[kept]
    assert (lost["event"], lost["level"], lost["run"]) == ("log.lost", "error", "r7")
    assert lost["data"] == {
        "lines": 11 * 1024 + 1 - kept,
        "bytes": 11 * len(block) + 12 - kept * 1024,
        "reason": "EFBIG",
    }
    assert records[-1] == {"after": 1}
    assert log.lost_lines == 11 * 1024 + 1 - kept


def test_the_space_may_go_and_come_many_times(log: LogFile, path: Path) -> None:
    for number in range(200):
        with room(path.stat().st_size + number % 7):
            log.write(b'{"n":%d}\n' % number)
            log.flush()
    log.flush()
    assert [json.loads(line)["n"] for line in path.read_bytes().splitlines()] == list(range(200))


def test_what_is_never_written_is_counted_at_the_end(path: Path) -> None:
    log = LogFile(path, run="r7")
    with room(3):
        log.write(b'{"n":1}\n{"n":2}\n')
        log.close()
    assert log.lost_lines == 2


def test_more_buffers_than_one_call_takes(log: LogFile, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "_GATHER", 3)
    for number in range(10):
        log.write(b'{"n":%d}\n' % number)
    log.flush()
    assert path.read_bytes().count(b"\n") == 10


def test_a_torn_line_is_ended_by_the_next_writer(path: Path) -> None:
    path.write_bytes(b'{"n":1}\n{"to')
    assert append_records(path, b'{"n":2}\n') is True
    with path.open("ab") as torn:
        torn.write(b"{")
    log = LogFile(path, run="r7")
    log.write(b'{"n":3}\n')
    log.close()
    assert path.read_bytes().split(b"\n") == [b'{"n":1}', b'{"to', b'{"n":2}', b"{", b'{"n":3}', b""]


def test_appending_says_when_it_cannot(tmp_path: Path, path: Path) -> None:
    assert append_records(tmp_path / "nowhere" / "log.jsonl", b"{}\n") is False
    with room(1):
        assert append_records(path, b'{"n":2}\n') is False
