"""Exactly the object that was looked at goes, or nothing, whatever others do meanwhile."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from orchestra.errors import KernelError
from orchestra.kernel import libc
from orchestra.kernel.aside import put_back_all
from orchestra.kernel.exact import Attempt, remove_exact
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Holder, Holders, Identity, Kind, ObjectRef, Spec

ROOT = Path(__file__).parents[2]
NOBODY = Holders(())
CASES = [
    (family, kind) for family in (Family.POSIX, Family.SYSV) for kind in (Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE)
]
Maker = Callable[..., tuple[ObjectRef, Identity]]


@pytest.fixture
def make(ipc_name: Callable[[], str]) -> Iterator[Maker]:
    made: list[ObjectRef] = []

    def one(family: Family, kind: Kind, key: int = 0) -> tuple[ObjectRef, Identity]:
        name = ipc_name() if family is Family.POSIX else None
        spec = Spec(
            family, kind, name=name, key=None if name else key, size=4096, values=(1,), max_messages=1, message_size=8
        )
        handle = adapter_for(family, kind).create(spec)
        ref = handle.ref if name else ObjectRef(family, kind, id=handle.identity.id)
        made.append(ref)
        return ref, handle.identity

    yield one
    for ref in made:
        with suppress(KernelError):
            adapter_for(ref.family, ref.kind).remove(ref)


def is_there(ref: ObjectRef) -> bool:
    return adapter_for(ref.family, ref.kind).stat(ref) is not None


@pytest.mark.slow
@pytest.mark.root
def test_a_thousand_races_each_and_nothing_wrong_is_removed() -> None:
    """A recycled id, a holder that attaches, one that opens, a name given again: before the look, right before the last
    comparison, and at any moment. In a box of its own, where the next id can be chosen."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.racers", "1000", str(os.getpid())],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    for race in ("recycled", "attached", "opened", "named again"):
        assert answer[race] == {"tries": 1000, "removed": 0, "wrong": 0}, race
    opened = answer["opened at random"]
    assert (opened["tries"], opened["wrong"]) == (1000, 0)
    assert opened["removed"] > 0
    again = answer["named again at random"]
    assert (again["tries"], again["wrong"]) == (1000, 0)
    assert answer["queue named again at random"]["wrong"] < 50, "the window is short"
    assert answer["undisturbed"] == {"tries": 300, "removed": 300, "wrong": 0}
    assert 0 < answer["window"] < 0.01, "seconds between the last comparison and the end of the removal"


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_what_was_looked_at_goes_once(family: Family, kind: Kind, make: Maker) -> None:
    ref, identity = make(family, kind)
    first = remove_exact(ref, identity)
    assert first.removed, first.why
    assert not is_there(ref)
    assert remove_exact(ref, identity) == Attempt(removed=False, why="it was gone already", gone=True)


@pytest.mark.parametrize(("family", "kind"), [case for case in CASES if case != (Family.SYSV, Kind.SEMAPHORE)])
def test_who_is_seen_to_hold_it_keeps_it_unless_by_force(family: Family, kind: Kind, make: Maker) -> None:
    ref, identity = make(family, kind)
    with _holding(ref, identity):
        held = Holders((Holder(7, "worker", "open"), Holder(7, "worker", "mapped")))
        attempt = remove_exact(ref, identity, holders=lambda _: held)
        assert not attempt.removed
        assert attempt.why == "held by 7 (worker)"
        assert is_there(ref)
        assert remove_exact(ref, identity, holders=lambda _: held, by_force=True).removed


@contextmanager
def _holding(ref: ObjectRef, identity: Identity) -> Iterator[None]:
    import sysv_ipc

    if ref.family is Family.SYSV:
        memory = sysv_ipc.attach(identity.id or 0) if ref.kind is Kind.SEGMENT else None
        yield
        if memory is not None:
            memory.detach()
        return
    fd = libc.mq_open(ref.name or "", os.O_RDONLY) if ref.kind is Kind.QUEUE else os.open(_file(ref), os.O_RDONLY)
    yield
    os.close(fd)


