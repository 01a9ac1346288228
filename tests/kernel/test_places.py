"""The places of other processes: found, entered by a child, named."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestra.errors import KernelError
from orchestra.kernel import inventory, places
from orchestra.kernel.inventory import Place
from orchestra.kernel.namespaces import make_private_ipc
from orchestra.kernel.traces import Sight
from tests.conformance.worlds import holding, in_child


@pytest.mark.root
@pytest.mark.slow
def test_each_place_is_listed_once_with_what_is_in_it() -> None:
    def scene() -> Any:
        import posix_ipc
        import sysv_ipc

        make_private_ipc()

        def container() -> None:
            make_private_ipc()
            Path("/dev/shm/orct.inside").write_bytes(b"x")
            posix_ipc.MessageQueue("/orct.inside", posix_ipc.O_CREX).close()
            sysv_ipc.MessageQueue(0x1001, sysv_ipc.IPC_CREX)

        with holding(container) as pid, holding(lambda: None):
            here = inventory.take()
            found = [each for each in places.others(here.place)[0] if each.place.pid == pid]
            (there,) = found
            return [
                len(here.objects), sorted([one.family, one.kind] for one in there.objects),
                there.gaps, there.place.ipc_ns != here.place.ipc_ns, places.name(there.place), pid,
            ]  # fmt: skip

    here, objects, gaps, elsewhere, name, pid = in_child(scene)
    assert (here, gaps, elsewhere) == (0, [], True)
    assert objects == [["posix", "queue"], ["posix", "segment"], ["sysv", "queue"]]
    assert f"process {pid} (" in name or "container" in name


@pytest.mark.root
def test_processes_whose_namespaces_may_not_be_looked_at_are_counted() -> None:
    def scene() -> Any:
        return places.others(inventory.take().place)[1]

    (gap,) = in_child(scene, as_nobody=True)
    assert gap.startswith("the namespaces of ")


@pytest.mark.root
@pytest.mark.slow
def test_a_place_that_may_not_be_entered_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise KernelError("the namespaces cannot be entered: Operation not permitted")

    monkeypatch.setattr("orchestra.kernel.namespaces.enter", refuse)
    with holding(make_private_ipc) as pid:
        found = [each for each in places.others(inventory.take().place)[0] if each.place.pid == pid]
    (there,) = found
    assert "its queues, System V segments and sets: the namespaces cannot be entered" in there.gaps[0]


def test_what_a_sight_leads_to(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"x")
    found = file.stat()
    sight = Sight(os.getpid(), str(file), str(file))
    assert places.stat_of(sight, (found.st_dev, found.st_ino)) == found
    assert places.stat_of(sight, (found.st_dev, 1)) is None
    file.unlink()
    assert places.stat_of(sight, (found.st_dev, found.st_ino)) is None


def test_a_child_that_dies_or_fails_says_so() -> None:
    with pytest.raises(EOFError):
        places._in_child(lambda: os._exit(1))

    def fail() -> None:
        raise KernelError("no")

    with pytest.raises(KernelError, match="no"):
        places._in_child(fail)


def test_our_own_place_has_the_name_that_proc_shows() -> None:
    own = os.readlink("/proc/self/ns/ipc")
    assert places.name(Place("", os.stat("/proc/self/ns/ipc").st_ino, None)) == own
    assert places.ipc_namespace(os.getpid()) == os.stat("/proc/self/ns/ipc").st_ino


def test_users_of_a_user_namespace_are_translated_back() -> None:
    ranges = [(0, 1000, 1), (1, 100_000, 65_535)]
    assert [places._outside(uid, ranges) for uid in (0, 1, 1000, 70_000)] == [1000, 100_000, 100_999, 70_000]
    done = subprocess.run(["cat", "/proc/self/uid_map"], capture_output=True, text=True, check=True)
    assert places._id_map(os.getpid(), "uid", "/proc") == [tuple(map(int, done.stdout.split()))]
