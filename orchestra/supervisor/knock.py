"""Does somebody accept connections? Non-blocking connects to a TCP port of this host, or to a Unix socket."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from functools import partial

from orchestra.supervisor.reactor import WRITE, Reactor

_TYPES = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM)
_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class Knock:
    """One address, tried once by each `again`; `opened` is called when somebody accepts. `why` says why nobody did."""

    def __init__(self, reactor: Reactor, opened: Callable[[], None], *, port: int = 0, path: str = "") -> None:
        self._reactor, self._opened, self._port, self._path = reactor, opened, port, path
        self._under_way: dict[int, socket.socket] = {}
        self.why = ""

    def again(self) -> None:
        """Try. A connect of the last time that is still under way is given up."""
        self.stop()
        if self._path:
            self._try_path()
        else:
            for family, host in _LOOPBACK:
                self._try_port(family, host)

    def stop(self) -> None:
        """Give up what is under way."""
        for fd, sock in self._under_way.items():
            self._reactor.forget(fd)
            sock.close()
        self._under_way.clear()

    def _try_port(self, family: int, host: str) -> None:
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            return  # a host without IPv6
        sock.setblocking(False)
        number = sock.connect_ex((host, self._port))
        if number in (0, errno.EINPROGRESS):  # even a refusal is told by the descriptor
            self._under_way[sock.fileno()] = sock
            self._reactor.watch(sock.fileno(), partial(self._settled, sock), WRITE)
        else:
            sock.close()
            self._note(number)

    def _settled(self, sock: socket.socket) -> None:
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        # where nobody listens, a port of the range for outgoing connections can be met by itself
        is_itself = not number and sock.getsockname() == sock.getpeername()
        self._reactor.forget(sock.fileno())
        self._under_way.pop(sock.fileno(), None)
        sock.close()
        if number or is_itself:
            self._note(number or errno.ECONNREFUSED)
        else:
            self.stop()
            self._opened()

    def _try_path(self) -> None:
        number = 0
        for kind in _TYPES:
            number = self._connect(kind)
            if number != errno.EPROTOTYPE:  # a socket of another type lies there
                break
        if number in (0, errno.EAGAIN):  # its queue is full: it does listen
            self._opened()
        else:
            self._note(number)

    def _connect(self, kind: int) -> int:
        folder, name = os.path.split(self._path)
        try:
            fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as err:
            return err.errno or 0
        with contextlib.closing(socket.socket(socket.AF_UNIX, kind)) as sock:
            sock.setblocking(False)
            try:
                return sock.connect_ex(f"/proc/self/fd/{fd}/{name}")  # however long the path is
            except OSError:  # the name alone is too long
                return errno.ENAMETOOLONG
            finally:
                os.close(fd)

    def _note(self, number: int) -> None:
        self.why = os.strerror(number)