def _file(ref: ObjectRef) -> str:
    return f"/dev/shm/{'sem.' if ref.kind is Kind.SEMAPHORE else ''}{(ref.name or '')[1:]}"


def test_a_mapping_without_a_descriptor_is_found_by_the_kernel_itself(make: Maker) -> None:
    ref, identity = make(Family.POSIX, Kind.SEGMENT)
    fd = os.open(_file(ref), os.O_RDWR)
    with mmap.mmap(fd, 4096):
        os.close(fd)
        attempt = remove_exact(ref, identity, holders=lambda _: NOBODY)  # as if nobody could be looked into
        assert (attempt.removed, attempt.why) == (False, "a process holds it by now")
    assert remove_exact(ref, identity, holders=lambda _: NOBODY).removed


@pytest.mark.parametrize("kind", [Kind.SEGMENT, Kind.SEMAPHORE])
def test_whoever_opens_it_in_the_middle_keeps_it(kind: Kind, make: Maker) -> None:
    ref, identity = make(Family.POSIX, kind)
    refused = []

    def open_it(step: str) -> None:
        if step == "leased":
            try:
                os.close(os.open(_file(ref), os.O_RDONLY | os.O_NONBLOCK))
            except BlockingIOError:
                refused.append(True)

    attempt = remove_exact(ref, identity, checkpoint=open_it)
    assert refused == [True]
    assert (attempt.removed, attempt.why) == (False, "a process holds it by now: it was opened in this moment")
    assert is_there(ref)
    assert remove_exact(ref, identity).removed, "the lease was given back"


def test_a_queue_is_never_leased_while_its_name_is_removed(make: Maker) -> None:
    """Its openers wait with the folder locked, which mq_unlink needs: every queue would stop for 45 s."""
    ref, identity = make(Family.POSIX, Kind.QUEUE)
    opened = []

    def open_it(step: str) -> None:
        if step == "compared":
            opened.append(libc.mq_open(ref.name or "", os.O_RDONLY | os.O_NONBLOCK))

    assert remove_exact(ref, identity, checkpoint=open_it).removed
    os.close(opened[0])
    assert not is_there(ref)


@pytest.mark.parametrize("kind", [Kind.SEGMENT, Kind.SEMAPHORE])
def test_a_name_given_away_in_the_last_moment_is_given_back(kind: Kind, make: Maker) -> None:
    ref, identity = make(Family.POSIX, kind)
    mine, others = _file(ref) + ".mine", []

    def steal(step: str) -> None:
        if step == "compared":
            os.rename(_file(ref), mine)
            with open(_file(ref), "x") as file:
                others.append(os.fstat(file.fileno()).st_ino)

    try:
        attempt = remove_exact(ref, identity, checkpoint=steal)
        assert attempt == Attempt(
            removed=False, why="another object has its name or id by now; that one was left alone", gone=True
        )
        assert [os.stat(_file(ref)).st_ino] == others
        assert os.stat(mine).st_ino == identity.st_ino
    finally:
        os.unlink(mine)


def test_when_the_name_is_taken_meanwhile_nothing_is_lost_and_it_is_said_where_it_is(make: Maker) -> None:
    """Three objects fight for a name within microseconds: the one that was caught cannot have it back."""
    ref, identity = make(Family.POSIX, Kind.SEGMENT)

    class Stop(Exception):
        pass

    def take_it(step: str) -> None:
        if step == "aside":
            open(_file(ref), "x").close()
            raise Stop

    with pytest.raises(Stop):
        remove_exact(ref, identity, checkpoint=take_it)
    (left,) = [path for path in Path("/dev/shm").iterdir() if path.name.startswith(f"{(ref.name or '')[1:]}~")]
    try:
        assert left.stat().st_ino == identity.st_ino
        os.unlink(_file(ref))
        assert put_back_all() == [_file(ref)]
        assert os.stat(_file(ref)).st_ino == identity.st_ino
    finally:
        left.unlink(missing_ok=True)


