"""The control socket of a live instance, from both sides of its protocol's words; here the client.

One JSON object a line, version 1. Requests: `{"v":1,"op":"state"}`, `{"v":1,"op":"stop","leak":…,"timeout":…}`.
An answer has `ok`; `{"ok":false,"error":…}` carries an error of ours. A stop is answered twice: `accepted` at once,
`ended` when everything is torn down.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, Self

from orchestra.errors import DeadlinePassed, NotFound, OrchestraError, from_wire

VERSION = 1
LINE_MAX = 64 * 1024  # of a request
CONNECT_TIMEOUT = 10.0  # seconds; a live supervisor answers within milliseconds


class ControlClient:
    """Asks the supervisor of one instance. Each call is a connection of its own."""

    def __init__(self, path: str | Path) -> None:
        self.path = os.fspath(path)

    def state(self, *, timeout: float = CONNECT_TIMEOUT) -> dict[str, Any]:
        """Return the answer to `state`: instance, run, state, pid, guardian, processes as in `ps`, started_at.

        Raises NotFound when nobody answers at the socket, OrchestraError for an error answer.
        """
        with _Connection(self.path, timeout) as line:
            line.send({"v": VERSION, "op": "state"})
            return line.receive()

    def stop(self, *, leak: bool = False, timeout: float | None = None) -> dict[str, Any]:
        """Stop the instance and wait until it is torn down; return the last answer, with `exit_code`.

        `timeout` (seconds) is when the supervisor kills what is left. Raises NotFound when nobody answers, and
        OrchestraError when the supervisor dies on the way.
        """
        with _Connection(self.path, CONNECT_TIMEOUT) as line:
            line.send({"v": VERSION, "op": "stop", "leak": leak, "timeout": timeout})
            answer = line.receive()
            line.patience(None)
            while not answer.get("ended"):
                answer = line.receive()
            return answer


class _Connection:
    """One connection to a control socket."""

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._received = b""

    def __enter__(self) -> Self:
        try:
            self._socket.connect(self._path)
        except OSError as err:
            self._socket.close()
            raise NotFound(
                "no supervisor answers for this instance", detail=f"connect({self._path}) -> {err.strerror or err}"
            ) from err
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def patience(self, timeout: float | None) -> None:
        """Wait this long for what comes next; None: as long as it takes."""
        self._socket.settimeout(timeout)

    def send(self, request: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as err:
            raise self._lost() from err

    def receive(self) -> dict[str, Any]:
        while b"\n" not in self._received:
            try:
                chunk = self._socket.recv(65536)
            except TimeoutError as err:
                raise DeadlinePassed("the supervisor did not answer in time", detail=self._path) from err
            except OSError as err:
                raise self._lost() from err
            if not chunk:
                raise self._lost()
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if not answer.get("ok"):
            raise from_wire(answer.get("error") or {})
        return answer

    def _lost(self) -> OrchestraError:
        return OrchestraError(
            "the supervisor went away before it had answered",
            detail=self._path,
            hint="`orchestra down` finishes what is left of its run.",
        )
