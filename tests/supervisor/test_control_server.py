"""The control socket, with clients that behave and clients that do not."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestra.errors import StateError
from orchestra.supervisor.control import LINE_MAX, ControlClient
from orchestra.supervisor.control_server import ControlServer
from orchestra.supervisor.reactor import Reactor


class Bench:
    """A server in this thread; clients in threads of their own, or as bare sockets."""

    def __init__(self, path: Path) -> None:
        self.reactor = Reactor()
        self.stops: list[tuple[bool, float | None]] = []
        self.state: dict[str, Any] = {"instance": "t"}
        self.server = ControlServer(
            self.reactor, path, state=lambda: self.state, stop=lambda leak, timeout: self.stops.append((leak, timeout))
        )
        self.path = path

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(os.fspath(self.path))
        sock.settimeout(10)
        return sock

    def serve(self, client: Callable[[], Any]) -> Any:
        """Run `client` in a thread and serve until it is done; return its result."""
        found: list[Any] = []
        wake = os.eventfd(0)

        def run() -> None:
            found.append(client())
            os.eventfd_write(wake, 1)

        thread = threading.Thread(target=run)
        done: list[int] = []
        self.reactor.watch(wake, lambda: done.append(os.eventfd_read(wake)))
        thread.start()
        while not done:
            self.reactor.turn()
        thread.join()
        self.reactor.forget(wake)
        os.close(wake)
        return found[0]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "run" / "t.sock")
    yield made
    made.server.finish({})


def test_state(bench: Bench) -> None:
    assert bench.serve(ControlClient(bench.path).state) == {"v": 1, "ok": True, "instance": "t"}


def test_the_folder_and_the_socket_are_private(bench: Bench) -> None:
    assert bench.path.parent.stat().st_mode & 0o777 == 0o700
    assert bench.path.stat().st_mode & 0o777 == 0o600


def test_a_large_answer_reaches_a_slow_reader(bench: Bench) -> None:
    bench.state = {"processes": ["x" * 1000] * 3000}
    sock = bench.connect()
    sock.sendall(b'{"v":1,"op":"state"}\n')
    for _ in range(4):
        bench.reactor.turn(wait=False)  # the socket is full long before the answer is out

    def read_all() -> bytes:
        text = b""
        while not text.endswith(b"\n"):
            text += sock.recv(65536)
        return text

    assert json.loads(bench.serve(read_all))["processes"] == bench.state["processes"]
    sock.close()


def test_stop_is_accepted_at_once_and_answered_at_the_end(bench: Bench) -> None:
    sock = bench.connect()
    sock.sendall(b'{"v":1,"op":"stop","leak":true,"timeout":2.5}\n')
    while not bench.stops:
        bench.reactor.turn()
    assert bench.stops == [(True, 2.5)]
    assert json.loads(sock.recv(4096)) == {"v": 1, "ok": True, "accepted": True}
    bench.server.finish({"v": 1, "ok": True, "ended": True, "exit_code": 0})
    assert json.loads(sock.recv(4096))["exit_code"] == 0
    assert sock.recv(1) == b""
    assert not bench.path.exists()
    sock.close()
    bench.server = Bench(bench.path).server


def test_two_requests_in_one_piece_and_one_in_many(bench: Bench) -> None:
    sock = bench.connect()
    sock.sendall(b'{"v":1,"op":"state"}\n{"v":1,"op":"state"}\n{"v":1')
    for _ in range(3):
        bench.reactor.turn(wait=False)
    sock.sendall(b',"op":"state"}\n')
    for _ in range(2):
        bench.reactor.turn(wait=False)
    assert sock.recv(4096).count(b'"instance":"t"') == 3
    sock.close()


def test_a_client_that_leaves_or_floods_is_dropped(bench: Bench) -> None:
    bench.connect().close()
    flood = bench.connect()
    flood.setblocking(False)
    for _ in range(5):
        bench.reactor.turn(wait=False)
        try:
            flood.send(b"x" * LINE_MAX)
        except (BlockingIOError, BrokenPipeError):
            break
    for _ in range(5):
        bench.reactor.turn(wait=False)
    flood.setblocking(True)
    flood.settimeout(10)
    with contextlib.suppress(ConnectionResetError):
        assert flood.recv(1) == b""
    flood.close()
    assert bench.serve(ControlClient(bench.path).state)["ok"]


@pytest.mark.parametrize("timeout", ["-1", "true", '"5"', "NaN", "Infinity", "[]"])
def test_a_deadline_that_is_no_number_of_seconds(bench: Bench, timeout: str) -> None:
    sock = bench.connect()
    sock.sendall(b'{"v":1,"op":"stop","timeout":%s}\n' % timeout.encode())
    for _ in range(2):
        bench.reactor.turn(wait=False)
    assert b"number of seconds" in sock.recv(4096)
    assert bench.stops == []
    sock.close()


def test_no_descriptors_left_to_accept_with(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiting connection keeps the socket ready: that must not spin, and it is served once there is room."""
    listener = bench.server._socket
    refusing = SimpleNamespace(fileno=listener.fileno, accept=_no_room, close=listener.close)
    monkeypatch.setattr(bench.server, "_socket", refusing)
    sock = bench.connect()
    sock.sendall(b'{"v":1,"op":"state"}\n')
    bench.reactor.turn()
    bench.reactor.turn(wait=False)
    assert refusing.fileno() == listener.fileno()
    monkeypatch.setattr(bench.server, "_socket", listener)
    for _ in range(3):
        bench.reactor.turn()
    assert b'"ok":true' in sock.recv(4096)
    sock.close()


def _no_room() -> None:
    raise OSError(24, "Too many open files")


def test_a_path_that_cannot_be_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError):
        ControlServer(Reactor(), tmp_path / "file" / "t.sock", state=dict, stop=lambda *_: None)


@pytest.mark.root
def test_another_user_is_refused(tmp_path: Path) -> None:
    """The folder keeps others out; whoever gets past it all the same is recognised by SO_PEERCRED."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name) / "run" / "t.sock")
        bench.path.parent.chmod(0o755)
        Path(name).chmod(0o755)
        bench.path.chmod(0o666)
        ask = f"import socket; s = socket.socket(1); s.connect({os.fspath(bench.path)!r}); print(s.recv(999))"
        command = ["setpriv", "--reuid", "65534", "--clear-groups", "/usr/bin/env", "python3", "-c", ask]
        done = bench.serve(lambda: subprocess.run(command, capture_output=True, text=True))
        if done.returncode == 127:
            pytest.skip("no python3 that another user can run")
        assert "belongs to another user" in done.stdout, done.stderr
        bench.server.finish({})
