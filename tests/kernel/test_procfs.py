"""Parsers on recorded texts and on wild ones; readers on this very process and on a made-up /proc."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.errors import KernelError
from orchestra.kernel import procfs
from orchestra.kernel.procfs import ProcfsFormatError

# Linux 6.18, and the same columns since 2.6.
MSG = """\
       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime
-559038737          0   640          30          3  4711     0  1000   100     0     0 1795438749          0 1795438700
"""
SHM = """\
       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap
         0   57344026  1640                  4096  4711  4712      2  1000   100  1000   100 1795438749          0 1795438700                  4096                     0
"""  # noqa: E501 as the kernel prints it
SEM = """\
       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime
  42           3   600         3  1000   100  1000   100          0 1795438700
"""
MAPS = (
    "55d0c0a00000-55d0c0a01000 r--p 00000000 fe:00 131 /usr/bin/python3.11\n"
    "7f0000000000-7f0000001000 rw-s 00000000 00:01 57344026 /SYSV0000002a (deleted)\n"
    "7f0000001000-7f0000002000 rw-s 00001000 00:1b 7 /dev/shm/a name\\012with (deleted)\n"
    "7f0000002000-7f0000003000 rw-p 00000000 00:00 0 [heap]\n"
    "7f0000003000-7f0000004000 rw-p 00000000 00:00 0 \n"
)
LOCKS = (
    "1: POSIX  ADVISORY  WRITE 708 00:1b:13 0 EOF\n"
    "1: -> POSIX  ADVISORY  READ 709 00:1b:13 0 EOF\n"
    "2: OFDLCK ADVISORY  READ -1 fe:00:14 128 1073741951\n"
)
MOUNTS = (
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
    "36 22 0:27 / /mnt/a\\040b rw,nosuid master:1 propagate_from:2 - tmpfs tmpfs rw,size=64k\n"
    "37 22 0:20 / /dev/mqueue rw - mqueue mqueue rw\n"
)
STAT = "4711 (a) b (c) S 1 4711 4711 0 -1 4194560 43084 378965 0 144 177 0 0 0 20 0 1 0 99887766 0 0 0\n"


def test_a_queue_s_row() -> None:
    (row,) = procfs.parse_sysv_msg(MSG)
    assert (row.key, row.id, row.mode, row.cbytes, row.qnum) == (0xDEADBEEF, 0, 0o640, 30, 3)
    assert (row.lspid, row.uid, row.gid, row.cuid, row.stime, row.ctime) == (4711, 1000, 100, 0, 1795438749, 1795438700)


def test_a_segment_s_row() -> None:
    (row,) = procfs.parse_sysv_shm(SHM)
    assert (row.key, row.id, row.mode, row.size) == (0, 57344026, 0o1640, 4096)
    assert (row.cpid, row.lpid, row.nattch, row.rss, row.swap) == (4711, 4712, 2, 4096, 0)


def test_a_set_s_row() -> None:
    (row,) = procfs.parse_sysv_sem(SEM)
    assert (row.key, row.id, row.mode, row.nsems, row.otime, row.ctime) == (42, 3, 0o600, 3, 0, 1795438700)


@pytest.mark.parametrize("parse", [procfs.parse_sysv_msg, procfs.parse_sysv_shm, procfs.parse_sysv_sem])
def test_no_objects_is_normal(parse: Callable[[str], list[object]]) -> None:
    assert parse("       key      msqid perms\n") == []
    assert parse("") == []


@pytest.mark.parametrize(
    ("parse", "text", "where"),
    [
        (procfs.parse_sysv_msg, MSG + "1 2 3\n", "sysvipc/msg, line 3"),
        (procfs.parse_sysv_shm, SHM.replace("1640", "8888"), "sysvipc/shm, line 2"),
        (procfs.parse_sysv_sem, SEM.replace("42", "x"), "sysvipc/sem, line 2"),
        (procfs.parse_maps, "nonsense /x\n", "maps, line 1"),
        (procfs.parse_locks, "1: POSIX\n", "locks, line 1"),
        (procfs.parse_mountinfo, MOUNTS + "1 2\n", "mountinfo, line 4"),
        (procfs.parse_stat, "4711 no brackets", "stat: '4711 no"),
    ],
)
def test_a_text_that_is_not_as_expected_names_the_line(parse: Callable[[str], object], text: str, where: str) -> None:
    with pytest.raises(ProcfsFormatError) as caught:
        parse(text)
    assert where in caught.value.detail
    assert isinstance(caught.value, KernelError)


@pytest.mark.parametrize(
    "parse",
    [
        procfs.parse_sysv_msg, procfs.parse_sysv_shm, procfs.parse_sysv_sem, procfs.parse_maps, procfs.parse_locks,
        procfs.parse_mountinfo, procfs.parse_stat,
    ],
)  # fmt: skip
@given(text=st.text(alphabet="0123456789abc:()-> /\n\\.S", max_size=200))
def test_wild_texts_fail_only_with_the_parsers_own_error(parse: Callable[[str], object], text: str) -> None:
    with suppress(ProcfsFormatError):
        parse(text)


def test_a_process_s_state_with_brackets_in_its_name() -> None:
    found = procfs.parse_stat(STAT)
    assert (found.pid, found.command, found.state, found.parent) == (4711, "a) b (c", "S", 1)
    assert (found.group, found.session, found.start_time) == (4711, 4711, 99887766)
    assert not found.has_ended
    assert not found.is_kernel_thread


@pytest.mark.parametrize(("state", "ended"), [("Z", True), ("X", True), ("R", False), ("T", False), ("I", False)])
def test_zombies_have_ended(state: str, ended: bool) -> None:
    assert procfs.parse_stat(STAT.replace(") S", f") {state}")).has_ended is ended


def test_kernel_threads_are_known_by_their_flag() -> None:
    assert procfs.parse_stat(STAT.replace("4194560", str(0x00200040))).is_kernel_thread


def test_maps_keep_files_and_segments_only() -> None:
    program, segment, shared = procfs.parse_maps(MAPS)
    assert (program.path, program.st_dev) == ("/usr/bin/python3.11", os.makedev(0xFE, 0))
    assert (segment.inode, segment.st_dev, segment.path) == (57344026, os.makedev(0, 1), "/SYSV0000002a (deleted)")
    assert (shared.path, shared.offset, shared.permissions) == (r"/dev/shm/a name\012with (deleted)", 4096, "rw-s")


def test_locks_tell_holders_from_waiters() -> None:
    held, waiting, ofd = procfs.parse_locks(LOCKS)
    assert (held.kind, held.access, held.pid, held.st_dev, held.inode) == (
        "POSIX",
        "WRITE",
        708,
        os.makedev(0, 0x1B),
        13,
    )
    assert (held.waiting, waiting.waiting, waiting.access, waiting.pid) == (False, True, "READ", 709)
    assert (ofd.kind, ofd.pid, ofd.inode) == ("OFDLCK", -1, 14)


def test_mounts_with_escaped_paths_and_optional_fields() -> None:
    root, spaced, queues = procfs.parse_mountinfo(MOUNTS)
    assert (root.path, root.fs_type, root.st_dev) == ("/", "ext4", os.makedev(254, 0))
    assert (spaced.path, spaced.fs_type) == ("/mnt/a b", "tmpfs")
    assert (queues.path, queues.fs_type) == ("/dev/mqueue", "mqueue")


def test_an_environment_of_bytes() -> None:
    found = procfs.parse_environ(b"A=1\0B=a=b\0C=\xff\0junk\0\0D=")
    assert found == {"A": "1", "B": "a=b", "C": os.fsdecode(b"\xff"), "D": ""}


# Readers, against this process and its children ---------------------------------------------------------------


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps on this machine")
def test_this_process_is_read_as_ps_reads_it() -> None:
    me = procfs.process_stat(os.getpid())
    assert me is not None
    shown = subprocess.run(
        ["ps", "-o", "ppid=,pgid=,sid=,comm=", "-p", str(os.getpid())], capture_output=True, text=True
    )
    if shown.returncode == 0:
        parent, group, session, command = shown.stdout.split(maxsplit=3)
        assert (me.parent, me.group, me.session) == (int(parent), int(group), int(session))
        assert command.strip().startswith(me.command[:15])
    assert (me.pid, me.parent) == (os.getpid(), os.getppid())
    assert procfs.start_time(os.getpid()) == me.start_time
    assert procfs.command_of(os.getpid()) == me.command
    assert os.getpid() in procfs.pids()


def test_what_is_gone_is_no_error() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert procfs.process_stat(child.pid) is None
    assert procfs.start_time(child.pid) is None
    assert procfs.environ_of(child.pid) is None
    assert procfs.command_of(child.pid) == ""
    assert procfs.children(child.pid) == []
    assert procfs.descendants(child.pid) == []


def test_an_environment_is_the_one_at_exec() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"ORCT": "ü", "EMPTY": ""})
    try:
        found = procfs.environ_of(child.pid)
        assert found is not None
        assert {"ORCT": "ü", "EMPTY": ""}.items() <= found.items()
    finally:
        child.communicate(b"\n")


def test_an_empty_environment_is_told_from_one_that_is_not_there_yet(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, env={})
    try:
        assert procfs.environ_of(child.pid) == {}
    finally:
        child.communicate(b"\n")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "environ").write_bytes(b"")
    for text in (STAT, STAT.replace(") S", ") Z"), STAT.strip() + " 0" * 26 + " 9 9 0"):
        (tmp_path / "7" / "stat").write_text(text)
        assert procfs.environ_of(7, str(tmp_path)) == {}
    assert procfs.environ_of(8, str(tmp_path)) is None


def test_descendants_come_after_their_parents() -> None:
    script = "sh -c 'echo $$; read x; exit' & sh -c 'sh -c \"echo \\$\\$; read x; exit\"; exit' & echo $$; wait"
    child = subprocess.Popen(["sh", "-c", f"exec 3<&0; {script.replace('read x', 'read x <&3')}"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert child.stdout is not None
    try:
        seen = {int(child.stdout.readline()) for _ in range(3)}
        below = procfs.descendants(child.pid)
        assert seen - {child.pid} <= set(below)
        assert len(below) == 3
        parents = {pid: found.parent for pid in below if (found := procfs.process_stat(pid))}
        for pid, parent in parents.items():
            assert parent == child.pid or below.index(parent) < below.index(pid)
        assert set(procfs.children(child.pid)) == {pid for pid, parent in parents.items() if parent == child.pid}
        assert set(below) <= set(procfs.descendants(os.getpid()))
    finally:
        child.communicate("\n\n\n")


def test_without_the_kernel_s_list_children_are_found_by_their_parent(tmp_path: Path) -> None:
    for pid, parent in ((1, 0), (7, 1), (8, 7), (9, 1)):
        thread = tmp_path / str(pid) / "task" / str(pid)
        thread.mkdir(parents=True)
        text = STAT.replace("4711 (", f"{pid} (").replace(" S 1 ", f" S {parent} ")
        (tmp_path / str(pid) / "stat").write_text(text)
        (thread / "stat").write_text(text)
    assert sorted(procfs.children(1, str(tmp_path))) == [7, 9]
    assert sorted(procfs.descendants(1, str(tmp_path))) == [7, 8, 9]


def test_descriptors_and_locks_of_this_process(tmp_path: Path) -> None:
    with open(tmp_path / "held", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert (file.fileno(), str(tmp_path / "held")) in set(procfs.fd_links("self"))
        mine = os.fstat(file.fileno())
        held = [lock for lock in procfs.locks() if lock.inode == mine.st_ino and lock.kind == "FLOCK"]
        assert [(lock.access, lock.st_dev == mine.st_dev) for lock in held] == [("WRITE", True)]


def test_mappings_of_this_process_agree_with_stat() -> None:
    rows = [row for row in procfs.maps_of(os.getpid()) if row.path == os.path.realpath(sys.executable)]
    assert rows
    assert rows[0].inode == os.stat(sys.executable).st_ino


def test_mounts_of_this_process_agree_with_stat() -> None:
    shm = [mount for mount in procfs.mounts() if mount.path == "/dev/shm"]
    assert all(mount.st_dev == os.stat("/dev/shm").st_dev for mount in shm[-1:])
