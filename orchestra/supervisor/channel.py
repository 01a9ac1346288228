"""The line between a command and its supervisor: newline-terminated JSON over a socket pair, both ways.

From the supervisor an empty line is a tick: the log has grown. A tick is sent only when the other side has read
everything before it; it then reads the log to its end, so one outstanding tick says as much as a thousand. Therefore a
stopped or slow terminal never fills the socket, and the messages that matter always fit. Descriptors may come along
with a message: the standard input of the command, for a process that inherits it.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import socket
import termios
from collections.abc import Sequence
from typing import Any

_CHUNK = 256 * 1024
_ROOM = socket.CMSG_SPACE(8 * array.array("i").itemsize)  # for descriptors; there is one at most


class Channel:
    """One end. Sending never blocks for long and never raises: who does not listen does not matter."""

    def __init__(self, sock: socket.socket, *, peer: int | None = None) -> None:
        self.socket = sock
        self.peer = peer  # pid of the guardian, where we are its parent
        self._received = bytearray()
        self._unread: list[dict[str, Any] | None] = []
        self.descriptors: list[int] = []  # that came along, close-on-exec; whoever takes them closes them

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """Take over an inherited descriptor; close-on-exec from now on."""
        os.set_inheritable(fd, False)
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        """Return the descriptor, for select and epoll."""
        return self.socket.fileno()

    def send(self, message: dict[str, Any], *, timeout: float | None = 1.0, descriptors: Sequence[int] = ()) -> bool:
        """Send one message; False when the other side is gone or did not read for `timeout` seconds.

        `descriptors` go along as copies: they stay open here.
        """
        try:
            self.socket.settimeout(timeout)
            line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
            sent = socket.send_fds(self.socket, [line], list(descriptors)) if descriptors else 0
            self.socket.sendall(line[sent:])
        except (OSError, ValueError):
            return False
        return True

    def tick(self) -> None:
        """Say that the log has grown, unless something unread already says so."""
        with contextlib.suppress(OSError):
            waiting = array.array("i", [0])
            fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, waiting)
            if waiting[0] == 0:
                self.socket.send(b"\n", socket.MSG_DONTWAIT)

    def receive(self, *, wait: bool = False) -> tuple[list[dict[str, Any] | None], bool]:
        """Return the messages that are there (None for ticks, of which several count as one), and whether it is over.

        With `wait`, block until there is something or the other side is gone.
        """
        ended = False
        while b"\n" not in self._received and not self._unread:
            try:
                self.socket.settimeout(None if wait else 0.0)
                chunk, ancillary, _, _ = self.socket.recvmsg(_CHUNK, _ROOM, socket.MSG_CMSG_CLOEXEC)
                for level, kind, data in ancillary:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        self.descriptors += array.array("i", data)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            if not chunk:
                ended = True
                break
            self._received += chunk
        *lines, rest = bytes(self._received).split(b"\n")
        self._received = bytearray(rest)
        early, self._unread = self._unread, []
        return early + _messages(lines), ended

    def unread(self, messages: list[dict[str, Any] | None]) -> None:
        """Give messages back, for the next `receive`; the descriptor does not tell of them again."""
        self._unread = messages + self._unread

    def close(self) -> None:
        """Close our end; the other side sees the end of the stream."""
        with contextlib.suppress(OSError):
            self.socket.close()


def _messages(lines: list[bytes]) -> list[dict[str, Any] | None]:
    found: list[dict[str, Any] | None] = []
    for line in lines:
        if line:
            found.append(json.loads(line))
        elif not found or found[-1] is not None:
            found.append(None)
    return found
