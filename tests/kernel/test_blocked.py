"""What a blocked thread waits for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import posix_ipc
import pytest
import sysv_ipc

from orchestra.kernel.blocked import is_blocked_on
from orchestra.kernel.process import descendants
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Access, Family, Handle, Identity, Kind, Spec
from tests.support.runs import until


@contextmanager
def child(act: Callable[[], object]) -> Iterator[int]:
    """A forked process that does one thing."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def made(family: Family, kind: Kind, **spec: object) -> Iterator[Handle]:
    adapter = adapter_for(family, kind)
    handle = adapter.create(Spec(family, kind, **spec))  # type: ignore[arg-type]
    try:
        yield handle
    finally:
        adapter.remove(handle.ref)
        for fd in handle.fds:
            os.close(fd)


def waits_for(act: Callable[[], object], *identities: Identity) -> list[bool]:
    """Do `act` in a child until it is blocked on the first object; return what is said of the others then."""
    with child(act) as pid:
        until(lambda: is_blocked_on(pid, identities[0]), what="the child to block")
        return [is_blocked_on(pid, identity) for identity in identities[1:]]


NUMBER = os.getpid()
KEY = 0x4F524331 ^ NUMBER


def name(text: str) -> str:
    return f"/orct.blocked-{text}.{NUMBER}"


def test_posix_queue_and_semaphore() -> None:
    with (
        made(Family.POSIX, Kind.QUEUE, name=name("q"), max_messages=2, message_size=8) as queue,
        made(Family.POSIX, Kind.SEMAPHORE, name=name("s"), values=(0,)) as semaphore,
    ):
        receive = lambda: posix_ipc.MessageQueue(name("q")).receive()  # noqa: E731
        acquire = lambda: posix_ipc.Semaphore(name("s")).acquire()  # noqa: E731
        assert waits_for(receive, queue.identity, semaphore.identity) == [False]
        assert waits_for(acquire, semaphore.identity, queue.identity) == [False]


def test_system_v_queue_and_set() -> None:
    with (
        made(Family.SYSV, Kind.QUEUE, key=KEY) as queue,
        made(Family.SYSV, Kind.QUEUE, key=0) as other,
        made(Family.SYSV, Kind.SEMAPHORE, key=KEY, values=(0,)) as semaphores,
    ):
        receive = lambda: sysv_ipc.MessageQueue(KEY).receive()  # noqa: E731
        assert waits_for(receive, queue.identity, other.identity, semaphores.identity) == [False, False]
        acquire = lambda: sysv_ipc.Semaphore(KEY).acquire()  # noqa: E731
        assert waits_for(acquire, semaphores.identity, queue.identity) == [False]


def test_pipes_read_opened_and_in_a_thread(tmp_path: Path) -> None:
    import threading

    with (
        made(Family.ANONYMOUS, Kind.PIPE) as pipe,
        made(Family.FIFO, Kind.PIPE, name=str(tmp_path / "fifo")) as fifo,
    ):
        read = lambda: os.read(pipe.fds[0], 1)  # noqa: E731
        assert waits_for(read, pipe.identity, fifo.identity) == [False]
        assert waits_for(lambda: os.open(tmp_path / "fifo", os.O_RDONLY), fifo.identity, pipe.identity) == [False]

        def relative_in_a_thread() -> None:
            os.chdir(tmp_path)
            thread = threading.Thread(target=os.open, args=("fifo", os.O_WRONLY))
            thread.start()
            signal.pause()

        assert waits_for(relative_in_a_thread, fifo.identity, pipe.identity) == [False]


def test_a_futex_in_a_segment() -> None:
    import ctypes  # noqa: TID251 there is no other way to futex(2)
    import mmap

    def wait(area: mmap.mmap, call: int) -> None:
        word = ctypes.c_uint.from_buffer(area, 64)
        ctypes.CDLL(None).syscall(call, ctypes.byref(word), 0, 0, None, None, 0)  # FUTEX_WAIT

    with made(Family.POSIX, Kind.SEGMENT, name=name("m"), size=4096) as segment:
        fd = adapter_for(Family.POSIX, Kind.SEGMENT).open(segment.ref, Access.READ_WRITE)
        assert fd is not None
        area = mmap.mmap(fd, 4096)
        os.close(fd)
        with made(Family.SYSV, Kind.SEGMENT, key=0, size=4096) as other:
            call = 202 if os.uname().machine == "x86_64" else 98
            assert waits_for(lambda: wait(area, call), segment.identity, other.identity) == [False]


def test_a_process_that_is_gone_is_blocked_on_nothing() -> None:
    with made(Family.ANONYMOUS, Kind.PIPE) as pipe:
        with child(lambda: None) as pid:
            pass
        assert not is_blocked_on(pid, pipe.identity)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")
def test_a_process_of_another_user_cannot_be_looked_into() -> None:
    with made(Family.ANONYMOUS, Kind.PIPE) as pipe, child(lambda: os.read(pipe.fds[0], 1)) as target:
        until(lambda: is_blocked_on(target, pipe.identity))
        read, write = os.pipe()

        def look() -> None:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                is_blocked_on(target, pipe.identity)
            except PermissionError:
                os.write(write, b"refused")

        with child(look):
            os.close(write)
            assert os.read(read, 7) == b"refused"
        os.close(read)
        assert descendants(target) == []
