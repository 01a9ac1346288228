"""Following the log of a run, made of a file and a lock."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestra.cli import following
from orchestra.cli.following import Ended, follow
from orchestra.errors import NotFound
from orchestra.logs.capture import Capture
from orchestra.logs.encode import event_record
from orchestra.logs.files import rotated_path
from orchestra.logs.follow import Follower
from tests.support.runs import until

CHILD = Capture(run="r1", process="p", replica=1, pid=5, stream="stdout")
ENDED = event_record("run.ended", run="r1", state="down", exit_code=0)


def line(text: str) -> bytes:
    return CHILD.feed(text.encode() + b"\n", "2026-01-02T03:04:05.000006Z")


class Run:
    """A log that is written by a test, and the lock that says that somebody does."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log.jsonl"
        self.lock = folder / "t.lock"
        self._held = os.open(self.lock, os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._held, fcntl.LOCK_EX)
        self.shown: list[bytes] = []
        self.thread = 0  # the one that follows, as the kernel calls it
        self.ended: list[Ended] = []

    def _show(self, lines: bytes) -> None:
        self.thread = threading.get_native_id()
        self.shown.append(lines)

    def write(self, *lines: bytes) -> None:
        with self.log.open("ab", buffering=0) as log:
            log.write(b"".join(lines))

    def rotate(self, number: int) -> None:
        os.rename(self.log, rotated_path(self.log, number))

    def leave(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow in a thread; at the end of the block, wait for its end."""

        def work() -> None:
            with Follower(self.log) as follower:
                self.ended.append(follow(follower, self.lock, "r1", self._show))

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            thread.join(30)
            assert not thread.is_alive()

    def wait(self, *texts: str) -> None:
        """Wait until just these lines were shown."""
        until(lambda: self.texts() == list(texts), what=str(texts))

    def texts(self) -> list[str]:
        found = [json.loads(text) for text in b"".join(self.shown).splitlines()]
        return [record.get("event") or record["message"] for record in found]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    yield made
    made.leave()


@pytest.fixture(params=["told", "limits"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the kernel tells, and where this user may have no more of that."""
    if request.param == "limits":

        def refuse(_: str) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(following, "Changes", refuse)
        monkeypatch.setattr(following, "_UNTOLD", 5)


@pytest.mark.usefixtures("both_ways")
def test_lines_as_they_come_across_rotations_until_the_run_says_that_it_ended(run: Run) -> None:
    with run.followed():
        run.write(line("one"))
        run.wait("one")
        run.write(line("two"))
        run.rotate(1)
        run.write(line("three"))
        run.wait("one", "two", "three")
        for number in range(2, 30):
            run.rotate(number)
            run.write(line(str(number)))
        run.write(ENDED)
    assert run.texts() == ["one", "two", "three", *map(str, range(2, 30)), "run.ended"]
    assert (run.ended[0].told, run.ended[0].code) == (True, 0)


def test_lines_that_the_rotation_dropped_are_said_to_be_missing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.write(line("one"))
    with run.followed():
        run.wait("one")
        log = run.log.with_name("new")  # all of it at one moment: what is not in its place yet is not read
        log.write_bytes(line("three"))
        for number in (7, 8):
            os.link(run.log if number == 7 else log, rotated_path(run.log, number))
        os.unlink(run.log)
        os.unlink(rotated_path(run.log, 7))
        run.write(ENDED)
    assert run.texts() == ["one", "three", "run.ended"]
    assert (
        "lines are missing here: 6 files of the log were dropped before being read\nhelp: " in capsys.readouterr().err
    )


def test_an_end_that_a_child_or_another_run_speaks_of_is_none(run: Run) -> None:
    child = CHILD.feed(b'{"msg":"m","event":"run.ended","run":"r1"}\n', "2026-01-02T03:04:05.000006Z")
    other = event_record("run.ended", run="r0", state="down", exit_code=0)
    with run.followed():
        run.write(child, other)
        run.wait("m", "run.ended")
        run.write(line("more"))
        run.wait("m", "run.ended", "more")
        run.write(ENDED)


@pytest.mark.usefixtures("both_ways")
def test_the_end_of_the_supervisor_is_noticed_and_what_it_wrote_last_is_shown(run: Run) -> None:
    with run.followed():
        run.write(line("one"))
        run.wait("one")
        run.leave()
    assert (run.ended[0].told, run.ended[0].code) == (False, 0)
    assert run.texts() == ["one"]


def test_a_run_that_has_ended_meanwhile_is_shown_to_its_end(run: Run) -> None:
    run.write(line("one"), ENDED)
    run.leave()
    with run.followed():
        pass
    assert run.texts() == ["one", "run.ended"]


def test_a_reader_that_leaves_is_noticed_while_nothing_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        with run.followed():
            run.write(line("one"))
            run.wait("one")
            os.close(reader)
    assert run.ended[0].code == 141


def test_a_run_whose_folder_is_gone(run: Run, tmp_path: Path) -> None:
    with Follower(tmp_path / "gone" / "log.jsonl") as follower, pytest.raises(NotFound, match="the folder of the run"):
        follow(follower, run.lock, "r1", run.shown.append)


def test_nothing_wakes_it_while_nothing_happens(run: Run) -> None:
    """Its thread goes to sleep once and stays there, whatever happens to other files in the folder."""
    with run.followed():
        run.write(line("one"))
        run.wait("one")
        status = Path(f"/proc/self/task/{run.thread}/status")

        def waits() -> tuple[str, ...]:
            return tuple(text for text in status.read_text().splitlines() if text.startswith(("State", "voluntary")))

        seen: list[tuple[str, ...]] = []

        def settled() -> bool:
            seen.append(waits())
            return len(seen) > 5 and len(set(seen[-5:])) == 1 and "sleeping" in seen[-1][0]

        with (run.log.parent / "other").open("ab", buffering=0) as other:  # made: that may wake it, once
            until(settled)
            for _ in range(100):
                other.write(b"x")
            asleep = seen[-1]
            until(settled)
            assert seen[-1] == asleep
        run.write(ENDED)
