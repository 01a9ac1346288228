from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.errors import LedgerError
from orchestra.kinds import OBJECT_KINDS, Family, Identity, Kind, OnDown
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState, RemovalRow
from tests.support.rows import handle_of, object_row, process_row, run_row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger.open(path) as ledger:
        yield ledger


# Runs


def test_a_run_comes_back_as_it_was_written(ledger: Ledger) -> None:
    run = run_row(detached=True, socket="/s", log="/l", guardian_pid=3, guardian_start=4)
    ledger.begin_run(run)
    assert ledger.run("r1") == run
    assert ledger.run("r2") is None


def test_a_run_id_is_taken_once(ledger: Ledger) -> None:
    ledger.begin_run(run_row())
    with pytest.raises(LedgerError, match="could not be used"):
        ledger.begin_run(run_row())


def test_update_run_changes_just_those_fields(ledger: Ledger) -> None:
    ledger.begin_run(run_row())
    ledger.update_run("r1", state="failed", exit_code=1, finished=True)
    ledger.update_run("r1")
    assert ledger.run("r1") == run_row()._replace(state="failed", exit_code=1, finished=True)


def test_what_is_to_become_of_an_object_can_change(ledger: Ledger) -> None:
    number = ledger.intend(object_row())
    ledger.set_on_down(number, OnDown.KEEP)
    found = ledger.object(number)
    assert found is not None
    assert found.on_down is OnDown.KEEP
    with pytest.raises(LedgerError):
        ledger.set_on_down(number + 1, OnDown.KEEP)


def test_update_run_refuses_unknown_fields_and_runs(ledger: Ledger) -> None:
    ledger.begin_run(run_row())
    with pytest.raises(TypeError, match="no field stat"):
        ledger.update_run("r1", stat="up")
    with pytest.raises(LedgerError, match="r9 is not on record"):
        ledger.update_run("r9", state="up")


def test_the_newest_run_is_the_one_recorded_last_whatever_the_clock_says(ledger: Ledger) -> None:
    for name, started in (("r1", 50.0), ("r2", 40.0)):
        ledger.begin_run(run_row(name, started_at=started))
    ledger.begin_run(run_row("other", instance="else"))
    newest = ledger.newest_run("pipeline")
    assert newest is not None
    assert newest.run == "r2"
    assert ledger.newest_run("nobody") is None
    assert [run.run for run in ledger.runs()] == ["r1", "r2", "other"]
    assert [run.run for run in ledger.runs(instance="pipeline")] == ["r1", "r2"]


# Processes


def test_processes_are_replaced_by_run_name_and_replica(ledger: Ledger) -> None:
    ledger.record_processes([process_row(replica=2), process_row(replica=1, pid=10, start_time=5)])
    ledger.record_processes([process_row(replica=2, state="exited", signal="SIGKILL", reason="because")])
    assert ledger.processes("r1") == [
        process_row(replica=1, pid=10, start_time=5),
        process_row(replica=2, state="exited", signal="SIGKILL", reason="because"),
    ]
    assert ledger.processes("r2") == []


def test_recording_no_processes_is_fine(ledger: Ledger) -> None:
    ledger.record_processes([])
    assert ledger.processes("r1") == []


# Objects


@pytest.mark.parametrize(("family", "kind"), OBJECT_KINDS)
def test_an_object_of_each_kind_comes_back_as_it_was_written(ledger: Ledger, family: Family, kind: Kind) -> None:
    row = object_row(family, kind, on_down=OnDown.KEEP, shape={"size": 3, "values": [1, 2]}, wanted_name="/w")
    number = ledger.intend(row)
    assert ledger.object(number) == row._replace(number=number)


def test_an_intent_gets_a_time_when_it_has_none(ledger: Ledger) -> None:
    row = ledger.object(ledger.intend(object_row(created_at=0.0)))
    assert row is not None
    assert row.created_at > 1e9


