"""What a process says on its NOTIFY_SOCKET, as sd_notify(3) sends it: READY=1, WATCHDOG=1, STATUS=…

One datagram socket for each incarnation of a replica. It is a file in the run's folder; where the process runs as
another user, who could not enter that folder, or where the path is too long for an address, it is an abstract one. Who
may send is decided by the kernel's word on the sender's user (SCM_CREDENTIALS, unix(7)), not by who reaches the socket.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from orchestra.statedir import new_token

_PATH_MAX = 100  # bytes; sun_path has 108, some senders' buffers have less
_LONGEST = 64 * 1024  # bytes of one datagram that are read
SOME = 64  # datagrams of one look: the others come with the next,
ALL = 4096  # if there is one; the kernel queues fewer (net.unix.max_dgram_qlen), but somebody may go on sending
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class NotifySocket:
    """One socket. `users` are the uids whose word counts."""

    def __init__(self, folder: Path, label: str, *, users: frozenset[int], abstract: bool = False) -> None:
        """Bind it; `label` makes its name readable. Raises OSError."""
        self._path: Path | None = folder / f"notify.{label}.{new_token()}"
        self._users = users
        self.refused: int | None = None  # the uid of the last sender whose word did not count
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            if abstract or len(os.fsencode(self._path)) > _PATH_MAX:
                self.address = f"@orchestra.{self._path.name}"
                self._path = None
                self._socket.bind("\0" + self.address[1:])
            else:
                self.address = os.fspath(self._path)
                self._socket.bind(self.address)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.setblocking(False)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, for epoll."""
        return self._socket.fileno()

    def receive(self, at_most: int = SOME) -> Iterator[dict[str, str]]:
        """Yield the assignments of each datagram that waits, of those that may send. Never blocks."""
        for _ in range(at_most):
            try:
                # room for the credentials alone: descriptors that somebody sends along are closed by the kernel
                data, ancillary, _, _ = self._socket.recvmsg(_LONGEST, socket.CMSG_SPACE(_CREDENTIALS.size))
            except OSError:
                return
            uid = _sender(ancillary)
            if uid in self._users:
                yield parse(data)
            else:
                self.refused = uid

    def close(self) -> None:
        """Close it and remove its name."""
        self._socket.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()


def parse(datagram: bytes) -> dict[str, str]:
    """Return the assignments of one datagram; lines without `=` are left out, bytes that are not UTF-8 replaced."""
    lines = datagram.decode("utf-8", "replace").split("\n")
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, equals, value in pairs if name and equals}


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(data) == _CREDENTIALS.size:
            uid: int = _CREDENTIALS.unpack(data)[1]
            return uid
    return None
