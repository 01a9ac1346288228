"""The raw calls, against libraries and tools that read the same structures."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc
from hypothesis import given
from hypothesis import strategies as st

from orchestra.kernel import libc
from orchestra.kinds import Access
from tests.conformance.worlds import in_child


@given(st.integers(0, 2**32 - 1))
def test_keys_go_to_the_kernel_signed_and_come_back_unsigned(key: int) -> None:
    assert -(2**31) <= libc.signed_key(key) < 2**31
    assert libc.unsigned_key(libc.signed_key(key)) == key


def test_a_queue_s_attributes_are_those_that_posix_ipc_reads(ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    queue = posix_ipc.MessageQueue(name, posix_ipc.O_CREX, max_messages=5, max_message_size=77)
    try:
        queue.send(b"x")
        fd = libc.mq_open(name, os.O_RDONLY)
        assert not os.get_inheritable(fd)
        assert libc.mq_getattr(fd) == {"mq_flags": 0, "mq_maxmsg": 5, "mq_msgsize": 77, "mq_curmsgs": 1}
        os.close(fd)
    finally:
        queue.close()
        queue.unlink()
    with pytest.raises(FileNotFoundError):
        libc.mq_open(name, os.O_RDONLY)


def test_a_system_v_queue_as_sysv_ipc_sees_it() -> None:
    queue = sysv_ipc.MessageQueue(secrets.randbits(31) | 1, sysv_ipc.IPC_CREX, mode=0o640)
    try:
        queue.send(b"four")
        fields = libc.msg_stat(queue.id)[1]
        assert fields["msg_perm.key"] == libc.unsigned_key(queue.key)
        assert (fields["msg_perm.mode"], fields["msg_qnum"], fields["msg_cbytes"]) == (0o640, 1, 4)
        assert (fields["msg_lspid"], fields["msg_lrpid"], fields["msg_rtime"]) == (os.getpid(), 0, 0)
        assert fields["msg_qbytes"] == queue.max_size
        libc.msg_set(queue.id, uid=os.getuid(), gid=os.getgid(), mode=0o600, qbytes=100)
        assert (queue.max_size, queue.mode) == (100, 0o600)
        assert libc.msgget(fields["msg_perm.key"], 0) == queue.id
    finally:
        queue.remove()
    with pytest.raises(OSError) as caught:
        libc.msg_stat(queue.id)
    assert caught.value.errno == errno.EINVAL


def test_a_segment_as_sysv_ipc_sees_it() -> None:
    segment = sysv_ipc.SharedMemory(secrets.randbits(31) | 1, sysv_ipc.IPC_CREX, mode=0o600, size=5000)
    try:
        fields = libc.shm_stat(segment.id)[1]
        assert (fields["shm_segsz"], fields["shm_nattch"], fields["shm_cpid"]) == (5000, 1, os.getpid())
        assert fields["shm_perm.key"] == libc.unsigned_key(segment.key)
        libc.shm_set(segment.id, uid=os.getuid(), gid=os.getgid(), mode=0o640)
        assert segment.mode == 0o640
    finally:
        segment.detach()
        segment.remove()


def test_a_set_as_sysv_ipc_sees_it() -> None:
    number = libc.semget(key := secrets.randbits(31) | 1, 3, libc.IPC_CREAT | libc.IPC_EXCL | 0o600)
    try:
        libc.sem_set_values(number, [7, 0, 32767])
        assert sysv_ipc.Semaphore(key).value == 7
        assert libc.sem_values(number, 3) == [7, 0, 32767]
        assert libc.sem_stat(number)[1]["sem_nsems"] == 3
        assert libc.sem_stat(number)[1]["sem_ctime"] > 1_000_000_000
        sysv_ipc.Semaphore(key).release()
        assert libc.sem_query(number, 0, libc.GETPID) == os.getpid()
        libc.sem_set(number, uid=os.getuid(), gid=os.getgid(), mode=0o440)
        assert libc.sem_stat(number)[1]["sem_perm.mode"] == 0o440
    finally:
        sysv_ipc.remove_semaphore(number)


def test_any_object_can_be_looked_at_by_its_index() -> None:
    number = libc.semget(0, 1, libc.IPC_CREAT | 0o600)
    try:
        found, fields = libc.sem_stat(number & 0x7FFF, libc.SEM_STAT_ANY)
        assert (found, fields) == (number, libc.sem_stat(number)[1])
    finally:
        sysv_ipc.remove_semaphore(number)


def test_statx_agrees_with_stat(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5000)
    os.link(path, tmp_path / "second")
    (tmp_path / "link").symlink_to(path)
    found, known = libc.statx(str(path)), path.stat()
    for name in ("st_dev", "st_ino", "st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks"):
        assert getattr(found, name) == getattr(known, name), name
    assert (found.st_mtime, found.st_ctime) == (int(known.st_mtime), int(known.st_ctime))
    with open(path) as file:
        assert libc.statx(file.fileno()) == found
    assert libc.statx(str(tmp_path / "link"), follow=True) == found
    assert libc.statx(str(tmp_path / "link")).st_ino != found.st_ino
    folder = os.open(tmp_path, os.O_RDONLY)
    assert libc.statx("second", dir_fd=folder, sync=False) == found
    os.close(folder)
    with pytest.raises(FileNotFoundError):
        libc.statx(str(tmp_path / "no"))


def test_the_birth_time_is_the_one_that_stat_1_prints(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    shown = subprocess.run(["stat", "-c", "%W", path], capture_output=True, text=True, check=True).stdout
    birth = libc.statx(str(path)).birth_ns
    assert (birth or 0) // 1_000_000_000 == int(shown)


def test_file_system_types() -> None:
    for path in ("/proc", "/dev/shm", "/"):
        shown = subprocess.run(["stat", "-f", "-c", "%t", path], capture_output=True, text=True, check=True).stdout
        assert libc.file_system_type(path) == int(shown, 16)


@pytest.mark.root
def test_a_mount_that_appears_nowhere_shows_the_queues(ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    queue = posix_ipc.MessageQueue(name, posix_ipc.O_CREX, max_messages=1, max_message_size=8)
    try:
        before = Path("/proc/self/mountinfo").read_text()
        folder = libc.detached_mqueue()
        assert name[1:] in os.listdir(folder)
        assert os.stat(name[1:], dir_fd=folder).st_ino == os.fstat(queue.mqd).st_ino
        assert Path("/proc/self/mountinfo").read_text() == before
        assert not os.get_inheritable(folder)
        os.close(folder)
    finally:
        queue.close()
        queue.unlink()


def test_reopening_a_memfd_narrows_the_access() -> None:
    fd = os.memfd_create("orct")
    for access, readable, writable in ((Access.READ, 1, 0), (Access.WRITE, 1, 1), (Access.READ_WRITE, 1, 1)):
        again = libc.reopen(fd, access)
        mode = os.O_RDWR if readable and writable else os.O_RDONLY
        assert os.get_inheritable(again) is False
        assert read_flags(again) & os.O_ACCMODE == mode
        os.close(again)
    os.close(fd)


def test_reopening_an_end_of_a_pipe() -> None:
    reading, writing = os.pipe()
    again = libc.reopen(writing, Access.WRITE)
    assert read_flags(again) & os.O_ACCMODE == os.O_WRONLY
    os.write(again, b"x")
    assert os.read(reading, 9) == b"x"
    for fd in (reading, writing, again):
        os.close(fd)


def read_flags(fd: int) -> int:
    text = Path(f"/proc/self/fdinfo/{fd}").read_text()
    return int(text.split("flags:")[1].split()[0], 8)


def test_a_subreaper_inherits_orphans() -> None:
    def adopt() -> list[bool]:
        before = libc.is_subreaper()
        libc.set_subreaper()
        reading, writing = os.pipe()
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                os.read(reading, 1)  # until the one in the middle is gone
                os._exit(7)
            os._exit(0)
        os.waitpid(middle, 0)
        os.write(writing, b"x")
        status = os.waitpid(-1, 0)[1]
        during = libc.is_subreaper()
        libc.set_subreaper(False)
        return [before, during, libc.is_subreaper(), os.waitstatus_to_exitcode(status) == 7]

    assert in_child(adopt) == [False, True, False, True]


def test_the_signal_at_a_parent_s_death() -> None:
    def die() -> int:
        libc.set_subreaper()
        ready, say = os.pipe()
        if os.fork() == 0:
            if os.fork() == 0:
                libc.set_pdeathsig(signal.SIGTERM)
                os.write(say, str(os.getpid()).encode())
                signal.pause()
            os.read(ready, 20)
            os._exit(0)
        codes = {os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2)}
        return min(codes)

    assert in_child(die) == -signal.SIGTERM


def test_the_name_that_ps_shows() -> None:
    def rename() -> str:
        libc.set_name("orchestra: a name that is too long")
        return Path("/proc/self/comm").read_text()

    assert in_child(rename) == "orchestra: a na\n"


def test_importing_it_loads_neither_binding() -> None:
    script = (
        "import sys, orchestra.kernel.process, orchestra.kernel.registry, orchestra.kernel.holders\n"
        "print(sorted({'posix_ipc', 'sysv_ipc', 'pydantic', 'yaml', 'structlog', 'subprocess'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
