"""A full or missing /dev/shm, limits of one, a mounted queue file system: in private namespaces."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.conformance.worlds import in_world

SMALL = "mount -t tmpfs -o mode=1777,size=64k tmpfs /dev/shm"
ONE_OF_EACH = (
    "echo 1 >/proc/sys/fs/mqueue/queues_max; echo 1 >/proc/sys/kernel/msgmni; echo 1 >/proc/sys/kernel/shmmni; "
    "echo '4 8 32 1' >/proc/sys/kernel/sem"
)
QUEUES = "mount -t tmpfs tmpfs /mnt; mkdir /mnt/queues; mount -t mqueue none /mnt/queues"

pytestmark = pytest.mark.slow


def test_a_full_dev_shm_is_found_at_creation_and_nothing_is_left() -> None:
    large, filled, fits, semaphore, space = in_world("full", SMALL)
    for refused in (large, filled):
        assert refused["class"] == "OutOfSpace"
        assert "df -h /dev/shm" in refused["hint"]
        assert "ENOSPC" in refused["detail"]
        assert refused["left"] == []
    assert (fits["class"], fits["left"]) == ("", ["orct.fits"])
    assert semaphore["class"] in ("OutOfSpace", "")  # its 32 bytes take the last page, if one is left
    assert space["free"] < 64 * 1024


def test_a_missing_dev_shm_is_said_in_words() -> None:
    *kinds, limits = in_world("missing", "mount -t tmpfs tmpfs /dev; mknod -m 666 /dev/null c 1 3 || touch /dev/null")
    for answer in kinds:
        assert "there is no /dev/shm here" in answer["problem"]
        assert answer["class"] == "KernelError"
        assert (answer["stat"], answer["removed"], answer["listed"]) == (None, False, 0)
        assert "no /dev/shm" in answer["why"]
    assert limits == {"mounted": False, "free": None}


def test_limits_on_numbers_are_named() -> None:
    rows = in_world("limited", ONE_OF_EACH)
    settings = ("fs.mqueue.queues_max is 1", "kernel.msgmni is 1", "kernel.shmmni is 1", "kernel.sem is `4 8 32 1`")
    for first, second, setting in zip(rows[::2], rows[1::2], settings, strict=True):
        assert first["class"] == "", first
        assert second["class"] == "LimitReached", second
        assert setting in second["hint"]
        assert "orchestra audit" in second["hint"]


@pytest.mark.root
def test_a_mount_shows_queues_that_may_not_be_opened() -> None:
    seen = in_world("mounted", QUEUES)
    assert seen == {"same": True, "mode": 0o200, "names": ["/orct.secret"], "complete": True, "queues_now": 1}


@pytest.mark.root
def test_queues_of_another_namespace_are_not_taken_for_ours() -> None:
    theirs = f"{sys.executable} -m tests.conformance.inner make_theirs >&2"
    seen: dict[str, Any] = in_world("other_namespace", f"{QUEUES}; {theirs}", wrap=("unshare", "-i"))
    assert seen["root"] == {"names": [], "complete": True, "stat": None}
    assert seen["nobody"] == {"names": [], "complete": False, "stat": None}


@pytest.mark.root
def test_unreadable_proc_makes_a_list_incomplete() -> None:
    for answer in in_world("no_kernel_lists", "mount -t tmpfs tmpfs /proc/sysvipc", new_ipc=False):
        assert (answer["complete"], answer["count"]) == (False, 0)
        assert "/proc/sysvipc" in answer["why"]


@pytest.mark.root
def test_an_unlinked_queue_is_in_no_list() -> None:
    assert in_world("gone_but_open", "true") == {"same": False, "listed": 1}
