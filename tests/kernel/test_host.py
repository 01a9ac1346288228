"""Boot, namespace and settings, against what the shell reads."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from orchestra.kernel import host


def test_the_boot_id_is_the_kernel_s() -> None:
    assert host.boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert host.boot_id() == host.boot_id() != ""


def test_the_namespace_is_the_one_that_the_link_names() -> None:
    link = os.readlink("/proc/self/ns/ipc")
    assert link == f"ipc:[{host.ipc_namespace()}]"
    assert host.ipc_namespace_of(os.getpid()) == host.ipc_namespace()


def test_a_namespace_that_cannot_be_seen() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert host.ipc_namespace_of(child.pid) is None


def test_settings() -> None:
    words = Path("/proc/sys/kernel/sem").read_text().split()
    assert host.sysctl("kernel.sem") == " ".join(words)
    assert [host.sysctl_number("kernel.sem", index) for index in range(5)] == [*map(int, words), None]
    assert host.sysctl("kernel.no.such") is None
    assert host.sysctl_number("kernel.no.such") is None
    assert host.sysctl_number("kernel.ostype") is None


def test_capabilities(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text("Name:\tx\nCapPrm:\tffffffffffffffff\nCapEff:\t0000000001000001\n")
    held = [number for number in range(41) if host.has_capability(number, str(tmp_path))]
    assert held == [0, 24]
    assert not host.has_capability(0, str(tmp_path / "nothing"))
