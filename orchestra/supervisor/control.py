"""The control socket of a live instance: its client. What can be asked is the table in `protocol`.

One JSON object a line, both ways. An answer has `ok`; `{"ok":false,"error":…}` carries an error of ours. What takes
its time is answered twice: `accepted` at once, `done` or `ended` when it came to something.
"""

from __future__ import annotations

import array
import json
import math
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

from orchestra.errors import DeadlinePassed, NotFound, SupervisorLost, from_wire
from orchestra.supervisor.protocol import VERSION

CONNECT_TIMEOUT = 10.0  # seconds; a live supervisor answers within milliseconds
DESCRIPTORS_MAX = 250  # in one message: the kernel's SCM_MAX_FD is 253
_TIMEVAL = struct.Struct("ll")
_CHUNK = 65536


class Wiring(NamedTuple):
    """What a replica is started with. The descriptors are ours to close, in the order in which they follow 2."""

    answer: dict[str, Any]
    descriptors: list[int]


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
        return self.ask("stop", leak=leak, timeout=timeout)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Ask for an operation and return its last answer, however long that takes; None is left out.

        The keys of the first answer are in the last one too. Raises as `stop` does.
        """
        given = {name: value for name, value in fields.items() if value is not None}
        with _Connection(self.path, CONNECT_TIMEOUT) as line:
            line.send({"v": VERSION, "op": op, **given})
            answer = line.receive()
            line.patience(None)
            while answer.get("accepted") and not (answer.get("done") or answer.get("ended")):
                answer = {**answer, **line.receive()}
            return answer

    def wiring(self, *, target: str | None = None, uses: dict[str, str] | None = None) -> Wiring:
        """Return what a replica is started with, its descriptors close-on-exec. Raises as `stop` does."""
        given = {name: value for name, value in (("target", target), ("uses", uses)) if value is not None}
        return self.wiring_of({"op": "wiring", **given})

    def wiring_of(self, request: dict[str, Any]) -> Wiring:
        """Return the answer to one request, with the descriptors that come along."""
        with _Connection(self.path, CONNECT_TIMEOUT) as line:
            line.send({"v": VERSION, **request})
            return Wiring(line.receive(), line.take_descriptors())


class _Connection:
    """One connection to a control socket."""

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._received = bytearray()
        self._descriptors: list[int] = []

    def __enter__(self) -> Self:
        # Where the queue of connections is full, a socket that does not block is refused at once (EAGAIN). One that
        # blocks waits in the kernel until there is room, for as long as SO_SNDTIMEO says: connect(2), socket(7).
        seconds = max(self._timeout, 0.001)
        whole = math.floor(seconds)
        limit = _TIMEVAL.pack(whole, round((seconds - whole) * 1e6) % 1_000_000)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        deadline = time.monotonic() + seconds
        try:
            self._socket.connect(self._path)
        except BlockingIOError as err:
            self._socket.close()
            raise DeadlinePassed("the supervisor did not answer in time", detail=self._path) from err
        except OSError as err:
            self._socket.close()
            raise NotFound(
                "no supervisor answers for this instance", detail=f"connect({self._path}) -> {err.strerror or err}"
            ) from err
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._descriptors:
            os.close(fd)
        self._socket.close()

    def patience(self, timeout: float | None) -> None:
        """Wait this long for what comes next; None: as long as it takes."""
        self._socket.settimeout(timeout)

    def send(self, request: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except TimeoutError as err:
            raise self._late() from err
        except OSError as err:
            raise self._lost() from err

    def receive(self) -> dict[str, Any]:
        while b"\n" not in self._received:
            self._received += self._chunk()
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        answer: dict[str, Any] = json.loads(line)
        if not answer.get("ok"):
            raise from_wire(answer.get("error") or {})
        return answer

    def take_descriptors(self) -> list[int]:
        """Hand over the descriptors that came along."""
        taken, self._descriptors = self._descriptors, []
        return taken

    def _chunk(self) -> bytes:
        room = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
        try:
            chunk, ancillary, _, _ = self._socket.recvmsg(_CHUNK, room, socket.MSG_CMSG_CLOEXEC)
        except TimeoutError as err:
            raise self._late() from err
        except OSError as err:
            raise self._lost() from err
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
                self._descriptors += fds
        if not chunk:
            raise self._lost()
        return chunk

    def _late(self) -> DeadlinePassed:
        return DeadlinePassed("the supervisor did not answer in time", detail=self._path)

    def _lost(self) -> SupervisorLost:
        return SupervisorLost(
            "the supervisor went away before it had answered",
            detail=self._path,
            hint="`orchestra down` finishes what is left of its run.",
        )
