from __future__ import annotations

import os
from pathlib import Path

from orchestra.kernel.host import boot_id
from orchestra.objects.world import KERNEL, device_of, here, random_key


def test_random_keys_are_31_bits_and_never_private() -> None:
    keys = {random_key() for _ in range(500)}
    assert len(keys) == 500
    assert all(0 < key < 2**31 for key in keys)


def test_where_we_stand_agrees_with_proc() -> None:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        assert here().boot_id == boot_id() == file.read().strip()
    assert os.readlink("/proc/self/ns/ipc") == f"ipc:[{here().ipc_ns}]"


def test_the_device_of_a_folder(tmp_path: Path) -> None:
    assert device_of(str(tmp_path)) == tmp_path.stat().st_dev
    assert device_of(str(tmp_path / "none")) is None


def test_nobody_is_asked_about_for_nothing() -> None:
    assert KERNEL.holders([]) == {}
