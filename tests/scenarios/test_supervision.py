"""Waiting for objects, objects that programs make, stop commands, crash loops, and many processes at once."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

import posix_ipc
import pytest

from orchestra.kinds import Access, Family, Kind
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState
from orchestra.runplan import ObjectPlan, Ready, Restart, Use, WaitFor
from tests.support.programs import WAITS, pid_in, python
from tests.support.runs import Run, is_alive, process, running, start, until

NUMBER = os.getpid()
SEGMENT = f"/orct.made-{NUMBER}"
BOARD = ObjectPlan("board", Family.POSIX, Kind.SEGMENT, name=SEGMENT, size=4096, made_by="maker")
MAKE = (
    "import os, signal\n"
    f"fd = os.open('/dev/shm{SEGMENT}', os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)\n"
    "os.ftruncate(fd, int(os.environ.get('SIZE', 4096)))\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "home"


def board_row(run: Run) -> object:
    with Ledger.open(run.places.ledger) as ledger:
        return ledger.objects(run=run.id)[0].state


# -- wait_for --------------------------------------------------------------------------------------------------------


def test_everything_must_hold_at_one_moment(place: Path) -> None:
    queue = ObjectPlan("jobs", Family.POSIX, Kind.QUEUE, max_messages=4, message_size=8)
    letters = ObjectPlan("letters", Family.SYSV, Kind.QUEUE, ipc_key=0)
    slots = ObjectPlan("slots", Family.SYSV, Kind.SEMAPHORE, ipc_key=0, values=(5, 2))
    flag = ObjectPlan("flag", Family.POSIX, Kind.SEMAPHORE, values=(1,))
    table = ObjectPlan("table", Family.POSIX, Kind.SEGMENT, size=4096)
    script = "import os, posix_ipc\nposix_ipc.MessageQueue(os.environ['ORCHESTRA_JOBS']).receive()"
    receive = (sys.executable, "-c", script)
    wait_for = (
        WaitFor("slots", "value", 2, 2, member=1),
        WaitFor("flag", "value", 1),
        WaitFor("flag", "exists"),
        WaitFor("letters", "messages", 0, 0),
        WaitFor("table", "attached", 1),
        WaitFor("jobs", "messages", 0, 0),
        WaitFor("reader", "blocked_on", object="jobs"),
    )
    reads = process("reader", *receive, uses=(Use("jobs", Access.READ), Use("table", Access.READ)))
    with running(
        place, reads, process("late", "echo up", wait_for=wait_for),
        process("sees", "echo one", wait_for=(WaitFor("jobs", "messages", 1),)),
        objects=[queue, letters, slots, flag, table],
    ) as run:  # fmt: skip
        until(lambda: "process.exited late" in run.path())
        assert run.path("late") == ["process.waiting late", "process.started late", "process.exited late"]
        assert run.ps()["sees"]["state"] == "pending"
        jobs = posix_ipc.MessageQueue(next(r for r in run.log() if r.get("object") == "jobs")["data"]["name"])
        jobs.send(b"one")  # for the reader
        until(lambda: run.ps()["reader"]["state"] == "exited")
        assert run.ps()["sees"]["state"] == "pending"
        jobs.send(b"two")
        jobs.close()
        assert run.ended()["exit_code"] == 0
        assert run.lines("sees") == ["one"]


def test_what_is_waited_for_in_vain_ends_with_the_run(place: Path) -> None:
    path = place.parent / "there"
    fifo = ObjectPlan("there", Family.FIFO, Kind.PIPE, name=str(path), made_by="a")
    gone = ObjectPlan("gone", Family.POSIX, Kind.SEMAPHORE, values=(0,))
    with running(
        place,
        process("a", WAITS, service=True),
        process("b", "true", wait_for=(WaitFor("gone", "exists", expected=False), WaitFor("there", "exists"))),
        objects=[fifo, gone],
    ) as run:
        run.up()
        until(lambda: "process.waiting b" in run.path())
        run.stop()
        assert run.ended()["exit_code"] == 130
        assert run.path("b") == ["process.waiting b", "process.skipped b"]


# -- objects that programs make --------------------------------------------------------------------------------------


def test_what_a_program_made_is_wired_to_the_others_and_removed(place: Path) -> None:
    script = MAKE + "os.write(3, b'\\n'); print(os.environ['ORCHESTRA_BOARD'], 'ORCHESTRA_BOARD_FD' in os.environ)"
    maker = process(
        "maker", *python(script),
        uses=(Use("board", Access.READ_WRITE),), ready=Ready("fd", fd=3),
    )  # fmt: skip
    user = process(
        "user", "echo $ORCHESTRA_BOARD $ORCHESTRA_BOARD_FD", uses=(Use("board", Access.READ),), after={"maker": "ready"}
    )
    with running(place, maker, user, objects=[BOARD]) as run:
        assert run.ended()["objects_left"] == []
        assert run.lines("maker") == [f"{SEGMENT} False"]
        assert run.lines("user") == [f"{SEGMENT} 3"]
        path = run.path("maker")
        assert path.index("object.made maker") < path.index("process.ready maker")
        assert not Path(f"/dev/shm{SEGMENT}").exists()
        assert board_row(run) is ObjectState.REMOVED


def test_what_a_maker_makes_anew_when_it_starts_again_is_the_runs_too(place: Path) -> None:
    path = f"/dev/shm{SEGMENT}"
    script = f"rm -f {path}; head -c 4096 /dev/zero > {path}; echo >&3; exit 1"
    again = Restart("on-failure", limit=1, delay=0.01, max_delay=0.01)
    maker = process("maker", script, ready=Ready("fd", fd=3), restart=again)
    with running(place, maker, objects=[BOARD]) as run:
        try:
            assert run.ended()["objects_left"] == []
            assert run.path("maker").count("object.made maker") == 2
            assert not Path(path).exists()
        finally:
            Path(path).unlink(missing_ok=True)


@pytest.mark.parametrize(("size", "words"), [("8192", "size is 8192, declared 4096"), ("none", "does not exist")])
def test_another_shape_or_nothing_at_all_is_a_failure_of_the_maker(place: Path, size: str, words: str) -> None:
    script = python(f"import os\nos.environ['SIZE'] = '{size}'\n" + ("" if size == "none" else MAKE))
    with running(
        place, process("maker", *script), process("b", "true", after={"maker": "completed"}), objects=[BOARD]
    ) as run:
        ended = run.ended()
        try:
            assert words in ended["failed"][0]["reason"]
            assert run.rows()["b.1"].state == "skipped"
            assert ended["objects_left"] == []
            assert board_row(run) is (ObjectState.GONE if size == "none" else ObjectState.REMOVED)
        finally:
            Path(f"/dev/shm{SEGMENT}").unlink(missing_ok=True)


def test_one_that_exists_at_the_start_is_a_conflict_before_anything_is_made(place: Path) -> None:
    Path(f"/dev/shm{SEGMENT}").write_bytes(b"")
    try:
        with running(
            place, process("maker", *python(MAKE)), objects=[BOARD._replace(key="z", name=None, made_by=""), BOARD]
        ) as run:
            error = run.error()
            assert error["exit_code"] == 5
            assert "object.created" not in run.path()
    finally:
        Path(f"/dev/shm{SEGMENT}").unlink()


def test_what_a_maker_left_that_failed_before_it_was_ready_is_not_touched(place: Path) -> None:
    with running(place, process("maker", *python(MAKE + "os._exit(3)")), objects=[BOARD]) as run:
        try:
            ended = run.ended()
            assert ended["failed"][0]["reason"] == "exited with code 3"
            assert ended["objects_left"][0]["kept"] is False
            assert "never seen" in ended["objects_left"][0]["why"]
            assert board_row(run) is ObjectState.INTENDED, "nothing proves that it is ours"
            assert Path(f"/dev/shm{SEGMENT}").exists()
        finally:
            Path(f"/dev/shm{SEGMENT}").unlink(missing_ok=True)


def test_a_kill_between_the_making_and_the_record_leaves_a_row_that_says_so(place: Path) -> None:
    with running(
        place, process("maker", *python(MAKE + "print('made', flush=True)\nsignal.pause()")), objects=[BOARD]
    ) as run:
        try:
            run.wait_line("maker", "made")
            os.kill(run.control().state()["pid"], signal.SIGKILL)
            run.ended()
            assert board_row(run) is ObjectState.INTENDED
        finally:
            Path(f"/dev/shm{SEGMENT}").unlink(missing_ok=True)


# -- stopping --------------------------------------------------------------------------------------------------------


def test_a_stop_command_sees_the_surroundings_and_does_not_survive(place: Path) -> None:
    deaf = python(
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n"
        "while True: signal.pause()"
    )
    polite = (("/bin/sh",), ("-c",), ("sleep 1000 & echo $ORCHESTRA_PROCESS stops; kill -KILL $ORCHESTRA_PID",))
    fails = (("/bin/sh",), ("-c",), ("exit 3",))
    hangs = (("/bin/sh",), ("-c",), ("echo hangs $$; exec sleep 1000",))
    with running(
        place,
        process("a", *deaf, stop_command=polite),
        process("b", WAITS, stop_command=fails),
        process("c", *deaf, stop_command=hangs, grace=0.5),
    ) as run:
        for name in "ac":
            run.wait_line(name, "deaf")
        run.wait_line("b", "ready")
        run.stop()
        ended = run.ended()
        assert ended["processes_left"] == []
        assert run.lines("a")[1] == "a stops"
        assert run.path("a") == ["process.started a", "process.stopping a", "process.exited a"]
        assert run.path("b") == [
            "process.started b", "process.stopping b", "process.stop_command_failed b", "process.exited b",
        ]  # fmt: skip
        assert run.path("c") == ["process.started c", "process.stopping c", "process.killed c", "process.exited c"]
        assert not is_alive(pid_in(run.lines("c")[1]))
        assert "descendant.killed" not in run.path()


@pytest.mark.skipif(os.getuid() != 0, reason="an isolated process needs root, or a host that lets users isolate")
def test_what_is_run_beside_an_isolated_process_sees_what_it_sees(place: Path) -> None:
    tell = 'echo "$0 $(readlink /proc/self/ns/ipc)"'
    with running(
        place,
        process(
            "a", f"{tell}; exec sleep 1000", isolation="private", ready=Ready("exec", command=(("/bin/sh",), ("-c",), (
                'test "$(readlink /proc/self/ns/ipc)" = "$(readlink /proc/$ORCHESTRA_PID/ns/ipc)"',))),
            stop_command=(("/bin/sh",), ("-c",), (f"{tell}; exit 1",)),
        ),
        process("b", tell, after={"a": "ready"}),
    ) as run:  # fmt: skip
        until(lambda: run.lines("b"))
        run.stop()
        run.ended()
        assert run.lines("a")[0] == run.lines("a")[1] != run.lines("b")[0]


def test_who_keeps_a_stop_waiting_is_named(place: Path) -> None:
    deaf = "trap '' TERM; echo ready; while :; do sleep 1000; done"
    with running(place, process("a", deaf, grace=1000.0), process("b", WAITS, after={"a": "started"})) as run:
        run.wait_line("a", "ready")
        run.wait_line("b", "ready")
        run.stop()
        until(lambda: "process.blocking a" in run.path())
        said = next(r for r in run.log() if r.get("event") == "process.blocking")
        assert said["message"].startswith("still waiting for a to end, ")
        assert any("sleep" in item for item in said["data"]["left"])
        assert "process.blocking b" not in run.path()
        run.kill()
        run.ended()


def test_a_grandchild_in_a_new_session_is_gone_after_down(place: Path) -> None:
    script = (
        "import os, signal\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    print('grandchild', os.getpid(), flush=True)\n"
        "while True: signal.pause()\n"
    )
    with running(place, process("a", *python(script))) as run:
        pid = pid_in(run.wait_line("a", "grandchild"))
        run.stop()
        ended = run.ended()
        assert ended["processes_left"] == []
        assert not is_alive(pid)


# -- restarts --------------------------------------------------------------------------------------------------------


def test_a_crash_loop_ends_in_escalation(place: Path) -> None:
    loop = process(
        "a", "echo $$; exit 7", restart=Restart("on-failure", limit=3, within=60.0, delay=0.01, max_delay=0.02)
    )
    with running(place, loop, process("b", WAITS, service=True)) as run:
        ended = run.ended()
        assert ended["exit_code"] == 1
        assert [failure["process"] for failure in ended["failed"]] == ["a"]
        assert "exited with code 7" in ended["failed"][0]["reason"]
        again = ["process.started a", "process.exited a", "process.restarting a"]
        assert run.path("a") == [*again, *again, *again, "process.started a", "process.exited a", "process.failed a"]
        assert len(set(run.lines("a"))) == 4
        assert run.rows()["a.1"].restarts == 3
        assert run.rows()["b.1"].state == "exited"


def test_a_restarted_process_says_anew_that_it_is_ready_and_reads_the_same_pipe(place: Path) -> None:
    feed = ObjectPlan("feed", Family.ANONYMOUS, Kind.PIPE)
    script = "read line <&$ORCHESTRA_FEED_FD; echo >&9; echo got $line; exit $line"
    reader = process(
        "reader", script, uses=(Use("feed", Access.READ),),
        ready=Ready("fd", fd=9), restart=Restart("on-failure", delay=0.01), success=(0,),
    )  # fmt: skip
    writer = process(
        "writer",
        "for n in 1 2 0; do echo $n >&$ORCHESTRA_FEED_FD; read x < gate$n; done",
        uses=(Use("feed", Access.WRITE),),
    )
    gates = [place.parent / f"gate{number}" for number in (1, 2, 0)]
    for gate in gates:
        os.mkfifo(gate)
    with running(place, reader, writer, objects=[feed]) as run:

        def exited(times: int) -> bool:
            return run.path("reader").count("process.exited reader") == times

        for count, gate in enumerate(gates, 1):
            until(partial(exited, count))
            gate.write_text("\n")
        assert run.ended()["exit_code"] == 0
        assert run.lines("reader") == ["got 1", "got 2", "got 0"]
        assert run.path("reader").count("process.ready reader") == 3
        assert run.rows()["reader.1"].restarts == 2
        assert "descendant.killed" not in run.path()


# -- many, and odd clocks --------------------------------------------------------------------------------------------


def test_two_hundred_processes_up_and_down_with_none_left(place: Path) -> None:
    with running(place, process("p", "sleep 1000 & wait", replicas=200)) as run:
        run.up()
        assert run.path().count("process.started p") == 200
        pids = [row["pid"] for row in run.control().state()["processes"]]
        assert len(set(pids)) == 200
        run.stop()
        ended = run.ended()
        assert ended["exit_code"] == 130
        assert ended["processes_left"] == []
        assert run.path().count("process.exited p") == 200
        assert not any(is_alive(pid) for pid in pids)


def test_a_clock_that_is_set_back_delays_nothing_and_leaves_no_zombie(place: Path) -> None:
    """The wall clock of guardian and supervisor jumps back a day each time somebody asks."""
    faked = place.parent / "faked"
    faked.mkdir()
    (faked / "sitecustomize.py").write_text(
        "import time\n"
        "real, day = time.time, 86400.0\n"
        "jumps = iter(range(1, 10**9))\n"
        "time.time = lambda: real() - day * next(jumps)\n"
        "time.time_ns = lambda: int(time.time() * 1e9)\n"
    )
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(faked)
    try:
        run = start(
            place,
            process("a", "exit 1", restart=Restart("on-failure", limit=2, delay=0.01)),
            process("b", "trap '' TERM; echo ready; while :; do sleep 1000; done", grace=0.1, service=True),
            process("c", WAITS, ready=Ready("log", pattern="ready")),
        )
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    try:
        ended = run.ended()
        assert ended["failed"][0]["process"] == "a"
        assert run.path("b")[-2:] == ["process.killed b", "process.exited b"]
        assert ended["processes_left"] == []
        seconds = next(r for r in run.log() if r.get("event") == "run.ended")["data"]["seconds"]
        assert 0 < seconds < 60
    finally:
        run.finish()
