from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from orchestra.errors import LedgerError
from orchestra.ledger import storage
from orchestra.ledger.journal import Ledger
from tests.support.rows import object_row

_WRITE = """
import os, sys
from pathlib import Path
from orchestra.errors import LedgerError
from orchestra.ledger.journal import Ledger
from tests.support.rows import object_row
if len(sys.argv) > 2:
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
try:
    with Ledger.open(Path(sys.argv[1])) as ledger:
        while True:
            ledger.intend(object_row(shape={"text": "x" * 5000}))
            if len(sys.argv) > 2:
                break
except LedgerError as err:
    print(err)
"""


def _write(path: Path, *arguments: str, prefix: tuple[str, ...] = ()) -> str:
    command = [*prefix, sys.executable, "-c", _WRITE, str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be made") as caught:
        Ledger.open(tmp_path / "nowhere" / "record.db")
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_a_folder_in_the_place_of_the_ledger(path: Path) -> None:
    path.mkdir()
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger.open(path)


@pytest.mark.parametrize(
    "content", [b"this is no database, whatever its name says " * 50, b"SQLite format 3\0" + b"x" * 5000]
)
def test_something_else_in_the_place_of_the_ledger_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(LedgerError) as caught:
        Ledger.open(path)
    assert "not a ledger" in caught.value.problem or "damaged" in caught.value.problem
    assert "Nothing was changed" in caught.value.hint
    assert path.read_bytes() == content


def test_a_damaged_ledger_says_so_and_stays(path: Path) -> None:
    with Ledger.open(path) as ledger:
        for _ in range(200):
            ledger.intend(object_row(shape={"text": "x" * 500}))
    data = bytearray(path.read_bytes())
    data[8192:-4096] = b"\xff" * (len(data) - 12288)
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="is damaged") as caught, Ledger.open(path) as ledger:
        ledger.objects()
    assert str(path) in caught.value.problem
    assert ".recover" in caught.value.hint
    assert path.stat().st_size == len(data)


@pytest.mark.root
def test_a_read_only_folder_is_named_with_a_way_out() -> None:
    with tempfile.TemporaryDirectory(prefix="orct-") as folder:
        path = Path(folder) / "record.db"
        Ledger.open(path).close()
        os.chmod(folder, 0o755)
        path.chmod(0o644)
        said = _write(path, "65534")
    assert f"the ledger {path} cannot be written to" in said
    assert "ORCHESTRA_HOME" in said


@pytest.mark.root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_full_disk_is_said_and_what_was_committed_stays(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    script = f'mount -t tmpfs -o size=300k tmpfs {folder} && exec "$@"'
    said = _write(folder / "record.db", prefix=("unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"))
    assert f"no space is left for the ledger {folder / 'record.db'}" in said
    assert f"df -h {folder}" in said


def test_a_busy_ledger_is_an_error_after_the_timeout(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "BUSY_SECONDS", 0.05)
    with Ledger.open(path) as first, Ledger.open(path) as second, first.transaction():
        began = time.monotonic()
        with pytest.raises(LedgerError, match="is busy"):
            second.intend(object_row())
        assert time.monotonic() - began < 5


def test_the_original_error_is_kept(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError) as caught:
        Ledger.open(path)
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert "SQLITE_NOTADB" in caught.value.detail


def test_the_file_system_of_a_folder_agrees_with_stat(tmp_path: Path) -> None:
    told = subprocess.run(["stat", "-f", "-c", "%T", "/dev/shm"], capture_output=True, text=True, timeout=10).stdout
    assert storage.file_system_of(Path("/dev/shm")) == told.strip() == "tmpfs"


def test_the_file_system_is_found_by_device_number(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        f"21 1 7:9 / / rw - ext4 /dev/sda1 rw\n"
        f"22 1 {os.major(device)}:{os.minor(device)} / /home rw,relatime shared:1 - nfs4 host:/home rw\n"
    )
    assert storage.file_system_of(tmp_path, mountinfo=mountinfo) == "nfs4"


def test_a_file_system_that_cannot_be_told_is_empty(tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("garbage\n\n1 2 3\n")
    assert storage.file_system_of(tmp_path, mountinfo=mountinfo) == ""
    assert storage.file_system_of(tmp_path / "nowhere") == ""
    assert storage.file_system_of(tmp_path, mountinfo=tmp_path / "none") == ""


def test_a_ledger_in_a_folder_of_others_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(LedgerError, match="cannot be looked at: Permission denied"):
        Ledger.open(tmp_path / "ledger.db", create=False)


def test_text_that_is_no_utf8_is_refused_in_words(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger, pytest.raises(LedgerError, match="not UTF-8"):
        ledger.newest_run("caf\udce9")
