"""Who holds what, with real processes as holders."""

from __future__ import annotations

import mmap
import os
import secrets
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestra.kernel import procfs
from orchestra.kernel.holders import holders_of
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Access, Family, Fill, Handle, Identity, Kind, Spec
from tests.conformance.worlds import holding, in_child


@contextmanager
def made(spec: Spec) -> Iterator[Handle]:
    adapter = adapter_for(spec.family, spec.kind)
    handle = adapter.create(spec)
    try:
        yield handle
    finally:
        for fd in handle.fds:
            os.close(fd)
        adapter.remove(handle.ref)


def who(identity: Identity) -> set[tuple[int, str]]:
    return {(holder.pid, holder.how) for holder in holders_of([identity])[0].holders}


def eventually(identity: Identity, wanted: tuple[int, str]) -> bool:
    """Look until the kernel shows it, ten seconds at most."""
    poll = select.poll()
    return any(wanted in who(identity) or poll.poll(10) for _ in range(1000))


def sysv(kind: Kind, **numbers: Any) -> Spec:
    return Spec(Family.SYSV, kind, key=secrets.randbits(31) | 1, **numbers)


def test_an_open_queue(ipc_name: Callable[[], str]) -> None:
    spec = Spec(Family.POSIX, Kind.QUEUE, name=ipc_name(), max_messages=1, message_size=8)
    with made(spec) as handle:
        assert who(handle.identity) == set()
        with holding(lambda: adapter_for(*pair(spec)).open(handle.ref, Access.READ)) as pid:
            assert who(handle.identity) == {(pid, "open")}
            adapter_for(*pair(spec)).remove(handle.ref)
            assert who(handle.identity) == {(pid, "open")}, "unlinked, but still held"
        assert who(handle.identity) == set()


def pair(spec: Spec) -> tuple[Family, Kind]:
    return spec.family, spec.kind


@pytest.mark.parametrize("family", [Family.POSIX, Family.FILE])
def test_a_segment_open_and_mapped(family: Family, ipc_name: Callable[[], str], tmp_path: Path) -> None:
    name = ipc_name() if family is Family.POSIX else str(tmp_path / "segment")
    spec = Spec(family, Kind.SEGMENT, name=name, size=4096)

    def hold() -> mmap.mmap:
        fd = adapter_for(*pair(spec)).open(handle.ref, Access.READ_WRITE)
        assert fd is not None
        view = mmap.mmap(fd, 4096)  # keeps a descriptor of its own
        os.close(fd)
        return view

    with made(spec) as handle, holding(hold) as pid:
        assert who(handle.identity) == {(pid, "open"), (pid, "mapped")}
        stranger = handle.identity._replace(st_ino=(handle.identity.st_ino or 0) + 100_000)
        assert who(stranger) == set()


def test_a_semaphore_is_only_mapped_and_its_creator_s_map_reads_deleted(ipc_name: Callable[[], str]) -> None:
    import posix_ipc

    name = ipc_name()
    with holding(lambda: posix_ipc.Semaphore(name, posix_ipc.O_CREX, initial_value=1)) as pid:
        found = adapter_for(Family.POSIX, Kind.SEMAPHORE).stat(Spec(Family.POSIX, Kind.SEMAPHORE, name=name).ref)
        assert found is not None
        try:
            assert who(found.identity) == {(pid, "mapped")}
        finally:
            posix_ipc.unlink_semaphore(name)


def test_an_attached_segment_also_when_marked() -> None:
    import sysv_ipc

    spec = sysv(Kind.SEGMENT, size=4096)
    adapter = adapter_for(*pair(spec))
    with made(spec) as handle:
        nobody = holders_of([handle.identity])[0]
        assert (nobody.holders, nobody.complete) == ((), True), "shm_nattch is 0, whatever we may not look into"
        with holding(lambda: sysv_ipc.attach(handle.ref.id or 0)) as pid:
            held = holders_of([handle.identity])[0]
            assert {(h.pid, h.how) for h in held.holders} == {(pid, "attached")}
            assert held.complete, "one attachment counted, one found"
            assert adapter.remove(handle.ref) is True
            assert adapter.remove(handle.ref) is False, "it is marked already"
            marked = adapter.stat(handle.ref)
            assert marked is not None
            assert (marked.marked, marked.attached, marked.ref.key) == (True, 1, 0)
            assert handle.identity.is_same(marked.identity)
            assert who(handle.identity) == who(marked.identity) == {(pid, "attached")}
        assert adapter.stat(handle.ref) is None, "the last detach ends a marked segment"


def test_attachments_that_cannot_be_found_make_the_answer_incomplete(tmp_path: Path) -> None:
    import sysv_ipc

    (tmp_path / "1").mkdir()
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "ipc").symlink_to("/proc/self/ns/ipc")
    with made(sysv(Kind.SEGMENT, size=4096)) as handle:
        segment = sysv_ipc.attach(handle.ref.id or 0)
        try:
            held = holders_of([handle.identity], root=str(tmp_path))[0]
            assert (held.holders, held.complete) == ((), False)
        finally:
            segment.detach()