def test_the_life_of_an_explicitly_named_segment(ledger: Ledger) -> None:
    row = object_row(wanted_name="/board")
    number = ledger.intend(row)
    handle = handle_of(row, st_dev=2**40, st_ino=2**63 - 1, birth_ns=7)
    ledger.confirm(number, handle)
    live = ledger.object(number)
    assert live == row._replace(number=number, identity=handle.identity, state=ObjectState.LIVE)
    ledger.rename(number, "/board")
    renamed = ledger.object(number)
    assert renamed is not None
    assert (renamed.name, renamed.wanted_name) == ("/board", None)
    ledger.settle(number, ObjectState.KEPT, "--leak", by_hand=True)
    kept = ledger.object(number)
    assert kept is not None
    assert (kept.state, kept.why, kept.by_hand_leak) == (ObjectState.KEPT, "--leak", True)
    assert kept.settled_at is not None


def test_confirm_records_id_zero_and_an_unsigned_key(ledger: Ledger) -> None:
    row = object_row(Family.SYSV, Kind.QUEUE, ipc_key=0xDEADBEEF)
    number = ledger.intend(row)
    ledger.confirm(number, handle_of(row, id=0, key=0xDEADBEEF))
    live = ledger.object(number)
    assert live is not None
    assert (live.id, live.ipc_key) == (0, 0xDEADBEEF)
    assert live.identity == Identity(Family.SYSV, Kind.QUEUE, id=0, key=0xDEADBEEF)


def test_objects_are_found_by_run_instance_and_state(ledger: Ledger) -> None:
    first = ledger.intend(object_row())
    second = ledger.intend(object_row(run="r2"))
    third = ledger.intend(object_row(run="r3", instance="else"))
    ledger.settle(second, ObjectState.REMOVED)
    assert [row.number for row in ledger.objects()] == [first, second, third]
    assert [row.number for row in ledger.objects(run="r2")] == [second]
    assert [row.number for row in ledger.objects(instance="pipeline")] == [first, second]
    assert [row.number for row in ledger.objects(instance="pipeline", states=[ObjectState.INTENDED])] == [first]
    assert ledger.objects(states=[]) == []


def test_changing_an_unknown_object_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="object row 9 is not on record"):
        ledger.settle(9, ObjectState.GONE)


def test_a_kept_object_is_adopted_once(ledger: Ledger) -> None:
    kept = ledger.intend(object_row())
    ledger.settle(kept, ObjectState.KEPT)
    number = ledger.adopt(kept, object_row(run="r2", state=ObjectState.LIVE))
    old = ledger.object(kept)
    assert number is not None
    assert old is not None
    assert (old.state, old.why) == (ObjectState.GONE, "taken over by run r2")
    assert ledger.adopt(kept, object_row(run="r3")) is None
    assert len(ledger.objects()) == 2


def test_a_transaction_is_all_or_nothing_and_nests(ledger: Ledger, path: Path) -> None:
    def interrupted() -> None:
        with ledger.transaction():
            ledger.intend(object_row())
            with ledger.transaction():
                ledger.intend(object_row())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupted()
    assert ledger.objects() == []
    with ledger.transaction():
        ledger.intend(object_row())
    with Ledger.open(path) as other:
        assert len(other.objects()) == 1


