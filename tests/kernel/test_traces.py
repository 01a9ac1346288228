"""One pass over /proc: what it sees in the bytes of maps, and what it must not fall for."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra.kernel.traces import Wanted, is_temporary, look, read_bytes
from tests.conformance.worlds import holding, in_child

SHM = os.stat("/dev/shm").st_dev


def test_a_file_system_is_looked_for_as_a_whole(ipc_name: Callable[[], str]) -> None:
    path = "/dev/shm" + ipc_name()

    def hold() -> mmap.mmap:
        with open(path, "wb+") as file:
            file.truncate(4096)
            os.unlink(path)
            return mmap.mmap(file.fileno(), 4096)

    with holding(hold) as pid:
        found = look(Wanted(devices=frozenset({SHM})))
        mine = {inode: sight for inode, sight in found.sights.items() if sight.pid == pid}
        ((inode, sight),) = mine.items()
        assert inode[0] == SHM
        assert sight.name == f"{path} (deleted)"
        assert {how for holder, how in found.inodes[inode] if holder == pid} == {"open", "mapped"}
        assert os.stat(sight.path).st_ino == inode[1]


@pytest.mark.parametrize("name", ["x 00:{:02x} 4711 ", "SYSV00000001 (deleted)", "x (deleted)"])
def test_a_file_whose_name_looks_like_a_row_of_maps_is_no_holder(tmp_path: Path, name: str) -> None:
    file = tmp_path / name.format(os.minor(SHM))
    file.write_bytes(bytes(4096))

    def hold() -> mmap.mmap:
        with file.open("rb+") as opened:
            return mmap.mmap(opened.fileno(), 4096)

    with holding(hold) as pid:
        found = look(Wanted(devices=frozenset({SHM}), segments=True))
    assert pid not in {holder for holders in found.inodes.values() for holder, _ in holders}
    assert pid not in {holder for mappings in found.attached.values() for holder, _ in mappings}


def test_nothing_is_read_that_is_not_wanted(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    found = look(Wanted(), root=str(tmp_path))
    assert (found.pids, found.complete) == ([1], True), "there are neither fd nor maps, and nobody asked"


def test_a_process_that_may_not_be_looked_into_is_named() -> None:
    seen = in_child(lambda: [found := look(Wanted(segments=True)), found.unseen][1], as_nobody=True)
    if os.getuid() == 0:
        assert os.getpid() in seen


def test_names_that_semaphores_have_for_a_moment() -> None:
    assert is_temporary("/dev/shm/sem.aB3dEf (deleted)")
    assert is_temporary("/dev/shm/sem.aB3dEf")
    assert not is_temporary("/dev/shm/sem.orct.x (deleted)")


def test_files_of_proc_are_read_whole() -> None:
    text = read_bytes("/proc/self/maps")
    assert text.endswith(b"\n")
    assert len(text) > 4096
    assert read_bytes("/proc/self/comm").endswith(b"\n")
