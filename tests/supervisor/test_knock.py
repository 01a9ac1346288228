"""Connecting to what may or may not be there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from orchestra.supervisor.knock import Knock
from orchestra.supervisor.reactor import Reactor
from tests.support.runs import until


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def opened() -> list[int]:
    return []


def settle(reactor: Reactor, knock: Knock, opened: list[int]) -> None:
    """Turn until each connect of one try came to something."""

    def look() -> bool:
        reactor.turn(wait=False)
        return bool(opened) or not knock._under_way

    until(look)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_port_that_somebody_listens_on(reactor: Reactor, opened: list[int], family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family is socket.AF_INET else "::1"
    with socket.socket(family) as server:
        server.bind((host, 0))
        knock = Knock(reactor, lambda: opened.append(1), port=server.getsockname()[1])
        knock.again()
        settle(reactor, knock, opened)
        assert (opened, knock.why) == ([], "Connection refused")
        server.listen(1)
        knock.again()
        settle(reactor, knock, opened)
        assert opened == [1]
        assert not knock._under_way


def test_a_port_is_not_met_by_ourselves(reactor: Reactor, opened: list[int]) -> None:
    """A connect from the very port that it goes to succeeds though nobody listens there: tried until it happens."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with socket.socket() as both:
        both.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        both.bind(("127.0.0.1", 0))
        both.connect(both.getsockname())
        assert both.getsockname() == both.getpeername(), "the kernel does such a thing"
        knock = Knock(reactor, lambda: opened.append(1), port=low)
        knock._under_way[both.fileno()] = both
        reactor.watch(both.fileno(), lambda: knock._settled(both), 4)
        settle(reactor, knock, opened)
        assert opened == []
        assert knock.why == "Connection refused"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM])
def test_a_socket_in_a_folder_however_deep(
    reactor: Reactor, opened: list[int], tmp_path: Path, kind: socket.SocketKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    knock = Knock(reactor, lambda: opened.append(1), path=str(folder / "sock"))
    knock.again()
    assert knock.why == "No such file or directory"
    with socket.socket(socket.AF_UNIX, kind) as server:
        monkeypatch.chdir(folder)
        server.bind("sock")
        if kind is not socket.SOCK_DGRAM:
            knock.again()
            assert (opened, knock.why) == ([], "Connection refused")
            server.listen(0)
        knock.again()
        assert opened == [1]
        if kind is socket.SOCK_STREAM:
            waiting = []
            while True:  # until its queue is full
                client = socket.socket(socket.AF_UNIX, kind)
                client.setblocking(False)
                waiting.append(client)
                if client.connect_ex("sock"):
                    break
            knock.again()
            assert opened == [1, 1]
            for client in waiting:
                client.close()
    knock.again()
    assert knock.why == "Connection refused", "a socket file that nobody listens on any more"


def test_no_folder_and_no_name(reactor: Reactor, opened: list[int], tmp_path: Path) -> None:
    for path in (str(tmp_path / "nowhere" / "sock"), str(tmp_path / ("y" * 250))):
        knock = Knock(reactor, lambda: opened.append(1), path=path)
        knock.again()
        assert opened == []
        assert knock.why
