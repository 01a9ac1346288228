"""The leak check itself: what it finds, what it lets pass, and that it fails a session."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import leaks
from tests.support.leaks import Seen, Snapshot, judge

ROOT = Path(__file__).parents[2]
ME = os.getuid()
OURS = frozenset({ME})
MARK = "a1b2c3"
OLD = Seen("shm", "/orct.old", (1, 7), ME)


def left(*after: Seen, before: tuple[Seen, ...] = (OLD,), ledgers: tuple[Seen, ...] = ()) -> leaks.Verdict:
    return judge(
        Snapshot(frozenset(before)),
        Snapshot(frozenset([*before, *after])),
        mark=MARK,
        in_ledgers=frozenset(ledgers),
        ours=OURS,
    )


def test_a_name_with_the_mark_of_the_suite_is_surely_ours() -> None:
    thing = Seen("shm", f"/orct.{MARK}.x.1", (1, 8), ME)
    assert left(thing).sure == [thing]


def test_what_a_ledger_of_the_suite_names_is_surely_ours() -> None:
    thing = Seen("sysv-msg", "3", (99, ME, ME), ME + 1)
    assert left(thing, ledgers=(thing,)).sure == [thing]


@pytest.mark.parametrize("name", ["/orct.x", "/orc.ring.frames.k3j9x2ab", "/sem.orct.x", "/sem.orc.a.b.c"])
def test_a_name_of_the_kind_we_give_is_likely_ours(name: str) -> None:
    thing = Seen("shm", name, (1, 8), ME)
    verdict = left(thing)
    assert (verdict.sure, verdict.likely) == ([], [thing])
    assert verdict.fails(alone=True)
    assert not verdict.fails(alone=False)


@pytest.mark.parametrize(
    "thing",
    [
        Seen("shm", "/someone.elses", (1, 8), ME),
        Seen("shm", "/orct.x", (1, 8), ME + 1),
        Seen("sysv-shm", "4", (0, ME, ME), ME, makers=(1,)),
    ],
    ids=["another name", "another user", "made by a living process that is not ours"],
)
def test_what_others_make_meanwhile_is_none_of_our_business(thing: Seen) -> None:
    verdict = left(thing)
    assert (verdict.sure, verdict.likely) == ([], [])


def test_the_same_name_with_another_inode_is_new() -> None:
    again = Seen("shm", "/orct.old", (1, 9), ME)
    assert left(again).likely == [again]


def test_use_of_an_old_queue_by_another_process_does_not_make_it_new() -> None:
    before = Seen("sysv-msg", "3", (99, 0, 0), ME, makers=(10,))
    after = Seen("sysv-msg", "3", (99, 0, 0), ME, makers=(11,))
    verdict = judge(
        Snapshot(frozenset([before])), Snapshot(frozenset([after])), mark=MARK, in_ledgers=frozenset(), ours=OURS
    )
    assert not verdict.likely


def test_the_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "sysvipc").mkdir()
    (tmp_path / "sysvipc" / "sem").write_text("key semid perms nsems uid gid cuid cgid otime ctime\n")
    (tmp_path / "shm").mkdir()
    found = leaks.take(shm=tmp_path / "shm", proc=tmp_path, sockets=tmp_path / "none", queues=lambda: ([], "no view"))
    assert (found.things, found.blind) == (frozenset(), ("no view",))


def test_finds_a_real_segment_and_a_row_of_proc_sysvipc(tmp_path: Path) -> None:
    (tmp_path / "sysvipc").mkdir()
    (tmp_path / "sysvipc" / "shm").write_text(
        "       key      shmid perms       size  cpid  lpid nattch   uid   gid  cuid  cgid      atime\n"
        "        17          0   600       4096    42    43      1     0     0     5     6          1\n"
    )
    folder = tmp_path / "shm"
    folder.mkdir()
    (folder / "orct.seen").touch()
    found = leaks.take(shm=folder, proc=tmp_path, sockets=tmp_path / "none", queues=lambda: ([], ""))
    info = (folder / "orct.seen").stat()
    assert found.things == {
        Seen("shm", "/orct.seen", (info.st_dev, info.st_ino), ME),
        Seen("sysv-shm", "0", (17, 5, 6), 5, makers=(42, 43)),
    }


def test_a_ledger_names_its_objects_but_not_a_stranger_with_a_used_id(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute("CREATE TABLE objects (kind, name, id, ipc_key, state)")
        database.executemany(
            "INSERT INTO objects VALUES (?, ?, ?, ?, ?)",
            [
                ("queue", None, 0, 0x80000001, "removed"),
                ("segment", None, 0, 0, "removed"),
                ("semaphore", "/slots", None, None, "live"),
            ],
        )
    database.close()
    ours = {
        Seen("sysv-msg", "0", (0x80000001 - 2**32, ME, ME), ME),  # the kernel prints keys with a sign
        Seen("shm", "/sem.slots", (1, 5), ME),
    }
    strangers = {Seen("sysv-shm", "0", (0, ME, ME), ME), Seen("sysv-msg", "0", (77, ME, ME), ME)}
    assert leaks.ledger_things(tmp_path, Snapshot(frozenset(ours | strangers))) == ours


def test_a_broken_ledger_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database")
    assert leaks.ledger_things(tmp_path, Snapshot(frozenset([OLD]))) == frozenset()


def test_finds_a_marked_process_that_escaped_by_a_double_fork() -> None:
    script = "sleep 300 >/dev/null 2>&1 & echo $!"
    shell = subprocess.run(
        ["setsid", "sh", "-c", script], env={**os.environ, leaks.MARK: MARK}, capture_output=True, check=True
    )
    pid = int(shell.stdout)
    try:
        assert pid in {thing.key[0] for thing in leaks.marked_processes(MARK)}
        assert pid not in {thing.key[0] for thing in leaks.marked_processes("other")}
    finally:
        leaks.end_process(pid)


def test_finds_a_child_without_any_environment_and_no_zombie() -> None:
    child = subprocess.Popen(["sleep", "300"], env={})
    try:
        assert child.pid in {thing.key[0] for thing in leaks.marked_processes(MARK)}
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
        assert child.pid not in {thing.key[0] for thing in leaks.marked_processes(MARK)}
    finally:
        child.kill()
        child.wait()


def test_two_suites_know_of_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "suites"
    with leaks.registered("one", folder) as first_alone:
        assert first_alone()
        with leaks.registered("two", folder) as second_alone:
            assert not second_alone()
            assert not first_alone()
        assert not first_alone(), "company in between is company: it may have left something too"
    assert not folder.exists()


def test_a_registration_whose_suite_died_is_no_company(tmp_path: Path) -> None:
    (tmp_path / "killed").touch()
    with leaks.registered("one", tmp_path) as alone:
        assert alone()


LEAKY = """
import subprocess
def test_leaves_a_segment_and_a_process(ipc_name):
    open("/dev/shm" + ipc_name(), "x").close()
    subprocess.run(["sh", "-c", "exec sleep 300 >/dev/null 2>&1 &"], check=True)