def test_who_is_told_to_stop_in_the_middle_gives_the_name_back(make: Maker) -> None:
    ref, identity = make(Family.POSIX, Kind.SEGMENT)

    def interrupt(step: str) -> None:
        if step == "aside":
            assert not is_there(ref)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        remove_exact(ref, identity, checkpoint=interrupt)
    assert is_there(ref)
    assert remove_exact(ref, identity).removed


def test_a_file_elsewhere_that_lost_its_name_in_the_last_moment_is_owned_up_to(tmp_path: Path) -> None:
    """Outside of /dev/shm names are not moved: what happened in that window is said."""
    path = tmp_path / "file"
    path.touch()
    found = path.stat()
    ref = ObjectRef(Family.FILE, Kind.SEGMENT, name=str(path))

    def steal(step: str) -> None:
        if step == "compared":
            path.rename(tmp_path / "aside")
            path.touch()

    identity = Identity(Family.FILE, Kind.SEGMENT, st_dev=found.st_dev, st_ino=found.st_ino)
    attempt = remove_exact(ref, identity, holders=lambda _: NOBODY, checkpoint=steal)
    if attempt.removed:
        pytest.skip("no leases on this file system")
    assert attempt.why.startswith("somebody gave its name to another object in this very moment")
    assert attempt.window > 0


@pytest.mark.parametrize("kind", [Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE])
def test_system_v_objects_used_since_stay(kind: Kind, make: Maker) -> None:
    ref, identity = make(Family.SYSV, kind)
    stat = adapter_for(Family.SYSV, kind).stat(ref)
    assert stat is not None
    changed = max(value for name, value in stat.fields.items() if name.endswith("ctime") and isinstance(value, int))
    attempt = remove_exact(ref, identity, last_used=changed - 1.0)
    assert (attempt.removed, attempt.why) == (False, "it was used or changed since it was looked at")
    assert remove_exact(ref, identity, last_used=changed).removed


def test_one_who_waits_on_a_set_keeps_it(make: Maker) -> None:
    ref, identity = make(Family.SYSV, Kind.SEMAPHORE, int.from_bytes(os.urandom(3), "little") + 1)
    waiter = "import sys; from tests.support.racers import wait_for_zero; wait_for_zero(int(sys.argv[1]))"
    child = subprocess.Popen([sys.executable, "-c", waiter, str(identity.id)], cwd=ROOT)
    try:
        while not libc.sem_query(identity.id or 0, 0, libc.GETZCNT):
            assert child.poll() is None
        attempt = remove_exact(ref, identity, holders=lambda _: NOBODY)
        assert (attempt.removed, attempt.why) == (False, "a process holds it by now: a process waits on it")
    finally:
        libc.sem_set_values(identity.id or 0, [0])
        child.wait()


def test_other_identity_other_object(make: Maker) -> None:
    ref, identity = make(Family.POSIX, Kind.SEGMENT)
    attempt = remove_exact(ref, identity._replace(birth_ns=(identity.birth_ns or 0) - 1))
    assert attempt.gone
    assert "another object has its name" in attempt.why
    number, own = make(Family.SYSV, Kind.SEGMENT)
    assert "another object" in remove_exact(number, own._replace(cpid=1)).why
    assert is_there(ref)
    assert is_there(number)


def test_folders_go_when_they_are_empty(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").touch()
    ref = ObjectRef(Family.FILE, Kind.FOLDER, name=str(folder))
    found = folder.stat()
    identity = Identity(Family.FILE, Kind.FOLDER, st_dev=found.st_dev, st_ino=found.st_ino)
    with pytest.raises(KernelError, match="not empty"):
        remove_exact(ref, identity, holders=lambda _: NOBODY)
    (folder / "file").unlink()
    assert remove_exact(ref, identity, holders=lambda _: NOBODY).removed


def test_a_marked_segment_is_its_holders_affair(make: Maker) -> None:
    import sysv_ipc

    ref, identity = make(Family.SYSV, Kind.SEGMENT)
    memory = sysv_ipc.attach(identity.id or 0)
    adapter_for(Family.SYSV, Kind.SEGMENT).remove(ref)
    try:
        attempt = remove_exact(ref, identity)
        assert attempt.gone
        assert "ends with its last holder" in attempt.why
    finally:
        memory.detach()
