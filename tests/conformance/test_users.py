"""What another user may and may not do, and what is said then. Run by root, which becomes nobody in a child."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import KernelError, LimitReached, PermissionRefused
from orchestra.kernel import host, libc
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Access, Family, Kind, ObjectRef, Spec
from tests.conformance.conftest import NAMELESS, Case, over
from tests.conformance.worlds import NOBODY, in_child


def refusal(case: Case, call: Any) -> dict[str, str]:
    """Run a call that must be refused."""
    try:
        call()
    except PermissionRefused as err:
        return {"problem": err.problem, "detail": err.detail, "hint": err.hint}
    raise AssertionError(f"{case.family} {case.kind}: nothing was refused")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="orct.") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.root
@over(unless=NAMELESS, real_only=True)
@pytest.mark.parametrize("access", list(Access))
def test_another_user_may_not_open(case: Case, access: Access, open_folder: Path) -> None:
    case.folder = open_folder
    handle = case.create(case.spec(mode=0o600))
    refused = in_child(lambda: refusal(case, lambda: case.adapter.open(handle.ref, access)), as_nobody=True)
    assert "EACCES" in refused["detail"]
    assert "orchestra inspect" in refused["hint"]


@pytest.mark.root
@over(unless=NAMELESS, real_only=True)
def test_another_user_may_not_remove(case: Case, open_folder: Path) -> None:
    case.folder = open_folder
    handle = case.create(case.spec(mode=0o666))
    refused = in_child(lambda: refusal(case, lambda: case.adapter.remove(handle.ref)), as_nobody=True)
    assert refused["detail"].rpartition(" ")[2] in ("EACCES", "EPERM")
    assert case.adapter.stat(handle.ref) is not None


@pytest.mark.root
@over(unless=NAMELESS, real_only=True)
def test_what_all_may_read_is_opened_for_reading_only(case: Case, open_folder: Path) -> None:
    case.folder = open_folder
    handle = case.create(case.spec(mode=0o644))

    def look() -> list[bool]:
        opened = []
        for access in Access:
            try:
                case.adapter.open(handle.ref, access)
                opened.append(True)
            except PermissionRefused:
                opened.append(False)
        return opened

    # sem_open(3) needs both, whatever it is for
    expected = [(case.family, case.kind) != (Family.POSIX, Kind.SEMAPHORE), False, False]
    assert in_child(look, as_nobody=True) == expected


@pytest.mark.root
@over(unless=NAMELESS, real_only=True)
def test_another_user_still_sees_what_it_is(case: Case, open_folder: Path) -> None:
    case.folder = open_folder
    handle = case.create(case.spec(mode=0o600))

    def look() -> Any:
        found = case.adapter.stat(handle.ref)
        assert found is not None
        return [handle.identity.is_same(found.identity), found.mode, found.uid, sorted(found.fields)]

    if (case.family, case.kind) == (Family.POSIX, Kind.QUEUE):
        refused = in_child(lambda: refusal(case, lambda: case.adapter.stat(handle.ref)), as_nobody=True)
        assert "could not use posix-queue:" in refused["problem"]
        return
    same, mode, uid, fields = in_child(look, as_nobody=True)
    assert (same, mode, uid) == (True, 0o600, 0)
    assert not {"semval", "sem_getvalue"} & set(fields), "values need read permission"


@pytest.mark.root
def test_without_a_mount_the_list_of_queues_says_that_it_is_incomplete(make_case: Any) -> None:
    case = make_case(Family.POSIX, Kind.QUEUE)
    secret, public = case.create(), case.create(case.spec(mode=0o644))

    def look() -> Any:
        fd = case.adapter.open(public.ref, Access.READ)
        listing = case.adapter.list()
        os.close(fd)
        return [[seen.ref.name for seen in listing.stats], listing.complete, listing.why]

    names, complete, why = in_child(look, as_nobody=True)
    assert public.ref.name in names, "a queue that one of our own processes has open is seen"
    assert secret.ref.name not in names
    assert complete is False
    assert "mount -t mqueue" in why


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o600, 0o060, 0o006, 0o640, 0o604, 0o222, 0o444, 0o004, 0o000])
@pytest.mark.parametrize("owner", [0, NOBODY])
@pytest.mark.parametrize("group", [0, NOBODY])
def test_the_check_of_a_system_v_mode_agrees_with_the_kernel(make_case: Any, mode: int, owner: int, group: int) -> None:
    case = make_case(Family.SYSV, Kind.QUEUE)
    handle = case.create(case.spec(mode=mode, owner=owner, group=group))
    bits = {Access.READ: 0o444, Access.WRITE: 0o222, Access.READ_WRITE: 0o666}

    def ask() -> list[tuple[bool, bool]]:
        answers = []
        for access in Access:
            try:
                libc.msgget(handle.ref.key or 0, bits[access])
                allowed = True
            except PermissionError:
                allowed = False
            try:
                case.adapter.open(handle.ref, access)
                ours = True
            except PermissionRefused:
                ours = False
            answers.append((ours, allowed))
        return answers

    assert all(ours == allowed for ours, allowed in in_child(ask, as_nobody=True))


@over(unless=NAMELESS, real_only=True)
@pytest.mark.parametrize("mode", [0o600, 0o000, 0o444, 0o222])
def test_an_ordinary_user_makes_and_removes_its_own(case: Case, mode: int, open_folder: Path) -> None:
    open_folder.chmod(0o777)
    case.folder = open_folder
    spec = case.spec(mode=mode)

    def live() -> list[bool]:
        handle = case.adapter.create(spec)
        try:
            found = case.adapter.stat(handle.ref)
        except PermissionRefused:  # a queue of mode 000 shows itself to nobody
            found = None
        shown = mode == 0 or (found is not None and found.mode == mode)
        return [shown, case.adapter.remove(handle.ref), case.adapter.remove(handle.ref)]

    assert in_child(live, as_nobody=True) == [True, True, False]


def limit_refusal(spec: Spec) -> dict[str, str]:
    try:
        adapter_for(spec.family, spec.kind).create(spec)
    except LimitReached as err:
        return {"problem": err.problem, "detail": err.detail, "hint": err.hint}
    raise AssertionError("no limit was reached")


def test_a_queue_beyond_the_limits_says_which(ipc_name: Any) -> None:
    top = host.sysctl_number("fs.mqueue.msg_max")
    spec = Spec(Family.POSIX, Kind.QUEUE, name=ipc_name(), max_messages=(top or 10) + 1, message_size=16)
    refused = in_child(lambda: limit_refusal(spec), as_nobody=True)
    assert "asks for more messages" in refused["problem"]
    assert f"At most {top} messages (fs.mqueue.msg_max)" in refused["hint"]
    assert "EINVAL" in refused["detail"]


def test_a_used_up_allowance_for_queues_is_not_taken_for_open_files(ipc_name: Any) -> None:
    spec = Spec(Family.POSIX, Kind.QUEUE, name=ipc_name(), max_messages=10, message_size=8192)

    def try_it() -> Any:
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (1000, 1000))
        return limit_refusal(spec)

    refused = in_child(try_it, as_nobody=True)
    assert "memory for POSIX queues is used up" in refused["problem"]
    assert "ulimit -q" in refused["hint"]


def test_no_descriptors_left_is_said_as_such(ipc_name: Any) -> None:
    spec = Spec(Family.POSIX, Kind.QUEUE, name=ipc_name(), max_messages=1, message_size=16)

    def try_it() -> Any:
        used = max(int(fd) for fd in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))
        full = []
        try:
            while True:
                full.append(os.dup(0))
        except OSError:
            pass
        return limit_refusal(spec)

    refused = in_child(try_it, as_nobody=True)
    assert "ulimit -n" in refused["hint"]


def test_a_capacity_beyond_the_limit_says_which_and_leaves_nothing(make_case: Any) -> None:
    case = make_case(Family.SYSV, Kind.QUEUE)
    top = host.sysctl_number("kernel.msgmnb") or 16384
    spec = case.spec(capacity=top + 1)
    refused = in_child(lambda: limit_refusal(spec), as_nobody=True)
    assert f"capacity of {top + 1} bytes" in refused["problem"]
    assert f"kernel.msgmnb is {top} bytes" in refused["hint"]
    assert case.adapter.stat(spec.ref) is None


@pytest.mark.parametrize("kind", [Kind.SEGMENT, Kind.SEMAPHORE])
def test_sizes_the_kernel_does_not_allow(make_case: Any, kind: Kind) -> None:
    case = make_case(Family.SYSV, kind)
    sets = host.sysctl_number("kernel.sem") or 32000
    spec = case.spec(size=0) if kind is Kind.SEGMENT else case.spec(values=(0,) * (sets + 1))
    refused = limit_refusal(spec)
    assert ("kernel.shmmax" if kind is Kind.SEGMENT else "kernel.sem is") in refused["hint"]


@pytest.mark.root
@over(Family.POSIX, Family.FILE, Family.FIFO, real_only=True)
def test_what_cannot_be_given_away_is_not_left_behind(case: Case, open_folder: Path) -> None:
    open_folder.chmod(0o777)
    case.folder = open_folder
    spec = case.spec(owner=0)

    def give() -> Any:
        refused = refusal(case, lambda: case.adapter.create(spec))
        return [refused["detail"], case.adapter.stat(spec.ref)]

    detail, left = in_child(give, as_nobody=True)
    assert "EPERM" in detail
    assert left is None


@pytest.mark.root
def test_a_stranger_s_file_in_the_way_is_an_error_not_a_prey(make_case: Any) -> None:
    """fs.protected_regular refuses O_CREAT on it even to root: creation must say what is there."""
    case = make_case(Family.POSIX, Kind.SEGMENT)
    spec = case.spec()
    in_child(lambda: str(case.adapter.create(spec).ref), as_nobody=True)
    try:
        with pytest.raises(KernelError) as caught:
            case.adapter.create(spec)
        assert "EEXIST" in caught.value.detail
        found = case.adapter.stat(spec.ref)
        assert found is not None
        assert found.uid == NOBODY
        fd = case.adapter.open(spec.ref, Access.READ_WRITE)
        assert fd is not None
        os.close(fd)
    finally:
        assert case.adapter.remove(spec.ref)


def test_errors_keep_their_cause(make_case: Any) -> None:
    case = make_case(Family.SYSV, Kind.SEGMENT)
    handle = case.create()
    with pytest.raises(KernelError) as caught:
        case.create(case.spec(key=handle.ref.key))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EEXIST


def test_removal_by_the_wrong_address_is_refused(make_case: Any) -> None:
    case = make_case(Family.SYSV, Kind.SEMAPHORE)
    with pytest.raises(KernelError, match="neither an id nor a key"):
        case.adapter.remove(ObjectRef(Family.SYSV, Kind.SEMAPHORE, key=0))
