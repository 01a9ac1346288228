"""The control socket of a live instance, the supervisor's side: connections, lines, answers. It knows no operation.

Never blocks: slow clients get answers bit by bit, and who does not read is not listened to. The socket lies in a folder
that only its owner can enter, and who connects is asked for by SO_PEERCRED as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from orchestra.errors import OrchestraError, PermissionRefused, StateError, UsageError
from orchestra.statedir import private_folder
from orchestra.supervisor.protocol import LINE_MAX, VERSION
from orchestra.supervisor.reactor import READ, WRITE, Reactor

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
_BACKLOG = 1024  # connections that wait; the kernel cuts it to net.core.somaxconn, and whoever comes then waits too
_ACCEPTED_AT_ONCE = 64
_ACCEPT_AGAIN = 0.1  # seconds; a connection that cannot be accepted keeps the socket ready, which must not spin
_CHUNK = 65536
_UNREAD_MAX = 4 * 1024 * 1024  # bytes of answers that nobody reads, after which no further request is read
_LAST_PATIENCE = 1.0  # seconds that slow clients have at the end, all together


class Client:
    """One connection, as whoever answers sees it."""

    __slots__ = ("_flush", "_outgoing", "_socket", "on_close", "received", "scanned")

    def __init__(self, sock: socket.socket, flush: Callable[[Client], None]) -> None:
        self._socket, self._flush = sock, flush
        self._outgoing: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self.received = bytearray()
        self.scanned = 0  # how much of it is known to hold no line end
        self.on_close: dict[Hashable, Callable[[], object]] = {}  # called once the client has left or was dropped

    def answer(self, content: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send an answer, and our descriptors with it, which are closed once they are on their way."""
        line = json.dumps({"v": VERSION, "ok": True, **content}, separators=(",", ":")).encode() + b"\n"
        self._queue(line, descriptors)

    def refuse(self, error: OrchestraError) -> None:
        """Answer with an error."""
        line = json.dumps({"v": VERSION, "ok": False, "error": error.to_wire()}, separators=(",", ":"))
        self._queue(line.encode() + b"\n")

    @property
    def is_open(self) -> bool:
        """Whether somebody may still read."""
        return self._socket.fileno() >= 0

    @property
    def unread(self) -> int:
        """Bytes of answers that wait."""
        return sum(len(data) for data, _ in self._outgoing)

    def fileno(self) -> int:
        """Return the descriptor; -1 when it is closed."""
        return self._socket.fileno()

    def push(self) -> None:
        """Send what fits. Raises OSError when the client is gone."""
        while self._outgoing:
            data, fds = self._outgoing[0]
            try:
                sent = socket.send_fds(self._socket, [data], list(fds)) if fds else self._socket.send(data)
            except BlockingIOError:
                return
            _close(fds)
            if sent == len(data):
                self._outgoing.popleft()
            else:
                self._outgoing[0] = (data[sent:], ())

    def close(self) -> None:
        """Hang up, with everything that was not sent."""
        for _, fds in self._outgoing:
            _close(fds)
        self._outgoing.clear()
        self._socket.close()
        for told in list(self.on_close.values()):
            told()

    def _queue(self, line: bytes, descriptors: Sequence[int] = ()) -> None:
        if not self.is_open:
            _close(descriptors)
            return
        self._outgoing.append((memoryview(line), tuple(descriptors)))
        self._flush(self)


class ControlServer:
    """Listens at `path` and hands every request to `handle(client, request)`, which answers now or later."""

    def __init__(self, reactor: Reactor, path: Path, handle: Callable[[Client, Any], None]) -> None:
        """Bind the socket; what lies at `path` is stale: the caller holds the instance's lock. Raises StateError."""
        self._reactor, self.path, self._handle = reactor, path, handle
        self._clients: dict[int, Client] = {}
        private_folder(path.parent)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            self._socket.bind(os.fspath(path))
            path.chmod(0o600)
            self._socket.listen(_BACKLOG)
        except OSError as err:
            self._socket.close()
            raise StateError(f"cannot make the control socket {path}: {err.strerror}") from err
        self._socket.setblocking(False)
        reactor.watch(self._socket.fileno(), self._accept)

    def finish(self) -> None:
        """Close. Slow clients have a second to read what was answered last."""
        deadline = time.monotonic() + _LAST_PATIENCE
        while slow := [client for client in self._clients.values() if client.unread]:
            poll = select.poll()
            for client in slow:
                poll.register(client.fileno(), select.POLLOUT)
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                break
            for client in slow:
                self._push(client)
        for client in list(self._clients.values()):
            self._drop(client)
        self._reactor.cancel("accept")
        self._reactor.forget(self._socket.fileno())
        self._socket.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError:  # we have no descriptors left, and it waits until we have
                self._reactor.change(self._socket.fileno(), 0)
                self._reactor.after("accept", _ACCEPT_AGAIN, self._listen_again)
                return
            self._welcome(sock)

    def _welcome(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        client = Client(sock, self._flush)
        self._clients[sock.fileno()] = client
        self._reactor.watch(sock.fileno(), partial(self._ready, client))
        _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid not in (0, os.getuid()):
            client.refuse(PermissionRefused("this instance belongs to another user"))
            self._drop(client)

    def _listen_again(self) -> None:
        self._reactor.change(self._socket.fileno(), READ)

    def _ready(self, client: Client) -> None:
        self._flush(client)
        if not client.is_open or client.unread > _UNREAD_MAX:
            return
        try:
            chunk = os.read(client.fileno(), _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._drop(client)
            return
        client.received += chunk
        self._take_lines(client)
        if len(client.received) > LINE_MAX and client.unread <= _UNREAD_MAX:
            client.refuse(UsageError(f"a request has at most {LINE_MAX} bytes"))
            self._drop(client)

    def _take_lines(self, client: Client) -> None:
        while client.is_open and client.unread <= _UNREAD_MAX:
            end = client.received.find(b"\n", client.scanned)
            if end < 0:
                client.scanned = len(client.received)
                return
            line = bytes(client.received[:end])
            del client.received[: end + 1]
            client.scanned = 0
            self._request(client, line)

    def _request(self, client: Client, line: bytes) -> None:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            client.refuse(UsageError("a request is one JSON object with v and op"))
            return
        try:
            self._handle(client, request)
        except OrchestraError as err:
            client.refuse(err)

    def _push(self, client: Client) -> None:
        try:
            client.push()
        except OSError:
            self._drop(client)

    def _flush(self, client: Client) -> None:
        had = client.unread
        self._push(client)
        if client.is_open:
            waiting = client.unread
            listen = READ if waiting <= _UNREAD_MAX else 0
            self._reactor.change(client.fileno(), listen | (WRITE if waiting else 0))
            if had > _UNREAD_MAX >= waiting and client.received:
                client.scanned = 0
                self._take_lines(client)

    def _drop(self, client: Client) -> None:
        fd = client.fileno()
        if self._clients.pop(fd, None) is not None:
            self._reactor.forget(fd)
            client.close()


def _close(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        os.close(fd)
