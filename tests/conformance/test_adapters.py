"""Every adapter does what the protocol says, and what it says agrees with a witness."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra.errors import KernelError, LimitReached, ObjectExists, ObjectGone, PermissionRefused
from orchestra.kernel.api import Linkable
from orchestra.kernel.registry import adapter_for, all_adapters
from orchestra.kinds import OBJECT_KINDS, Access, Family, Fill, Kind, ObjectRef
from tests.conformance.conftest import NAMELESS, Case, over
from tests.conformance.witness import content

FIELDS = {
    (Family.POSIX, Kind.QUEUE): "mq_flags mq_maxmsg mq_msgsize mq_curmsgs st_dev st_ino st_mode st_uid st_gid",
    (Family.POSIX, Kind.SEGMENT): "st_dev st_ino st_mode st_nlink st_uid st_gid st_size",
    (Family.POSIX, Kind.SEMAPHORE): "sem_getvalue nwaiters st_dev st_ino st_mode st_uid",
    (Family.SYSV, Kind.QUEUE): "msg_perm.key msg_perm.uid msg_perm.gid msg_perm.cuid msg_perm.cgid msg_perm.mode "
    "msg_perm.seq msg_qnum msg_cbytes msg_qbytes msg_lspid msg_lrpid msg_stime msg_rtime msg_ctime",
    (Family.SYSV, Kind.SEGMENT): "shm_perm.key shm_perm.uid shm_perm.mode shm_segsz shm_nattch shm_cpid shm_lpid "
    "shm_atime shm_dtime shm_ctime",
    (Family.SYSV, Kind.SEMAPHORE): "sem_perm.key sem_perm.uid sem_perm.mode sem_nsems sem_otime sem_ctime semval "
    "sempid semncnt semzcnt",
}


WITH_DESCRIPTOR = [
    (Family.POSIX, Kind.QUEUE),
    (Family.POSIX, Kind.SEGMENT),
    (Family.FILE, Kind.SEGMENT),
    (Family.MEMFD, Kind.SEGMENT),
    (Family.ANONYMOUS, Kind.PIPE),
]
WITH_TWO_NAMES = [
    (Family.POSIX, Kind.SEGMENT),
    (Family.POSIX, Kind.SEMAPHORE),
    (Family.FILE, Kind.SEGMENT),
    (Family.FIFO, Kind.PIPE),
]
DESCRIPTOR, LINKABLE = over(pairs=WITH_DESCRIPTOR), over(pairs=WITH_TWO_NAMES)


def test_every_kind_has_an_adapter() -> None:
    assert [(a.family, a.kind) for a in all_adapters()] == list(OBJECT_KINDS)


@pytest.mark.parametrize(("family", "kind"), [(f, k) for f in Family for k in Kind if (f, k) not in OBJECT_KINDS])
def test_no_other_combination_has_one(family: Family, kind: Kind) -> None:
    with pytest.raises(KeyError):
        adapter_for(family, kind)


@over()
def test_what_is_created_is_what_the_witness_sees(case: Case) -> None:
    spec = case.spec(mode=0o640)
    seen = case.seen(case.create(spec))
    assert seen is not None
    assert (seen.mode, seen.uid, seen.gid) == (0o640, os.getuid(), os.getgid())
    if case.kind is Kind.SEGMENT:
        assert seen.size == spec.size
    if case.family is Family.SYSV and case.kind is Kind.QUEUE:
        assert seen.size == spec.capacity
    if case.family is Family.SYSV and case.kind is Kind.SEMAPHORE:
        assert (seen.size, seen.values) == (3, (1, 0, 8))


@over()
def test_stat_agrees_with_the_witness(case: Case) -> None:
    handle = case.create(case.spec(mode=0o620))
    found, seen = case.adapter.stat(handle.ref), case.seen(handle)
    assert found is not None
    assert seen is not None
    assert (found.mode, found.uid, found.gid) == (seen.mode, seen.uid, seen.gid)
    if case.kind is Kind.SEGMENT or case.family is Family.SYSV:
        assert (found.members if case.kind is Kind.SEMAPHORE else found.size) == seen.size
    assert handle.identity.is_same(found.identity)
    assert found.ref.name == handle.ref.name


@over()
def test_stat_names_its_fields_as_the_kernel_does(case: Case) -> None:
    found = case.adapter.stat(case.create().ref)
    assert found is not None
    assert set(FIELDS.get((case.family, case.kind), "st_dev st_ino st_mode").split()) <= set(found.fields)


@over(unless=NAMELESS)
def test_creation_is_exclusive(case: Case) -> None:
    spec = case.spec()
    handle = case.create(spec)
    before = case.seen(handle)
    with pytest.raises(ObjectExists) as caught:
        case.create(spec._replace(mode=0o777))
    assert str(spec.ref) in caught.value.problem
    assert "EEXIST" in caught.value.detail
    assert caught.value.exit_code == 5
    assert case.seen(handle) == before, "the object that was there must not change"


@over(real_only=True)
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o666, 0o640, 0o000, 0o777])
def test_the_mode_is_exact_whatever_the_umask(case: Case, mode: int, mask: int, umask: Callable[[int], int]) -> None:
    umask(mask)
    handle = case.create(case.spec(mode=mode))
    umask(0o022)
    if case.hides_itself(mode):
        with pytest.raises(PermissionRefused):
            case.adapter.stat(handle.ref)
        return
    found = case.adapter.stat(handle.ref)
    assert found is not None
    assert found.mode == mode


@over()
@pytest.mark.root
def test_the_owner_and_group_are_those_declared(case: Case) -> None:
    seen = case.seen(case.create(case.spec(owner=65534, group=1, mode=0o660)))
    assert seen is not None
    assert (seen.uid, seen.gid, seen.mode) == (65534, 1, 0o660)


@over()
@pytest.mark.root
def test_a_group_alone_leaves_the_owner(case: Case) -> None:
    seen = case.seen(case.create(case.spec(group=1)))
    assert seen is not None
    assert (seen.uid, seen.gid) == (0, 1)


@over(kind=Kind.SEGMENT, unless=(Family.SYSV,), real_only=True)
def test_a_segment_is_allocated_at_once(case: Case) -> None:
    found = case.adapter.stat(case.create(case.spec(size=300_000)).ref)
    assert found is not None
    blocks = found.fields["st_blocks"]
    assert isinstance(blocks, int)
    assert blocks * 512 >= 300_000


@over(kind=Kind.SEGMENT)
@pytest.mark.parametrize("source", ["text", "hex", "file"])
def test_a_segment_is_filled(case: Case, source: str, tmp_path: Path) -> None:
    data = "Grüße ✓".encode()
    (tmp_path / "fill").write_bytes(data)
    fills = {"text": Fill(text=data.decode()), "hex": Fill(hex=data.hex()), "file": Fill(file=str(tmp_path / "fill"))}
    handle = case.create(case.spec(fill=fills[source], mode=0o444))
    assert content(handle, 5000, case.fake) == data.ljust(5000, b"\0")


@over(kind=Kind.SEGMENT, real_only=True)
def test_a_large_fill_arrives_whole(case: Case, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "fill").write_bytes(data)
    handle = case.create(case.spec(size=len(data) + 7, fill=Fill(file=str(tmp_path / "fill"))))
    assert content(handle, len(data) + 7) == data + bytes(7)


@over(kind=Kind.SEGMENT)
@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (Fill(text="x" * 5001), "longer than the segment"),
        (Fill(hex="00" * 5001), "longer than the segment"),
        (Fill(hex="zz"), "not a hexadecimal text"),
        (Fill(file="/nonexistent/fill"), "cannot read /nonexistent/fill"),
    ],
)
def test_a_fill_that_does_not_fit_leaves_nothing_behind(case: Case, fill: Fill, words: str) -> None:
    spec = case.spec(fill=fill)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError, match=words):
        case.create(spec)
    if not case.is_nameless:
        assert case.adapter.stat(spec.ref) is None
    assert len(os.listdir("/proc/self/fd")) == len(before), "a descriptor was left open"


@over()
def test_creation_again_is_another_object(case: Case) -> None:
    spec = case.spec()
    first = case.create(spec)
    case.forget(first)
    second = case.create(spec)
    assert not first.identity.is_same(second.identity)


@over(unless=NAMELESS)
def test_an_object_can_be_removed_once(case: Case) -> None:
    handle = case.create()
    assert [case.adapter.remove(handle.ref), case.adapter.remove(handle.ref)] == [True, False]
    assert case.adapter.stat(handle.ref) is None
    assert case.seen(handle) is None


@over(*NAMELESS)
def test_what_is_nameless_dies_with_its_last_descriptor(case: Case) -> None:
    handle = case.create()
    assert case.adapter.remove(handle.ref) is False
    assert case.adapter.stat(handle.ref) is not None
    case.forget(handle)
    assert case.adapter.stat(handle.ref) is None


@over()
@pytest.mark.parametrize("access", list(Access))
def test_opening_what_is_gone(case: Case, access: Access) -> None:
    handle = case.create()
    case.forget(handle)
    with pytest.raises(ObjectGone):
        case.adapter.open(handle.ref, access)


@over(Family.SYSV)
def test_a_system_v_object_is_found_by_id_and_by_key(case: Case) -> None:
    spec = case.spec()
    handle = case.create(spec)
    by_key = case.adapter.stat(ObjectRef(case.family, case.kind, key=spec.key))
    assert by_key is not None
    assert by_key.identity == handle.identity
    assert by_key.ref == handle.ref
    assert case.adapter.remove(ObjectRef(case.family, case.kind, key=spec.key))
    assert case.adapter.stat(handle.ref) is None


@over(Family.SYSV)
@pytest.mark.parametrize("key", [None, 0])
def test_a_private_object_has_only_its_id(case: Case, key: int | None) -> None:
    first, second = case.create(case.spec(key=key)), case.create(case.spec(key=key))
    assert first.ref.id != second.ref.id
    assert first.identity.key == 0
    assert case.seen(first) is not None
    with pytest.raises(KernelError, match=r"neither an id nor a key|no address"):
        case.adapter.stat(ObjectRef(case.family, case.kind, key=0))


@LINKABLE
def test_two_names_of_one_object(case: Case) -> None:
    assert isinstance(case.adapter, Linkable)
    handle = case.create()
    name = case.spec().name or ""
    second = case.adapter.link(handle.ref, name)
    try:
        assert second.name == name
        found = case.adapter.stat(second)
        assert found is not None
        assert found.identity == handle.identity
        assert case.adapter.remove(handle.ref)
        assert case.adapter.stat(handle.ref) is None
        assert case.adapter.stat(second) is not None
    finally:
        assert case.adapter.remove(second)


@LINKABLE
def test_a_second_name_never_takes_one_that_exists(case: Case) -> None:
    assert isinstance(case.adapter, Linkable)
    first, second = case.create(), case.create()
    with pytest.raises(ObjectExists) as caught:
        case.adapter.link(first.ref, second.ref.name or "")
    assert str(second.ref) in caught.value.problem
    found = case.adapter.stat(second.ref)
    assert found is not None
    assert found.identity == second.identity


@LINKABLE
def test_a_second_name_of_what_is_gone(case: Case) -> None:
    assert isinstance(case.adapter, Linkable)
    handle = case.create()
    case.forget(handle)
    with pytest.raises(ObjectGone) as caught:
        case.adapter.link(handle.ref, case.spec().name or "")
    assert str(handle.ref) in caught.value.problem


def opened(case: Case, access: Access) -> int:
    fd = case.adapter.open(case.create(case.spec(mode=0o600)).ref, access)
    assert fd is not None
    return fd


@over()
def test_just_these_kinds_have_descriptors_and_second_names(case: Case) -> None:
    pair = (case.family, case.kind)
    fd = case.adapter.open(case.create().ref, Access.READ_WRITE)
    if fd is not None:
        os.close(fd)
    assert (fd is not None) == (pair in WITH_DESCRIPTOR)
    assert isinstance(case.adapter, Linkable) == (pair in WITH_TWO_NAMES)


@DESCRIPTOR
@pytest.mark.parametrize("access", list(Access))
def test_descriptors_do_not_leak_into_children(case: Case, access: Access) -> None:
    fd = opened(case, access)
    try:
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


@DESCRIPTOR
def test_a_descriptor_for_reading_really_is(case: Case) -> None:
    fd = opened(case, Access.READ)
    try:
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            os.write(fd, b"x")
        assert caught.value.errno == errno.EBADF
        if case.kind is Kind.SEGMENT:
            with pytest.raises(PermissionError):
                mmap.mmap(fd, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            with pytest.raises(OSError, match="Invalid argument"):
                os.truncate(fd, 1)
    finally:
        os.close(fd)


@over(kind=Kind.SEGMENT, unless=(Family.SYSV,))
def test_a_segment_for_writing_can_be_mapped(case: Case) -> None:
    fd = opened(case, Access.WRITE)
    try:
        with mmap.mmap(fd, 5000) as view:
            view[:2] = b"ok"
            assert view[:2] == b"ok"
    finally:
        os.close(fd)


@over()
def test_opening_leaves_what_stat_shows(case: Case) -> None:
    handle = case.create()
    before = case.adapter.stat(handle.ref)
    fd = case.adapter.open(handle.ref, Access.READ_WRITE)
    if fd is not None:
        os.close(fd)
    assert case.adapter.stat(handle.ref) == before


@over()
def test_the_list_shows_it_as_stat_does(case: Case) -> None:
    handle = case.create()
    listing = case.adapter.list()
    if case.family in (Family.FILE, Family.FIFO):
        assert (listing.stats, listing.complete) == ((), False)
        assert listing.why
        return
    if not case.is_nameless and os.getuid() == 0:
        assert listing.complete, listing.why
    assert listing.complete or listing.why
    mine = [found for found in listing.stats if found.identity == handle.identity]
    if not listing.complete and not mine:
        assert (case.family, case.kind) == (Family.POSIX, Kind.QUEUE), listing.why
        return
    assert mine == [case.adapter.stat(mine[0].ref)]
    case.forget(handle)
    assert handle.identity not in [found.identity for found in case.adapter.list().stats]


@over(Family.SYSV)
def test_a_zero_for_an_id_is_an_address(case: Case) -> None:
    found = case.adapter.stat(ObjectRef(case.family, case.kind, id=0))
    assert found is None or found.ref.id == 0


@over(Family.POSIX, real_only=True)
@pytest.mark.parametrize("name", ["", "/", "/a/b", "/..", "/x\0y"])
def test_improper_posix_names_are_refused(case: Case, name: str) -> None:
    with pytest.raises(KernelError):
        case.create(case.spec(name=name))


@over(Family.POSIX, Family.FILE, Family.FIFO, real_only=True)
def test_a_name_that_is_too_long(case: Case) -> None:
    folder = f"{case.folder}/" if case.family in (Family.FILE, Family.FIFO) else "/"
    with pytest.raises(KernelError) as caught:
        case.create(case.spec(name=folder + "n" * 256))
    assert "ENAMETOOLONG" in caught.value.detail
    assert "255" in caught.value.hint


@over(kind=Kind.SEMAPHORE)
def test_values_beyond_the_limit_leave_nothing_behind(case: Case) -> None:
    top = 32767 if case.family is Family.SYSV else 2**31 - 1
    for values in ((top + 1,), (-1,)):
        spec = case.spec(values=values)
        with pytest.raises(LimitReached):
            case.create(spec)
        assert case.adapter.stat(spec.ref) is None
    seen = case.adapter.stat(case.create(case.spec(values=(top,))).ref)
    assert seen is not None
    assert seen.fields.get("semval", [seen.fields.get("sem_getvalue")]) == [top]


@over(Family.FILE, Family.FIFO, real_only=True)
def test_files_of_another_kind_are_never_touched(case: Case) -> None:
    path = case.folder / "folder"
    path.mkdir()
    ref = ObjectRef(case.family, case.kind, name=str(path))
    for call in (case.adapter.stat, case.adapter.remove):
        with pytest.raises(KernelError, match="is a folder, not"):
            call(ref)
    assert stat.S_ISDIR(path.stat().st_mode)
