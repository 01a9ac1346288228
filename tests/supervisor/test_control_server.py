"""The control socket, with clients that behave and clients that do not."""

from __future__ import annotations

import contextlib
import gc
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

from orchestra.errors import Conflict, DeadlinePassed, StateError
from orchestra.supervisor.control import ControlClient
from orchestra.supervisor.control_server import Client, ControlServer
from orchestra.supervisor.reactor import Reactor


class Bench:
    """A server in this thread; clients in threads of their own, or as bare sockets."""

    def __init__(self, path: Path) -> None:
        self.reactor = Reactor()
        self.state: dict[str, Any] = {"instance": "t"}
        self.later: list[Client] = []  # who asked for anything but the state
        self.left: list[Client] = []
        self.descriptors: list[int] = []
        self.server = ControlServer(self.reactor, path, self.handle)
        self.path = path

    def handle(self, client: Client, request: Any) -> None:
        if request["op"] == "state":
            client.answer(self.state, [os.dup(fd) for fd in self.descriptors])
        elif request["op"] == "never":
            raise Conflict("not now")
        else:
            self.later.append(client)
            client.on_close["test"] = lambda: self.left.append(client)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.reactor.turn(wait=False)

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
            try:
                found.append(client())
            except Exception as err:
                found.append(err)
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
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "run" / "t.sock")
    yield made
    made.server.finish()


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


def test_what_was_answered_last_arrives_before_the_end(bench: Bench) -> None:
    sock, slow = bench.connect(), bench.connect()
    for each in (sock, slow):
        each.sendall(b'{"v":1,"op":"later"}\n')
    while len(bench.later) < 2:
        bench.reactor.turn()
    for client in bench.later:
        client.answer({"text": "x" * 500_000})
    assert bench.later[0].unread
    assert json.loads(bench.serve(lambda: _line(sock)))["ok"]
    told = threading.Thread(target=lambda: _line(slow))
    told.start()
    bench.server.finish()
    told.join()
    assert (sock.recv(1), slow.recv(1)) == (b"", b"")
    assert not bench.path.exists()
    assert bench.left == bench.later
    sock.close()
    slow.close()
    bench.server = Bench(bench.path).server


def _line(sock: socket.socket) -> bytes:
    text = b""
    while not text.endswith(b"\n"):
        text += sock.recv(65536)
    return text


def test_an_error_is_the_answer(bench: Bench) -> None:
    with pytest.raises(Conflict, match="not now"):
        bench.serve(lambda: ControlClient(bench.path).ask("never"))


def test_descriptors_come_along_and_are_closed_here(bench: Bench) -> None:
    ours = os.open("/dev/null", os.O_RDONLY)
    bench.descriptors = [ours] * 3
    gc.collect()  # what earlier tests dropped is not to be closed while we count
    before = len(os.listdir("/proc/self/fd"))
    wiring = bench.serve(lambda: ControlClient(bench.path).wiring_of({"op": "state"}))
    assert len(wiring.descriptors) == 3
    assert not any(os.get_inheritable(fd) for fd in wiring.descriptors)
    for fd in wiring.descriptors:
        assert os.fstat(fd).st_rdev == os.fstat(ours).st_rdev
        os.close(fd)
    bench.turn(3)
    assert len(os.listdir("/proc/self/fd")) == before
    sock = bench.connect()
    sock.sendall(b'{"v":1,"op":"state"}\n')
    sock.close()  # before they could be sent
    bench.turn(4)
    os.close(ours)
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_whoever_does_not_read_is_not_listened_to(bench: Bench) -> None:
    bench.state = {"processes": ["x" * 1000] * 1000}
    sock = bench.connect()
    sock.sendall(b'{"v":1,"op":"state"}\n' * 40)
    bench.turn(50)
    (client,) = bench.server._clients.values()
    assert client.unread < 7_000_000

    def read_all() -> int:
        lines = 0
        while lines < 40:
            lines += sock.recv(1 << 20).count(b"\n")
        return lines

    assert bench.serve(read_all) == 40
    sock.close()


def test_more_connections_at_once_than_fit_wait_their_turn(bench: Bench) -> None:
    """A full queue refuses whoever does not wait for room: the client does, and is answered."""
    bench.server._socket.listen(1)
    clients = [ControlClient(bench.path) for _ in range(24)]
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda c=client: answers.append(c.state())) for client in clients]
    for thread in threads:
        thread.start()
    while len(answers) < len(clients):
        bench.reactor.after("look", 0.01, lambda: None)
        bench.reactor.turn()
    for thread in threads:
        thread.join()
    assert all(answer["ok"] for answer in answers)


def test_a_queue_that_stays_full_is_a_deadline(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        waiting = []
        for _ in range(2):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting[-1].connect(str(tmp_path / "s"))
        with pytest.raises(DeadlinePassed):
            ControlClient(tmp_path / "s").state(timeout=0.05)
        for sock in waiting:
            sock.close()


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


def test_a_client_that_leaves_is_forgotten(bench: Bench) -> None:
    sock = bench.connect()
    sock.sendall(b'{"v":1,"op":"later"}\n')
    while not bench.later:
        bench.reactor.turn()
    sock.close()
    while not bench.left:
        bench.reactor.turn()
    bench.later[0].answer({"done": True})
    assert not bench.later[0].is_open
    assert bench.serve(ControlClient(bench.path).state)["ok"]


def test_a_line_that_never_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestra.supervisor.control_server.LINE_MAX", 1000)
    sock = bench.connect()
    sock.sendall(b"x" * 2000)
    bench.turn(2)
    assert b"at most" in sock.recv(4096)
    assert sock.recv(1) == b""
    sock.close()


@pytest.mark.parametrize("line", [b"}", b"\xff", b"[" * 20000], ids=["json", "utf-8", "deep"])
def test_what_is_no_json(bench: Bench, line: bytes) -> None:
    sock = bench.connect()
    sock.sendall(line + b"\n")
    bench.turn(3)
    assert b"one JSON object" in sock.recv(4096)
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
        ControlServer(Reactor(), tmp_path / "file" / "t.sock", lambda *_: None)


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
        bench.server.finish()
