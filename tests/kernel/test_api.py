"""The one door from OSError to our errors."""

from __future__ import annotations

import errno
import os

import pytest

from orchestra.errors import (
    Conflict,
    KernelError,
    LimitReached,
    ObjectExists,
    ObjectGone,
    OutOfSpace,
    PermissionRefused,
)
from orchestra.kernel import api
from orchestra.kernel.api import kernel_call, translate
from orchestra.kernel.host import sysctl
from orchestra.kinds import Family, Kind, ObjectRef

QUEUE = ObjectRef(Family.POSIX, Kind.QUEUE, name="/jobs")


def error(number: int, call: str = "mq_open(/jobs)", ref: ObjectRef = QUEUE) -> KernelError:
    return translate(OSError(number, os.strerror(number)), ref, call)


@pytest.mark.parametrize(
    ("number", "expected", "problem"),
    [
        (errno.EEXIST, ObjectExists, "posix-queue:/jobs already exists"),
        (errno.ENOENT, ObjectGone, "posix-queue:/jobs does not exist"),
        (errno.EIDRM, ObjectGone, "posix-queue:/jobs does not exist"),
        (errno.EACCES, PermissionRefused, "could not use posix-queue:/jobs: Permission denied"),
        (errno.EPERM, PermissionRefused, "could not use posix-queue:/jobs: Operation not permitted"),
        (errno.ENOMEM, OutOfSpace, "could not use posix-queue:/jobs: Cannot allocate memory"),
        (errno.EDQUOT, OutOfSpace, "could not use posix-queue:/jobs: Disk quota exceeded"),
        (errno.ENFILE, LimitReached, "could not use posix-queue:/jobs: Too many open files in system"),
        (errno.EROFS, KernelError, "could not use posix-queue:/jobs: Read-only file system"),
        (errno.EXDEV, KernelError, "could not use posix-queue:/jobs: Invalid cross-device link"),
    ],
)
def test_an_errno_becomes_the_decision_a_caller_can_take(
    number: int, expected: type[KernelError], problem: str
) -> None:
    found = error(number, "call()")
    assert type(found) is expected
    assert found.problem == problem
    assert found.detail == f"call() -> {errno.errorcode[number]}"


def test_what_exists_is_a_conflict() -> None:
    assert isinstance(error(errno.EEXIST), Conflict)


@pytest.mark.parametrize(("call", "number"), list(api._BY_CALL))
def test_what_a_call_means_by_an_errno_is_filled_in_with_this_host_s_numbers(call: str, number: int) -> None:
    found = error(number, f"{call}(/jobs, 1)")
    assert found.problem.startswith("posix-queue:/jobs ")
    assert "{" not in found.hint
    assert "unknown" not in found.hint


def test_the_same_errno_of_another_call_means_something_else() -> None:
    assert isinstance(error(errno.EINVAL, "mq_open(/jobs)"), LimitReached)
    assert f"At most {sysctl('fs.mqueue.msg_max')} messages" in error(errno.EINVAL).hint
    assert type(error(errno.EINVAL, "mq_getattr(3)")) is KernelError
    assert isinstance(error(errno.ENOSPC, "mq_open(/jobs)"), LimitReached)
    assert isinstance(error(errno.ENOSPC, "posix_fallocate(7)"), OutOfSpace)


def test_too_many_open_files_of_a_queue_is_the_allowance_for_queues() -> None:
    assert "ulimit -q" in error(errno.EMFILE).hint
    assert "ulimit -n" in error(errno.EMFILE, "open(/x)").hint


def test_an_unknown_errno_still_names_the_object_and_the_call() -> None:
    found = translate(OSError("odd"), QUEUE, "call()")
    assert (found.problem, found.detail) == ("could not use posix-queue:/jobs: odd", "call() -> 0")


def test_the_block_translates_and_keeps_the_cause() -> None:
    original = FileNotFoundError(errno.ENOENT, "gone")
    with pytest.raises(ObjectGone) as caught, kernel_call(QUEUE, "mq_open(/jobs)"):
        raise original
    assert caught.value.__cause__ is original


def test_the_block_lets_everything_else_pass() -> None:
    with pytest.raises(ZeroDivisionError), kernel_call(QUEUE, "mq_open"):
        raise ZeroDivisionError
    with pytest.raises(ObjectGone, match="mine"), kernel_call(QUEUE, "mq_open"):
        raise ObjectGone("mine")
