"""Datagrams as sd_notify(3) sends them, and who may send them."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.supervisor.notify import NotifySocket, parse

OURS = frozenset({os.geteuid()})


def send(address: str, *datagrams: bytes, descriptors: tuple[int, ...] = ()) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + address[1:] if address[0] == "@" else address)
        for datagram in datagrams:
            socket.send_fds(sock, [datagram], list(descriptors))


@pytest.mark.parametrize("abstract", [False, True])
def test_what_is_sent_is_received_in_order_and_the_name_goes_with_the_socket(tmp_path: Path, abstract: bool) -> None:
    box = NotifySocket(tmp_path, "a.1", users=OURS, abstract=abstract)
    assert (box.address[0] == "@") == abstract
    assert list(box.receive()) == []
    send(box.address, b"STATUS=warm = hot\nREADY=1", b"WATCHDOG=1\nnonsense\n=x", b"")
    assert list(box.receive()) == [{"STATUS": "warm = hot", "READY": "1"}, {"WATCHDOG": "1"}, {}]
    box.close()
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_too_long_for_an_address_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    box = NotifySocket(folder, "a.1", users=OURS)
    send(box.address, b"READY=1")
    assert list(box.receive()) == [{"READY": "1"}]
    box.close()


def test_a_flood_is_read_in_portions(tmp_path: Path) -> None:
    box = NotifySocket(tmp_path, "a.1", users=OURS)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(box.address)
        sent = 0
        try:
            while sent < 1000:
                sock.send(b"WATCHDOG=1")
                sent += 1
        except BlockingIOError:
            pass
    read = 0
    while portion := len(list(box.receive())):
        assert portion <= 64
        read += portion
    assert read == sent
    box.close()


def test_descriptors_that_are_sent_along_do_not_stay_open(tmp_path: Path) -> None:
    box = NotifySocket(tmp_path, "a.1", users=OURS)
    read, write = os.pipe()
    send(box.address, b"FDSTORE=1", descriptors=(write,))
    os.close(write)
    assert list(box.receive()) == [{"FDSTORE": "1"}]
    assert os.read(read, 1) == b"", "nobody holds the other end"
    os.close(read)
    box.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_the_word_of_another_user_does_not_count(tmp_path: Path) -> None:
    box = NotifySocket(tmp_path, "a.1", users=OURS, abstract=True)
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            send(box.address, b"READY=1")
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert list(box.receive()) == []
    assert box.refused == 65534
    box.close()


@given(st.binary())
def test_any_datagram_can_be_read(datagram: bytes) -> None:
    found = parse(datagram)
    assert all(name and "\n" not in name and "=" not in name for name in found)
