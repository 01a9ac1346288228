"""What the checks ask of a host: the real one and the one of the tests answer alike."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest

from orchestra.kernel.hostfacts import RealHost
from orchestra.topology.host import HostFacts
from tests.support.hosts import FakeHost

QUESTIONS = [name for name in vars(HostFacts) if not name.startswith("_")]
OF_A_PATH = ("kind_of", "is_executable", "is_readable", "is_writable", "size_of")


@pytest.mark.parametrize("host", [RealHost, FakeHost])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_host_is_asked_in_the_same_way(host: type, question: str) -> None:
    asked = inspect.signature(getattr(HostFacts, question))
    answered = inspect.signature(getattr(host, question))
    assert list(answered.parameters) == list(asked.parameters)
    assert answered.return_annotation == asked.return_annotation


@pytest.fixture
def hosts(tmp_path: Path) -> tuple[HostFacts, HostFacts]:
    """Give the real host and one in words, of the same few files."""
    (tmp_path / "tool").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    (tmp_path / "text").write_bytes(b"")
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "fifo")
    fake = FakeHost(
        files={f"{tmp_path}/tool": b"#!/bin/sh\n", f"{tmp_path}/text": b""},
        executable={f"{tmp_path}/tool"},
        folders={f"{tmp_path}/sub"},
        special={f"{tmp_path}/fifo"},
    )
    return RealHost(), fake


@pytest.mark.parametrize("name", ["tool", "text", "sub", ""])
def test_what_is_there(hosts: tuple[HostFacts, HostFacts], tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    real, fake = ([getattr(host, question)(path) for question in OF_A_PATH[:-1]] for host in hosts)
    assert real == fake
    real_head, fake_head = (host.head(path, 5) for host in hosts)
    assert real_head == fake_head


def test_what_has_no_content_or_is_not_there(hosts: tuple[HostFacts, HostFacts], tmp_path: Path) -> None:
    for host in hosts:
        assert host.kind_of(str(tmp_path / "fifo")) == "other"
        assert host.head(str(tmp_path / "fifo"), 5) is None
        none = str(tmp_path / "none")
        assert (host.kind_of(none), host.size_of(none), host.head(none, 5), host.ftok(none, 1)) == (None,) * 4
        assert not host.is_executable(none)
        assert (host.size_of(str(tmp_path / "tool")), host.size_of(str(tmp_path / "text"))) == (10, 0)


def test_a_project_of_its_own_makes_another_key(hosts: tuple[HostFacts, HostFacts], tmp_path: Path) -> None:
    for host in hosts:
        keys = [host.ftok(str(tmp_path / "tool"), project) for project in (1, 255)]
        assert [key >> 24 for key in keys if key is not None] == [1, 255]


def test_users_and_groups(hosts: tuple[HostFacts, HostFacts]) -> None:
    for host in hosts:
        assert (host.uid_of("root"), host.gid_of("root")) == (0, 0)
        assert (host.uid_of("no such user"), host.gid_of("no such group")) == (None, None)
