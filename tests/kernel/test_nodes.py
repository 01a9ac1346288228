"""Mode and owner of nodes, half-made nodes, second names."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from orchestra.errors import KernelError, OutOfSpace
from orchestra.kernel import nodes
from orchestra.kernel.api import SHM_FOLDER
from orchestra.kinds import Family, Fill, Kind, ObjectRef, Spec

FILE = Spec(Family.FILE, Kind.SEGMENT, name="/x", size=10)


def test_posix_names_become_files() -> None:
    assert nodes.shm_path(ObjectRef(Family.POSIX, Kind.SEGMENT, name="/a")) == f"{SHM_FOLDER}/a"
    assert nodes.shm_path(ObjectRef(Family.POSIX, Kind.SEMAPHORE, name="/a")) == f"{SHM_FOLDER}/sem.a"
    longest = ObjectRef(Family.POSIX, Kind.SEMAPHORE, name="/" + "n" * 251)
    assert len(os.path.basename(nodes.shm_path(longest))) == 255


def test_a_mode_is_never_set_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").touch(mode=0o600)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError) as caught:
        nodes.set_owner_and_mode_of_path(str(tmp_path / "link"), Spec(Family.FIFO, Kind.PIPE, mode=0o777))
    assert caught.value.errno == errno.ELOOP
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o600


def test_a_half_made_node_goes_and_the_first_error_stays(tmp_path: Path) -> None:
    path = tmp_path / "half"
    path.touch()
    with pytest.raises(OutOfSpace, match="first"), nodes.undone_on_error(str(path)):
        raise OutOfSpace("first")
    assert not path.exists()
    with pytest.raises(KeyboardInterrupt), nodes.undone_on_error(str(path)):  # gone already: no second error
        raise KeyboardInterrupt


def test_the_fill_is_read_piece_by_piece_and_stops_at_the_end_of_the_segment(tmp_path: Path) -> None:
    endless = Spec(Family.FILE, Kind.SEGMENT, name="/x", size=3 << 20, fill=Fill(file="/dev/zero"))
    chunks = nodes.fill_chunks(endless)
    assert [len(next(chunks)) for _ in range(3)] == [1 << 20] * 3
    with pytest.raises(KernelError, match="longer than the segment"):
        next(chunks)
    with pytest.raises(KernelError, match="Is a directory"):
        list(nodes.fill_chunks(Spec(Family.FILE, Kind.SEGMENT, size=10, fill=Fill(file=str(tmp_path)))))
    with pytest.raises(KernelError, match="UTF-8"):
        list(nodes.fill_chunks(Spec(Family.FILE, Kind.SEGMENT, size=10, fill=Fill(text="\ud800"))))
    assert list(nodes.fill_chunks(FILE)) == []


def test_a_second_name_on_another_file_system(tmp_path: Path) -> None:
    (tmp_path / "node").touch()
    ref = ObjectRef(Family.FILE, Kind.SEGMENT, name=str(tmp_path / "node"))
    target = ObjectRef(Family.FILE, Kind.SEGMENT, name="/proc/orct")
    with pytest.raises(KernelError):
        nodes.link_path(ref, ref.name or "", target.name or "", target)


def test_the_listing_of_a_shared_folder_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "SHM_FOLDER", "/proc/self/mountinfo")
    listing = nodes.list_shm(Kind.SEGMENT, lambda _: None)
    assert (listing.stats, listing.complete) == ((), False)
    assert "Not a directory" in listing.why
