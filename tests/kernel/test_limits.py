"""Limits as the kernel states them, and as a made-up /proc does."""

from __future__ import annotations

import os
import re
import resource
import secrets
import subprocess
from pathlib import Path

import sysv_ipc

from orchestra.kernel.limits import read_limits
from orchestra.kinds import KernelLimits


def test_limits_agree_with_ipcs() -> None:
    text = subprocess.run(["ipcs", "-l"], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"})

    def shown(words: str) -> int:
        found = re.search(rf"{words} = (\d+)", text.stdout)
        assert found, text.stdout
        return int(found[1])

    limits = read_limits()
    assert limits.msgmni == shown("max queues system wide")
    assert limits.msgmax == shown(r"max size of message \(bytes\)")
    assert limits.msgmnb == shown(r"default max size of queue \(bytes\)")
    assert limits.shmmni == shown("max number of segments")
    assert limits.semmni == shown("max number of arrays")
    assert limits.semmsl == shown("max semaphores per array")
    assert limits.semmns == shown("max semaphores system wide")


def test_the_rest_of_this_host() -> None:
    limits = read_limits()
    space = os.statvfs("/dev/shm")
    assert limits.mq_msg_max == int(Path("/proc/sys/fs/mqueue/msg_max").read_text())
    assert limits.rlimit_msgqueue in (resource.getrlimit(resource.RLIMIT_MSGQUEUE)[0], None)
    assert limits.page_size == resource.getpagesize()
    assert limits.shm_mounted
    assert limits.shm_free is None or limits.shm_free <= space.f_blocks * space.f_frsize
    status = Path("/proc/self/status").read_text()
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    assert limits.cap_sys_resource == bool(effective & 1 << 24)


def test_what_this_process_may_do() -> None:
    limits = read_limits()
    shown = subprocess.run(
        ["prlimit", "--raw", "--noheadings", "-o", "RESOURCE,SOFT,HARD"], capture_output=True, text=True
    )
    rows = [line.split() for line in shown.stdout.splitlines()]
    numbers = {name.lower(): tuple(-1 if x == "unlimited" else int(x) for x in both) for name, *both in rows}
    numbers.pop("locks", None)  # Linux keeps the name and enforces nothing
    assert limits.rlimits == numbers
    assert limits.niceness == int(subprocess.run(["nice"], capture_output=True, text=True, check=True).stdout)
    assert limits.processors is not None
    assert len(limits.processors) == os.sysconf("SC_NPROCESSORS_ONLN")
    assert limits.nr_open == int(Path("/proc/sys/fs/nr_open").read_text())
    folders = Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB")
    assert set(limits.huge_pages) == {int(re.sub(r"\D", "", folder.name)) * 1024 for folder in folders}


def test_what_exists_already_is_counted() -> None:
    semaphores = sysv_ipc.Semaphore(secrets.randbits(31) | 1, sysv_ipc.IPC_CREX)
    try:
        limits = read_limits()
        assert (limits.sysv_sets_now or 0) >= 1
        assert (limits.sysv_semaphores_now or 0) >= (limits.sysv_sets_now or 0)
        assert limits.sysv_queues_now is not None
        assert limits.sysv_segments_now is not None
    finally:
        semaphores.remove()


def test_a_made_up_proc(tmp_path: Path) -> None:
    (tmp_path / "sys" / "fs" / "mqueue").mkdir(parents=True)
    (tmp_path / "sys" / "kernel").mkdir()
    (tmp_path / "sysvipc").mkdir()
    (tmp_path / "sys" / "fs" / "mqueue" / "msg_max").write_text("17\n")
    (tmp_path / "sys" / "kernel" / "sem").write_text("1\t2\t3\t4\n")
    (tmp_path / "sysvipc" / "sem").write_text("head\n1 2 600 3 0 0 0 0 0 0\n4 5 600 6 0 0 0 0 0 0\n")
    limits = read_limits(str(tmp_path), str(tmp_path))
    assert (limits.mq_msg_max, limits.semmsl, limits.semmns, limits.semmni) == (17, 1, 2, 4)
    assert (limits.sysv_sets_now, limits.sysv_semaphores_now, limits.sysv_queues_now) == (2, 9, None)
    assert limits.shm_mounted


def test_nothing_that_can_be_read_is_no_error(tmp_path: Path) -> None:
    limits = read_limits(str(tmp_path / "no"), str(tmp_path / "no"))
    assert limits == KernelLimits(
        rlimit_msgqueue=limits.rlimit_msgqueue,
        page_size=limits.page_size,
        queues_now=limits.queues_now,
        shm_mounted=False,
        rlimits=limits.rlimits,
        niceness=limits.niceness,
        processors=limits.processors,
        huge_pages=limits.huge_pages,
    )
