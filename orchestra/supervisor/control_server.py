"""The control socket of a live instance, the supervisor's side. Never blocks: slow clients get answers bit by bit.

The socket lies in a folder that only its owner can enter, and who connects is asked for by SO_PEERCRED as well.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from orchestra.errors import OrchestraError, PermissionRefused, StateError, UsageError
from orchestra.statedir import private_folder
from orchestra.supervisor.control import LINE_MAX, VERSION
from orchestra.supervisor.reactor import READ, WRITE, Reactor

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
_BACKLOG = 16
_ACCEPT_AGAIN = 0.1  # seconds; a connection that cannot be accepted keeps the socket ready, which must not spin


class _Client:
    """One connection."""

    __slots__ = ("outgoing", "received", "socket", "waits")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.received = bytearray()
        self.outgoing = bytearray()
        self.waits = False  # for the end of the run


class ControlServer:
    """Answers `state` with what `state()` returns and hands `stop` to `stop(leak, timeout)`."""

    def __init__(
        self,
        reactor: Reactor,
        path: Path,
        *,
        state: Callable[[], dict[str, Any]],
        stop: Callable[[bool, float | None], None],
    ) -> None:
        """Bind the socket; what lies at `path` is stale: the caller holds the instance's lock. Raises StateError."""
        self._reactor, self.path, self._state, self._stop = reactor, path, state, stop
        self._clients: dict[int, _Client] = {}
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

    def finish(self, answer: dict[str, Any]) -> None:
        """Tell everybody who waits for the end, and close. Gives slow clients a second."""
        for client in list(self._clients.values()):
            if client.waits:
                self._answer(client, answer)
            with contextlib.suppress(OSError):
                client.socket.settimeout(1.0)
                client.socket.sendall(client.outgoing)
            self._drop(client)
        self._reactor.forget(self._socket.fileno())
        self._socket.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError:  # it is gone again; or we have no descriptors left, and it waits until we have
            self._reactor.change(self._socket.fileno(), 0)
            self._reactor.after("accept", _ACCEPT_AGAIN, self._listen_again)
            return
        sock.setblocking(False)
        client = _Client(sock)
        self._clients[sock.fileno()] = client
        self._reactor.watch(sock.fileno(), partial(self._ready, client))
        _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid not in (0, os.getuid()):
            self._refuse(client, PermissionRefused("this instance belongs to another user"))
            self._drop(client)

    def _listen_again(self) -> None:
        if self._socket.fileno() >= 0:
            self._reactor.change(self._socket.fileno(), READ)

    def _ready(self, client: _Client) -> None:
        if client.outgoing:
            self._flush(client)
        try:
            chunk = client.socket.recv(LINE_MAX)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._drop(client)
            return
        client.received += chunk
        while b"\n" in client.received and client.socket.fileno() >= 0:
            line, _, rest = bytes(client.received).partition(b"\n")
            client.received = bytearray(rest)
            self._request(client, line)
        if len(client.received) > LINE_MAX:
            self._drop(client)

    def _request(self, client: _Client, line: bytes) -> None:
        try:
            request = json.loads(line)
            version, op = request["v"], request["op"]
        except (ValueError, TypeError, KeyError):
            self._refuse(client, UsageError("a request is one JSON object with v and op"))
            return
        if version != VERSION:
            self._refuse(client, UsageError(f"this supervisor speaks version {VERSION}, not {version}"))
        elif op == "state":
            self._answer(client, {"v": VERSION, "ok": True, **self._state()})
        elif op == "stop":
            self._accept_stop(client, request)
        else:
            self._refuse(client, UsageError(f"unknown request {op!r}"))

    def _accept_stop(self, client: _Client, request: dict[str, Any]) -> None:
        timeout = request.get("timeout")
        is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
        if timeout is not None and not (is_number and 0 <= timeout < math.inf):  # JSON as Python reads it knows NaN
            self._refuse(client, UsageError("timeout is a number of seconds"))
            return
        client.waits = True
        self._answer(client, {"v": VERSION, "ok": True, "accepted": True})
        self._stop(bool(request.get("leak")), timeout)

    def _refuse(self, client: _Client, error: OrchestraError) -> None:
        self._answer(client, {"v": VERSION, "ok": False, "error": error.to_wire()})

    def _answer(self, client: _Client, answer: dict[str, Any]) -> None:
        client.outgoing += json.dumps(answer, separators=(",", ":")).encode() + b"\n"
        self._flush(client)

    def _flush(self, client: _Client) -> None:
        try:
            sent = client.socket.send(client.outgoing)
            del client.outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        self._reactor.change(client.socket.fileno(), READ | WRITE if client.outgoing else READ)

    def _drop(self, client: _Client) -> None:
        fd = client.socket.fileno()
        if self._clients.pop(fd, None) is not None:
            self._reactor.forget(fd)
            client.socket.close()
