"""What only file-backed segments have: a folder that may be missing, and content worth keeping."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestra.errors import KernelError, ObjectExists, ShapeMismatch
from orchestra.kernel.files import FileSegment
from orchestra.kinds import Access, Family, Fill, Kind, ObjectRef, Spec

ADAPTER = FileSegment()


def spec(path: Path | str, **changes: object) -> Spec:
    return Spec(Family.FILE, Kind.SEGMENT, name=str(path), size=4096, **changes)  # type: ignore[arg-type]


def test_a_file_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"precious")
    with pytest.raises(ObjectExists):
        ADAPTER.create(spec(path, fill=Fill(text="no")))
    assert path.read_bytes() == b"precious"


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=f"there is no folder {tmp_path}/no") as caught:
        ADAPTER.create(spec(tmp_path / "no" / "journal"))
    assert caught.value.hint == f"mkdir -p {tmp_path}/no"
    assert ADAPTER.stat(spec(tmp_path / "no" / "journal").ref) is None


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(KernelError, match="no absolute path"):
        ADAPTER.create(spec("journal"))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    ref = ObjectRef(Family.FILE, Kind.SEGMENT, name=str(tmp_path / "link"))
    with pytest.raises(ShapeMismatch, match="symbolic link"):
        ADAPTER.remove(ref)
    with pytest.raises(KernelError):
        ADAPTER.open(ref, Access.READ_WRITE)
    with pytest.raises(ObjectExists):
        ADAPTER.create(spec(tmp_path / "link"))
    assert (tmp_path / "target").read_bytes() == b"precious"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_device_is_never_removed() -> None:
    with pytest.raises(ShapeMismatch, match="is a device"):
        ADAPTER.remove(ObjectRef(Family.FILE, Kind.SEGMENT, name="/dev/full"))