def test_a_committed_intent_survives_sigkill(path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from orchestra.ledger.journal import Ledger\n"
        "from tests.support.rows import object_row\n"
        "ledger = Ledger.open(Path(sys.argv[1])); ledger.intend(object_row())\n"
        "with ledger.transaction():\n"
        "    ledger.intend(object_row(key='lost'))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], timeout=30).returncode == -9
    with Ledger.open(path) as ledger:
        assert [row.key for row in ledger.objects()] == ["board"]


# Opening


def test_the_file_is_private_and_write_ahead_logged(path: Path) -> None:
    old = os.umask(0)
    try:
        with Ledger.open(path) as ledger:
            ledger.intend(object_row())
            modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert modes == {"record.db": 0o600, "record.db-wal": 0o600, "record.db-shm": 0o600}


def test_a_network_file_system_gets_a_rollback_journal(path: Path) -> None:
    with Ledger.open(path, file_system=lambda _: "nfs4") as ledger:
        ledger.intend(object_row())
        assert not path.with_name("record.db-wal").exists()
    connection = sqlite3.connect(path)
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    connection.close()
    assert mode in ("truncate", "delete")  # not a property of the file, unlike "wal"


def test_looking_only_makes_no_file(path: Path) -> None:
    with Ledger.open(path, create=False) as ledger:
        assert ledger.runs() == []
        ledger.begin_run(run_row())
        assert ledger.run("r1") is not None
    assert not path.exists()


def test_looking_reads_a_ledger_that_is_there(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.begin_run(run_row())
    with Ledger.open(path, create=False) as ledger:
        assert ledger.run("r1") == run_row()


def test_two_ledgers_in_one_process_do_not_lose_their_locks(path: Path) -> None:
    with Ledger.open(path) as first, first.transaction():
        first.intend(object_row())
        Ledger.open(path).close()
        program = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)\n"
            "c.execute('BEGIN IMMEDIATE')"
        )
        other = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=30)
        assert "database is locked" in other.stderr


def test_many_first_openers_agree(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from orchestra.ledger.journal import Ledger\n"
        "from tests.support.rows import object_row\n"
        "ledger = Ledger.open(Path(sys.argv[1])); [ledger.intend(object_row()) for _ in range(20)]; ledger.close()"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(path)], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    failures = [child.communicate(timeout=60)[1] for child in children]
    assert failures == [""] * 4
    with Ledger.open(path) as ledger:
        assert len(ledger.objects()) == 80


def test_writers_wait_for_each_other(path: Path) -> None:
    with Ledger.open(path) as first:
        began, done = threading.Event(), []

        def second() -> None:
            with Ledger.open(path) as ledger:
                began.set()
                done.append(ledger.intend(object_row(key="second")))

        with first.transaction():
            first.intend(object_row(key="first"))
            thread = threading.Thread(target=second)
            thread.start()
            assert began.wait(20)
        thread.join(20)
        assert [row.key for row in first.objects()] == ["first", "second"]
        assert len(done) == 1


def test_a_ledger_is_refused_in_a_forked_process(ledger: Ledger) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            ledger.runs()
        except LedgerError as err:
            ledger.close()
            os._exit(7 if "before a fork" in str(err) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert ledger.runs() == []


def test_rows_that_no_version_of_ours_writes_are_an_error_with_words(ledger: Ledger, path: Path) -> None:
    ledger.intend(object_row())
    connection = sqlite3.connect(path)
    connection.execute("UPDATE objects SET state = 'lost'")
    connection.commit()
    connection.close()
    with pytest.raises(LedgerError, match=r"row of the ledger .* is damaged"):
        ledger.objects()


def test_a_removal_of_what_others_made_is_announced_and_settled(tmp_path: Path) -> None:
    identity = Identity(Family.SYSV, Kind.SEGMENT, boot_id="b", ipc_ns=1, id=0, key=7, cuid=0, cgid=0, size=8, cpid=9)
    row = RemovalRow("sysv-segment:0", identity, "orphan", "its maker is gone", "clean", pid=11, uid=0)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        first = ledger.announce_removal(row)
        second = ledger.announce_removal(row._replace(command="undeclared", run="r1", at=5.0))
        ledger.settle_removal(first, "removed")
        one, two = ledger.removals()
        assert one == row._replace(number=first, at=one.at, outcome="removed")
        assert one.at > 0
        assert (two.number, two.outcome, two.run, two.at) == (second, "removing", "r1", 5.0)
        ledger.settle_removal(second, "refused", "held by 12 (sh)")
        assert ledger.removals()[1].why == "held by 12 (sh)"
