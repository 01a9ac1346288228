"""The client of the control socket, against servers that answer, fall silent, or die."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestra.errors import Conflict, DeadlinePassed, NotFound, OrchestraError
from orchestra.supervisor.control import ControlClient


@contextmanager
def server(path: Path, *answers: bytes, hold: bool = False) -> Iterator[list[bytes]]:
    """Accept one connection, take a request, send the answers and hang up (or `hold` until the block ends)."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    requests: list[bytes] = []
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            requests.append(connection.recv(4096))
            for answer in answers:
                connection.sendall(answer)
            if hold:
                over.wait(30)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield requests
    finally:
        over.set()
        thread.join()
        listener.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.sock"


def test_state(path: Path) -> None:
    with server(path, b'{"v":1,"ok":true,', b'"state":"up"}\n') as requests:
        assert ControlClient(path).state()["state"] == "up"
    assert requests == [b'{"v": 1, "op": "state"}\n']


def test_stop_waits_for_the_end(path: Path) -> None:
    with server(path, b'{"v":1,"ok":true,"accepted":true}\n{"v":1,"ok":true,"ended":true,"exit_code":3}\n') as requests:
        assert ControlClient(path).stop(leak=True, timeout=1.5)["exit_code"] == 3
    assert requests == [b'{"v": 1, "op": "stop", "leak": true, "timeout": 1.5}\n']


def test_nobody_there(path: Path) -> None:
    with pytest.raises(NotFound, match="no supervisor"):
        ControlClient(path).state()


def test_an_error_answer_is_raised_as_what_it_is(path: Path) -> None:
    answer = b'{"v":1,"ok":false,"error":{"class":"Conflict","problem":"not now","detail":"","hint":"later"}}\n'
    with server(path, answer), pytest.raises(Conflict, match="not now"):
        ControlClient(path).state()


def test_a_supervisor_that_dies_on_the_way(path: Path) -> None:
    with server(path, b'{"v":1,"ok":true,"accepted":true}\n'), pytest.raises(OrchestraError, match="went away"):
        ControlClient(path).stop()


def test_a_supervisor_that_does_not_answer(path: Path) -> None:
    with server(path, hold=True), pytest.raises(DeadlinePassed):
        ControlClient(path).state(timeout=0.05)
