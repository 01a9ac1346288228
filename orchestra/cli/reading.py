"""Reading a topology file that may be a pipe: `orchestra validate <(generate)` waits, a pipe without a writer not."""

from __future__ import annotations

import errno
import os
import select

from orchestra.topology.composer import BYTES_MAX

_GLANCE = 200  # ms; a Ctrl-C that comes just before the call would not end an endless wait


def read_topology(path: str) -> bytes:
    """Return the content of a file, no more than can be a topology. Raises OSError.

    A FIFO is opened without waiting for a writer: where there is none, nothing would ever come.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return _read(fd, path)
    finally:
        os.close(fd)


def _read(fd: int, path: str) -> bytes:
    found = bytearray()
    may_come = select.poll()
    may_come.register(fd, select.POLLIN)
    while len(found) <= BYTES_MAX:
        try:
            chunk = os.read(fd, BYTES_MAX + 1 - len(found))
        except BlockingIOError:
            may_come.poll(_GLANCE)
            continue
        if not chunk:
            break
        found += chunk
    if not found and os.path.exists(path) and _is_named_pipe(path):
        raise OSError(errno.EPIPE, "nobody writes to this FIFO")
    return bytes(found)


def _is_named_pipe(path: str) -> bool:
    import stat

    return stat.S_ISFIFO(os.lstat(path).st_mode)
