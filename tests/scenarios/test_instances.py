"""One name, one run: conflicts, detached runs, the control socket, what is left behind on purpose."""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path

import pytest

from orchestra.errors import NotFound, UsageError
from orchestra.kinds import Family, Kind, OnDown
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState
from orchestra.runplan import ObjectPlan
from orchestra.statedir import is_locked
from orchestra.supervisor.control import ControlClient
from tests.support.programs import WAITS
from tests.support.runs import Run, is_alive, process, running, start, until

BOARD = ObjectPlan("board", Family.POSIX, Kind.SEGMENT, size=4096)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "home"


def states(run: Run) -> dict[str, ObjectState]:
    with Ledger.open(run.places.ledger) as ledger:
        return {row.key: row.state for row in ledger.objects(run=run.id)}


def segments(run: Run) -> list[Path]:
    return sorted(Path("/dev/shm").glob(f"orc.{run.plan.instance}.*"))


@pytest.fixture
def instance(tmp_path: Path) -> str:
    """An instance name that no other test has: its objects can then be told apart on the host."""
    return f"t{os.getpid()}-{abs(hash(tmp_path)) % 10**8}"


def test_two_starts_at_once_have_one_winner(place: Path) -> None:
    runs = [start(place, process("a", WAITS)) for _ in range(4)]
    try:
        for run in runs:
            until(partial(_told, run))
        winners = [run for run in runs if any(m["event"] == "up" for m in run.events)]
        losers = [run for run in runs if run not in winners]
        assert len(winners) == 1
        for run in losers:
            error = run.error()
            assert error["exit_code"] == 5
            assert error["error"]["class"] == "Conflict"
        winners[0].stop()
        assert winners[0].ended()["exit_code"] == 130
    finally:
        for run in runs:
            run.finish()


def _told(run: Run) -> bool:
    messages, run.is_over = run.channel.receive()
    run.events += [message for message in messages if message is not None]
    return any(m["event"] in ("up", "error") for m in run.events)


def test_the_same_name_from_another_file_is_a_conflict(place: Path, tmp_path: Path) -> None:
    with running(place, process("a", WAITS)) as run:
        run.up()
        with running(place, process("z", WAITS), folder=str(tmp_path / "elsewhere")) as other:
            error = other.error()
            assert error["exit_code"] == 5
            assert run.id in error["error"]["detail"]


def test_two_names_run_side_by_side(place: Path) -> None:
    a = process("a", WAITS)
    with running(place, a, instance="one") as one, running(place, a, instance="two") as two:
        assert one.up().ps()["a"]["pid"] != two.up().ps()["a"]["pid"]


def test_the_control_socket_answers_state_and_stop(place: Path) -> None:
    with running(place, process("a", WAITS), process("b", "exit 0")) as run:
        run.up()
        until(lambda: run.ps()["b"]["state"] == "exited")
        answer = run.control().state()
        assert (answer["instance"], answer["run"], answer["state"]) == ("t", run.id, "up")
        row = run.ps()["a"]
        assert (row["state"], row["replica"], row["restarts"]) == ("running", 1, 0)
        assert row["started_at"] > 0
        assert row["exit_code"] is row["ended_at"] is None
        assert run.control().stop()["exit_code"] == 0
        assert run.ended()["stopped_by"] == "orchestra down"
        assert run.row().state == "down"
        with pytest.raises(NotFound):
            run.control().state()


def test_down_with_a_deadline_kills_what_is_left(place: Path) -> None:
    deaf = "trap '' TERM; echo ready; while :; do sleep 1000; done"
    with running(place, process("a", deaf, grace=1000.0)) as run:
        run.up().wait_line("a", "ready")
        run.control().stop(timeout=0.1)
        assert run.rows()["a.1"].signal == "SIGKILL"
        run.ended()


def test_wrong_requests_are_answered_with_an_error(place: Path) -> None:
    with running(place, process("a", WAITS)) as run:
        run.up()
        for request in (
            b'{"v":2,"op":"state"}',
            b'{"v":1,"op":"dance"}',
            b"nonsense",
            b'{"v":1,"op":"stop","timeout":"x"}',
        ):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(os.fspath(run.places.socket("t")))
                sock.sendall(request + b"\n")
                assert b'"ok":false' in sock.recv(65536)
        assert run.ps()["a"]["state"] == "running"


def test_a_stale_socket_does_not_block(place: Path) -> None:
    place.mkdir(mode=0o700)
    (place / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(place / "run" / "t.sock"))
    with pytest.raises(NotFound):
        ControlClient(place / "run" / "t.sock").state()
    with running(place, process("a", WAITS)) as run:
        assert run.up().ps()["a"]["state"] == "running"


