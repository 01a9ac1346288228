"""Pipes as topology files; regular files and refusals are those of the loader's own reader."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from orchestra.cli.reading import read_topology
from orchestra.topology.composer import BYTES_MAX


def test_a_file_is_read_up_to_the_limit_and_one_more(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"version: 1\n")
    (tmp_path / "large").write_bytes(bytes(BYTES_MAX + 4096))
    assert read_topology(str(tmp_path / "small")) == b"version: 1\n"
    assert len(read_topology(str(tmp_path / "large"))) == BYTES_MAX + 1


def test_a_fifo_without_a_writer_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(OSError, match="nobody writes"):
        read_topology(str(tmp_path / "f"))


def test_a_fifo_with_a_writer_is_read_until_it_closes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    holder = os.open(tmp_path / "f", os.O_RDWR)  # the writer is there before the reader looks
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(read_topology(str(tmp_path / "f"))))
    reader.start()
    os.write(holder, b"version")
    os.write(holder, b": 1\n")
    while os.path.exists(f"/proc/self/task/{reader.native_id}") and not _drained(holder):
        os.sched_yield()
    os.close(holder)
    reader.join(timeout=10)
    assert found == [b"version: 1\n"]


def _drained(fd: int) -> bool:
    import fcntl
    import termios

    return fcntl.ioctl(fd, termios.FIONREAD, bytes(4)) == bytes(4)


@pytest.mark.parametrize("kind", [FileNotFoundError, IsADirectoryError])
def test_refusals_are_the_kernels(kind: type[OSError], tmp_path: Path) -> None:
    with pytest.raises(kind):
        read_topology(str(tmp_path if kind is IsADirectoryError else tmp_path / "none"))
