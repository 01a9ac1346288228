"""Facts about real files and users, compared with what other programs say."""

from __future__ import annotations

import ctypes  # noqa: TID251 the C library is the witness
import ctypes.util  # noqa: TID251
import os
import subprocess
from pathlib import Path

import pytest

from orchestra.kernel.hostfacts import RealHost

HOST = RealHost()


def test_kinds(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nothing")
    kinds = {name: HOST.kind_of(str(tmp_path / name)) for name in ("file", "fifo", "link", "dangling", "none")}
    assert kinds == {"file": "file", "fifo": "other", "link": "file", "dangling": None, "none": None}
    assert HOST.kind_of(str(tmp_path)) == "directory"


def test_permissions(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    assert not HOST.is_executable(str(file))
    file.chmod(0o755)
    assert HOST.is_executable(str(file))
    assert HOST.is_readable(str(file))
    assert HOST.is_writable(str(tmp_path))
    assert not HOST.is_readable(str(tmp_path / "none"))


def test_heads_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"#!/bin/sh\nrest")
    os.mkfifo(tmp_path / "fifo")
    assert HOST.head(str(tmp_path / "file"), 5) == b"#!/bi"
    assert HOST.size_of(str(tmp_path / "file")) == 14
    assert HOST.head(str(tmp_path / "fifo"), 5) is None
    assert HOST.head(str(tmp_path), 5) is None
    assert HOST.head(str(tmp_path / "none"), 5) is None
    assert HOST.size_of(str(tmp_path / "none")) is None


@pytest.mark.parametrize("project", [1, 65, 255])
def test_ftok_is_that_of_the_c_library(tmp_path: Path, project: int) -> None:
    file = tmp_path / "file"
    file.touch()
    libc = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6")
    expected = libc.ftok(os.fsencode(file), project) & 0xFFFFFFFF
    assert HOST.ftok(str(file), project) == expected
    assert HOST.ftok(str(file) + "x", project) is None


def test_users_and_groups() -> None:
    shown = subprocess.run(["id", "-u", "root"], capture_output=True, text=True, check=True).stdout
    assert HOST.uid_of("root") == int(shown)
    assert HOST.gid_of("root") == 0
    assert HOST.uid_of("no such user") is None
    assert HOST.gid_of("no such group") is None


def test_nothing_raises_for_what_is_no_path() -> None:
    for path in ("a\0b", "", "x" * 5000):
        assert HOST.kind_of(path) is None
        assert HOST.head(path, 1) is None
        assert not HOST.is_readable(path)
        assert HOST.ftok(path, 1) is None
    assert HOST.uid_of("a\0b") is None


def test_accounts_agree_with_id() -> None:
    for user in ("root", "nobody", 0):
        account = HOST.account(user)
        assert account is not None

        def shown(option: str, login: str = account.login) -> str:
            return subprocess.run(["id", option, login], capture_output=True, text=True, check=True).stdout

        assert account.uid == int(shown("-u"))
        assert account.gid == int(shown("-g"))
        assert set(account.groups) == set(map(int, shown("-G").split()))
        assert (
            account.home
            == subprocess.run(
                ["getent", "passwd", account.login], capture_output=True, text=True, check=True
            ).stdout.split(":")[5]
        )


def test_nobody_has_these_names() -> None:
    assert HOST.account("no such user") is HOST.account(2**31 - 7) is HOST.account("a\0b") is None


def test_who_we_are() -> None:
    assert HOST.own_uid() == int(subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout)
    assert HOST.own_gid() == int(subprocess.run(["id", "-g"], capture_output=True, text=True, check=True).stdout)


def test_modules_are_found_and_not_imported(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("raise SystemExit('imported')\n")
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")
    (package / "leaf.py").write_text("raise SystemExit('imported')\n")
    (package / "inner" / "deep.py").write_text("")
    folder = str(tmp_path)
    for name in ("plain", "package", "package.leaf", "package.inner.deep", "json", "json.decoder", "sys", "pytest"):
        assert HOST.module(name, folder), name
    for name in ("none", "package.none", "plain.none", "package.leaf.none", "json.none", "sys.none"):
        assert not HOST.module(name, folder), name