"""
CLEAN = """
import os
def test_cleans_up(ipc_name):
    path = "/dev/shm" + ipc_name()
    open(path, "x").close()
    os.unlink(path)
"""


def run_suite(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_inner.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir=."]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DEBUG_TEMPROOT": str(folder)}
    environment.pop(leaks.MARK, None)
    return subprocess.run(
        [*command, "test_inner.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_suite_that_leaves_something_fails_and_says_what(tmp_path: Path) -> None:
    result = run_suite(tmp_path, LEAKY)
    left_name = next(word for word in result.stdout.split() if word.startswith("/orct."))
    try:
        assert result.returncode == 1
        assert "1 passed, 1 error" in result.stdout
        assert "sleep 300" in result.stdout, "the process is named"
        pid = int(next(line.split()[1] for line in result.stdout.splitlines() if "sleep 300" in line))
        assert not is_running(pid), "and ended, once reported"
    finally:
        Path("/dev/shm" + left_name).unlink()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_clean_suite_passes(tmp_path: Path) -> None:
    result = run_suite(tmp_path, CLEAN)
    assert result.returncode == 0, result.stdout + result.stderr


def test_names_of_one_test_differ(ipc_name: Callable[[], str]) -> None:
    names = {ipc_name() for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("/orct.") for name in names)
