from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestra.kernel import pressure


def test_limits_as_proc_and_df_show_them() -> None:
    found = pressure.read()
    assert found.shmmni == int(Path("/proc/sys/kernel/shmmni").read_text())
    assert found.semmni == int(Path("/proc/sys/kernel/sem").read_text().split()[3])
    assert found.ends_with_users is (Path("/proc/sys/kernel/shm_rmid_forced").read_text().strip() == "1")
    if found.shm_bytes is not None:
        assert found.shm_bytes[1] == os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    found = pressure.read(root=str(tmp_path), shm=str(tmp_path / "none"))
    assert found._replace(logind_removes=False) == pressure.Pressure()


@pytest.mark.parametrize(
    ("texts", "removes"),
    [
        ({}, True),
        ({"logind.conf": "[Login]\n#RemoveIPC=no\n"}, True),
        ({"logind.conf": "[Login]\nRemoveIPC=no\n"}, False),
        ({"logind.conf": "[Login]\nRemoveIPC = off\n"}, False),
        ({"logind.conf": "[Login]\nRemoveIPC=no\n", "d/10.conf": "[Login]\nRemoveIPC=yes\n"}, True),
        ({"d/10.conf": "RemoveIPC=yes\n", "d/20.conf": "RemoveIPC=no\n"}, False),
    ],
)
def test_the_setting_of_logind(tmp_path: Path, texts: dict[str, str], removes: bool) -> None:
    (tmp_path / "d").mkdir()
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert pressure.remove_ipc((str(tmp_path / "logind.conf"),), (str(tmp_path / "d"),)) is removes
