"""What tools that we did not write say about an object: stat(1) and ipcs(1), never our own parsers.

POSIX queues are files of a queue file system; stat(1) sees them through a mount in a private mount namespace, which
needs root. An object of the fake kernel is looked up in the fake kernel's own list.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass

import pytest

from orchestra.kernel.fake import FakeHost
from orchestra.kinds import Family, Handle, Kind, ObjectRef

_IPCS = {Kind.QUEUE: "-q", Kind.SEGMENT: "-m", Kind.SEMAPHORE: "-s"}
_SIZE = {Kind.QUEUE: r"qbytes=(\d+)", Kind.SEGMENT: r"bytes=(\d+)", Kind.SEMAPHORE: r"nsems = (\d+)"}
_KIND_OF_FILE = {Family.FIFO: "fifo", Family.ANONYMOUS: "fifo"}


@dataclass(frozen=True)
class Seen:
    """What a witness saw. `size` is bytes (of a set: its members); `values` only for System V sets."""

    mode: int
    uid: int
    gid: int
    size: int
    values: tuple[int, ...] = ()


def look(ref: ObjectRef, fds: tuple[int, ...] = (), fake: FakeHost | None = None) -> Seen | None:
    """Ask the witness of this kind; None when it sees nothing there."""
    if ref.family in (Family.MEMFD, Family.ANONYMOUS):
        return _stat(f"/proc/{os.getpid()}/fd/{fds[0]}", ref, "-L") if fds else None
    if fake is not None:
        return _look_in_fake(ref, fake)
    if ref.family is Family.SYSV:
        return _ipcs(ref)
    if ref.family is Family.POSIX and ref.kind is Kind.QUEUE:
        return _stat_queue(ref)
    if ref.family is Family.POSIX:
        prefix = "sem." if ref.kind is Kind.SEMAPHORE else ""
        return _stat(f"/dev/shm/{prefix}{(ref.name or '')[1:]}", ref)
    return _stat(ref.name or "", ref)


def content(handle: Handle, size: int, fake: FakeHost | None = None) -> bytes:
    """Read the first bytes of a segment by other means than the adapter's."""
    ref = handle.ref
    if ref.family is Family.MEMFD:
        return os.pread(handle.fds[0], size, 0)
    if fake is not None:
        item = fake.find(ref)
        assert item is not None
        return os.pread(item.fd, size, 0)
    if ref.family is Family.SYSV:
        import sysv_ipc

        segment = sysv_ipc.attach(ref.id or 0, None, sysv_ipc.SHM_RDONLY)
        try:
            return segment.read(size)
        finally:
            segment.detach()
    with open(f"/dev/shm{ref.name}" if ref.family is Family.POSIX else ref.name or "", "rb") as file:
        return file.read(size)


def _stat(path: str, ref: ObjectRef, *options: str) -> Seen | None:
    done = _run("stat", *options, "-c", "%a %u %g %s %F", path)
    return None if done.returncode else _parse(done.stdout, ref)


def _stat_queue(ref: ObjectRef) -> Seen | None:
    if os.getuid() != 0:
        pytest.skip("the witness of POSIX queues needs root: it mounts their file system privately")
    look = 'stat -c "%a %u %g %s %F" "$d$1"; r=$?; umount "$d"; rmdir "$d"; exit $r'
    script = f'd=$(mktemp -d) && mount -t mqueue none "$d" && {look}'
    done = _run("unshare", "-m", "--propagation", "private", "sh", "-c", script, "_", ref.name or "")
    if "mount" in done.stderr and "ermission" in done.stderr:
        pytest.skip(f"the witness of POSIX queues cannot mount here: {done.stderr.strip()}")
    return None if done.returncode else _parse(done.stdout, ref)


def _parse(text: str, ref: ObjectRef) -> Seen:
    mode, uid, gid, size, kind = text.split(maxsplit=4)
    assert kind.strip() in (_KIND_OF_FILE.get(ref.family, "regular file"), "regular empty file"), text
    return Seen(int(mode, 8), int(uid), int(gid), int(size))


def _ipcs(ref: ObjectRef) -> Seen | None:
    text = _run("ipcs", _IPCS[ref.kind], "-i", str(ref.id)).stdout

    def number(pattern: str, base: int = 10) -> int:
        found = re.search(pattern, text)
        assert found, text
        return int(found[1], base)

    if "uid=" not in text:
        return None
    table = re.findall(r"^\d+ +(\d+) +\d+ +\d+ +\d+ *$", text, re.MULTILINE)
    return Seen(
        number(r"mode=0?(\d+)", 8) & 0o777,
        number(r"\buid=(\d+)"),
        number(r"\bgid=(\d+)"),
        number(_SIZE[ref.kind]),
        tuple(int(value) for value in table) if ref.kind is Kind.SEMAPHORE else (),
    )


def _look_in_fake(ref: ObjectRef, fake: FakeHost) -> Seen | None:
    item = next((i for i in fake.objects if ref.name in i.names or (ref.name is None and ref.id == i.number)), None)
    if item is None:
        return None
    spec = item.spec
    size = {Kind.QUEUE: spec.capacity, Kind.SEMAPHORE: len(spec.values)}.get(spec.kind, spec.size)
    values = spec.values if (spec.family, spec.kind) == (Family.SYSV, Kind.SEMAPHORE) else ()
    return Seen(spec.mode, item.uid, item.gid, size or 0, values)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=30)