def test_a_process_that_waits_on_a_queue_or_a_set() -> None:
    import sysv_ipc

    queue, semaphores = sysv(Kind.QUEUE, capacity=1024), sysv(Kind.SEMAPHORE, values=(0,))
    with made(queue) as q, made(semaphores) as s:
        with holding(lambda: sysv_ipc.MessageQueue(queue.key).receive(), blocks=True) as pid:
            assert eventually(q.identity, (pid, "waiting"))
            assert who(s.identity) == set()
        with holding(lambda: sysv_ipc.Semaphore(semaphores.key).acquire(), blocks=True) as pid:
            assert eventually(s.identity, (pid, "waiting"))
            assert who(q.identity) == set()


def test_memfds_and_pipes_are_found_by_their_descriptors() -> None:
    with made(Spec(Family.MEMFD, Kind.SEGMENT, name="orct", size=4096, fill=Fill(text="x"))) as memfd:
        assert who(memfd.identity) == {(os.getpid(), "open")}
        with mmap.mmap(memfd.fds[0], 4096):
            assert (os.getpid(), "mapped") in who(memfd.identity)
    with made(Spec(Family.ANONYMOUS, Kind.PIPE)) as pipe:
        assert who(pipe.identity) == {(os.getpid(), "open")}
        with holding(lambda: None) as pid:
            assert who(pipe.identity) == {(os.getpid(), "open"), (pid, "open")}


def test_a_fifo_is_found_by_its_open_ends(tmp_path: Path) -> None:
    with made(Spec(Family.FIFO, Kind.PIPE, name=str(tmp_path / "fifo"))) as handle:
        fd = os.open(tmp_path / "fifo", os.O_RDWR)
        assert who(handle.identity) == {(os.getpid(), "open")}
        os.close(fd)


def test_many_answers_in_one_pass(ipc_name: Callable[[], str]) -> None:
    specs = [Spec(Family.POSIX, Kind.SEGMENT, name=ipc_name(), size=4096), sysv(Kind.SEGMENT, size=4096)]
    with made(specs[0]) as first, made(specs[1]) as second:
        fd = adapter_for(*pair(specs[0])).open(first.ref, Access.READ)
        assert fd is not None
        answers = holders_of([second.identity, first.identity, first.identity])
        os.close(fd)
    assert answers[0].holders == ()
    assert [holder.pid for holder in answers[1].holders] == [os.getpid()]
    assert answers[1] == answers[2]
    assert answers[1].holders[0].command == procfs.command_of(os.getpid())


def test_an_identity_of_another_boot_or_namespace_is_never_matched() -> None:
    with made(sysv(Kind.SEGMENT, size=4096)) as handle:
        for other in (handle.identity._replace(boot_id="other"), handle.identity._replace(ipc_ns=1)):
            held = holders_of([other])[0]
            assert (held.holders, held.complete) == ((), False)


def test_nothing_to_look_for() -> None:
    assert holders_of([]) == {}


@pytest.mark.root
def test_an_ordinary_user_never_hears_nobody(ipc_name: Callable[[], str]) -> None:
    spec = Spec(Family.POSIX, Kind.SEGMENT, name=ipc_name(), size=4096)
    with made(spec) as handle:
        seen = in_child(lambda: holders_of([handle.identity])[0].complete, as_nobody=True)
        assert seen is False


def test_zombies_and_kernel_threads_hold_nothing(tmp_path: Path, ipc_name: Callable[[], str]) -> None:
    stat = "{} (x) {} 0 1 1 0 -1 {} " + "0 " * 12 + "5 0 0\n"
    for pid, state, flags in ((1, "S", 0), (2, "S", 0x00200040), (3, "Z", 0)):
        folder = tmp_path / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "maps").write_text("")
        (folder / "stat").write_text(stat.format(pid, state, flags))
    identity = Identity(Family.POSIX, Kind.SEGMENT, st_dev=1, st_ino=2)
    assert holders_of([identity], root=str(tmp_path))[0].complete

    def refuse(pid: int) -> bool:
        (tmp_path / str(pid) / "fd").chmod(0)
        try:
            tmp_path.chmod(0o755)
            return holders_of([identity], root=str(tmp_path))[0].complete
        finally:
            (tmp_path / str(pid) / "fd").chmod(0o755)

    if os.getuid() != 0:
        assert [refuse(1), refuse(2), refuse(3)] == [False, True, True]


def test_a_proc_that_hides_processes_makes_every_answer_incomplete(tmp_path: Path) -> None:
    identity = Identity(Family.POSIX, Kind.SEGMENT, st_dev=1, st_ino=2)
    assert not holders_of([identity], root=str(tmp_path))[0].complete
