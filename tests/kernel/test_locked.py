"""Memory that stays: what /proc says of mappings, of segments, and of this process."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from orchestra.errors import KernelError, LimitReached, OutOfSpace, PermissionRefused
from orchestra.kernel import libc
from orchestra.kernel.locked import LockedSegments
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Fill, Kind, ObjectRef, Spec

SIZE = 1 << 20
HUGE = 2 << 20
REF = ObjectRef(Family.MEMFD, Kind.SEGMENT)


def locked_kib() -> int:
    """VmLck of this process."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmLck:")[2].split()[0])


def free_huge_pages() -> int:
    try:
        return int(Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read_text())
    except OSError:
        return 0


def test_a_segment_is_locked_until_it_is_let_go() -> None:
    before, held = locked_kib(), LockedSegments()
    fd = os.memfd_create("orct")
    os.ftruncate(fd, SIZE)
    held.keep("a", REF, fd)
    assert locked_kib() - before == SIZE // 1024
    assert os.fstat(fd).st_blocks * 512 == SIZE, "all of it is in memory now"
    held.keep("a", REF, fd)
    assert locked_kib() - before == SIZE // 1024, "the second takes the place of the first"
    held.keep("b", REF, fd)
    os.close(fd)
    held.close()
    held.release("a")
    assert locked_kib() == before


def test_over_the_limit_is_said_in_words() -> None:
    """In a child without the capability that lifts the limit."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        words = "nothing was refused"
        try:
            fd = os.memfd_create("orct")
            os.ftruncate(fd, SIZE)
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (SIZE // 2, SIZE // 2))
            libc.drop_capabilities()
            LockedSegments().keep("a", REF, fd)
        except LimitReached as err:
            words = f"{err.problem}|{err.hint}"
        finally:
            os.write(write, words.encode())
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        problem, _, hint = pipe.read().partition("|")
    os.waitpid(child, 0)
    assert problem == "memfd-segment cannot be kept in memory"
    assert "`ulimit -l`" in hint


def test_a_system_v_segment_is_locked_itself() -> None:
    adapter = adapter_for(Family.SYSV, Kind.SEGMENT)
    handle = adapter.create(Spec(Family.SYSV, Kind.SEGMENT, key=0, size=4096, lock=True))
    try:
        stat = adapter.stat(handle.ref)
        assert stat is not None
        assert int(stat.fields["shm_perm.mode"]) & libc.SHM_LOCKED  # type: ignore[arg-type]
    finally:
        adapter.remove(handle.ref)


@pytest.mark.parametrize("family", [Family.SYSV, Family.MEMFD])
def test_huge_pages(family: Family) -> None:
    adapter = adapter_for(family, Kind.SEGMENT)
    label = "/orct.huge" if family is Family.MEMFD else None
    spec = Spec(family, Kind.SEGMENT, name=label, key=0, size=HUGE, huge_pages=HUGE, fill=Fill(text="filled"))
    if not free_huge_pages():
        with pytest.raises((OutOfSpace, PermissionRefused)) as caught:
            adapter.create(spec)
        assert caught.value.hint
        return
    handle = adapter.create(spec)
    try:
        if family is Family.MEMFD:
            assert os.fstat(handle.fds[0]).st_blksize == HUGE
            assert os.pread(handle.fds[0], 6, 0) == b"filled"
        else:
            import sysv_ipc

            assert handle.ref.id is not None
            segment = sysv_ipc.attach(handle.ref.id)
            assert segment.read(6) == b"filled"
            maps = Path("/proc/self/smaps").read_text().partition("SYSV")[2]
            assert int(maps.partition("KernelPageSize:")[2].split()[0]) * 1024 == HUGE
            segment.detach()
    finally:
        for fd in handle.fds:
            os.close(fd)
        adapter.remove(handle.ref)


def test_a_size_of_page_that_no_host_has() -> None:
    adapter = adapter_for(Family.MEMFD, Kind.SEGMENT)
    with pytest.raises(KernelError, match="no pages of that size"):
        adapter.create(Spec(Family.MEMFD, Kind.SEGMENT, name="/orct.huge", size=1 << 40, huge_pages=1 << 40))