def test_a_request_to_nobody(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        ControlClient(tmp_path / "none.sock").stop()


def test_an_error_of_the_supervisor_comes_back_as_itself(place: Path) -> None:
    with running(place, process("a", WAITS)) as run:
        run.up()
        with pytest.raises(UsageError, match="number of seconds"):
            run.control().stop(timeout=-1)


# -- objects ---------------------------------------------------------------------------------------------------------


def test_the_end_in_the_foreground_removes(place: Path, instance: str) -> None:
    with running(place, process("a", "true"), objects=[BOARD], instance=instance) as run:
        assert run.ended()["objects_left"] == []
        assert states(run) == {"board": ObjectState.REMOVED}
        assert segments(run) == []
        assert run.row().finished
        assert [x for x in run.path() if x.startswith("object")] == ["object.created", "object.removed"]


def test_a_detached_run_leaves_its_objects_to_down(place: Path, instance: str) -> None:
    with running(place, process("a", "true"), objects=[BOARD], instance=instance, detach=True) as run:
        run.up().channel.socket.shutdown(socket.SHUT_WR)  # the command has gone: that stops nothing
        run.ended()
    assert (run.row().state, run.row().finished) == ("down", False)
    assert states(run) == {"board": ObjectState.LIVE}
    assert len(segments(run)) == 1
    assert not is_locked(run.places.lock(instance))
    with running(place, process("a", "true"), objects=[BOARD], instance=instance) as again:
        again.ended()
        assert states(run) == {"board": ObjectState.REMOVED}, "a new start finishes the run before it"
        assert run.row().finished
        assert run.row().state == "down"
    assert segments(run) == []


def test_down_of_a_live_detached_run_removes(place: Path, instance: str) -> None:
    with running(place, process("a", WAITS), objects=[BOARD], instance=instance, detach=True) as run:
        pid = run.up().ps()["a"]["pid"]
        run.channel.socket.shutdown(socket.SHUT_WR)
        assert run.control().stop()["exit_code"] == 0
        run.ended()
        assert not is_alive(pid)
        assert states(run) == {"board": ObjectState.REMOVED}
        assert run.row().finished


@pytest.mark.parametrize("by_hand", ["up", "down"])
def test_leak_leaves_everything_on_record(place: Path, instance: str, by_hand: str) -> None:
    with running(place, process("a", WAITS), objects=[BOARD], instance=instance, leak=by_hand == "up") as run:
        run.up()
        if by_hand == "up":
            run.stop()
        else:
            run.control().stop(leak=True)
        left = run.ended()["objects_left"]
        assert [(item["object"], item["kept"]) for item in left] == [("board", True)]
        assert states(run) == {"board": ObjectState.KEPT}
        assert run.row().finished
        (segment,) = segments(run)
        segment.unlink()


def test_a_detached_run_that_is_to_leak_has_nothing_left_to_do(place: Path, instance: str) -> None:
    with running(place, process("a", "true"), objects=[BOARD], instance=instance, detach=True, leak=True) as run:
        run.ended()
        assert states(run) == {"board": ObjectState.KEPT}
        assert run.row().finished
        (segment,) = segments(run)
        segment.unlink()


def test_keep_is_reused_and_keep_on_failure_needs_a_failure(place: Path, instance: str) -> None:
    keep = ObjectPlan("board", Family.POSIX, Kind.SEGMENT, size=4096, on_down=OnDown.KEEP)
    maybe = ObjectPlan("maybe", Family.POSIX, Kind.SEGMENT, size=4096, on_down=OnDown.KEEP_ON_FAILURE)
    with running(place, process("a", "true"), objects=[keep, maybe], instance=instance) as first:
        first.ended()
        assert states(first) == {"board": ObjectState.KEPT, "maybe": ObjectState.REMOVED}
    with running(place, process("a", "exit 1"), objects=[keep, maybe], instance=instance) as second:
        second.ended()
        assert "object.reused" in second.path()
        assert states(second) == {"board": ObjectState.KEPT, "maybe": ObjectState.KEPT}
    for segment in segments(second):
        segment.unlink()


def test_a_start_that_fails_takes_everything_back(place: Path, instance: str) -> None:
    taken = ObjectPlan("taken", Family.POSIX, Kind.SEGMENT, size=4096, name=f"/orct.{instance}")
    path = Path("/dev/shm") / f"orct.{instance}"
    path.write_bytes(b"x")
    try:
        with running(place, process("a", "true"), objects=[BOARD, taken], instance=instance) as run:
            error = run.error()
            assert error["exit_code"] == 5
            assert error["error"]["class"] == "ObjectExists"
            assert run.path() == ["run.started", "object.created", "object.failed", "object.removed", "run.ended"]
            assert segments(run) == []
            assert (run.row().state, run.row().finished) == ("failed", True)
            assert path.read_bytes() == b"x"
    finally:
        path.unlink()


def test_an_object_that_somebody_removed_is_gone_and_no_failure(place: Path, instance: str) -> None:
    with running(place, process("a", WAITS), objects=[BOARD], instance=instance) as run:
        run.up()
        segments(run)[0].unlink()
        run.stop()
        assert run.ended()["state"] == "down"
        assert "object.gone" in run.path()
