from __future__ import annotations

import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestra.errors import KernelError, LedgerError, LimitReached, ObjectExists, OutOfSpace
from orchestra.kernel.host import boot_id, ipc_namespace
from orchestra.kernel.procfs import start_time
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import OBJECT_KINDS, Access, Family, Kind, ObjectRef, Spec
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState, RunRow
from orchestra.objects import CREATE_STEPS, KERNEL, LiveObject, World, create_recorded, keep_recorded, remove_recorded
from orchestra.runplan import ObjectPlan
from tests.support import witness
from tests.support.rows import object_plan, run_row


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        yield ledger
        for row in ledger.objects():
            remove_recorded(ledger, row)


@pytest.fixture
def run(ledger: Ledger) -> RunRow:
    run = run_row(instance="orct", boot_id=boot_id())
    ledger.begin_run(run)
    return run


@pytest.fixture
def make(ledger: Ledger, run: RunRow, tmp_path: Path) -> Iterator[Callable[..., LiveObject]]:
    made: list[LiveObject] = []

    def make(plan: ObjectPlan, world: World = KERNEL, checkpoint: Callable[[str], None] = lambda _: None) -> LiveObject:
        made.append(create_recorded(ledger, plan, run, folder=tmp_path, world=world, checkpoint=checkpoint))
        return made[-1]

    yield make
    for each in made:
        for fd in each.handle.fds:
            os.close(fd)


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Callable[..., ObjectRef]]:
    """Objects of somebody else."""
    made: list[ObjectRef] = []

    def take(plan: ObjectPlan, *, name: str | None = None, key: int | None = None) -> ObjectRef:
        spec = Spec(plan.family, plan.kind, name=name, key=key, max_messages=plan.max_messages,
                    message_size=plan.message_size, size=plan.size, values=plan.values)  # fmt: skip
        made.append(adapter_for(plan.family, plan.kind).create(spec).ref)
        return made[-1]

    yield take
    for ref in made:
        adapter_for(ref.family, ref.kind).remove(ref)


@pytest.mark.parametrize(("family", "kind"), OBJECT_KINDS)
def test_an_object_of_each_kind_is_on_record_with_its_origin(
    make: Callable[..., LiveObject], ledger: Ledger, family: Family, kind: Kind
) -> None:
    live = make(object_plan(family, kind, mode=0o640))
    row = ledger.object(live.row.recorded)
    assert row == live.row
    assert row is not None
    assert (row.state, row.mode, row.run, row.instance, row.key) == (ObjectState.LIVE, 0o640, "r1", "orct", "board")
    assert (row.creator_pid, row.creator_start) == (os.getpid(), start_time(os.getpid()))
    assert (row.uid, row.boot_id, row.ipc_ns) == (os.geteuid(), boot_id(), ipc_namespace())
    assert row.identity == live.handle.identity
    assert not live.reused


def test_derived_names_and_keys_carry_a_new_nonce_each_time(make: Callable[..., LiveObject], tmp_path: Path) -> None:
    names = [make(object_plan(Family.POSIX, Kind.SEGMENT)).row for _ in range(2)]
    assert [row.name for row in names] == [f"/orc.orct.board.{row.nonce}" for row in names]
    assert names[0].nonce != names[1].nonce
    keys = {make(object_plan(Family.SYSV, Kind.QUEUE)).row.ipc_key or 0 for _ in range(3)}
    assert len(keys) == 3
    assert all(0 < key < 2**31 for key in keys)
    fifo = make(object_plan(Family.FIFO, Kind.PIPE)).row
    assert fifo.name == str(tmp_path / f"orc.board.{fifo.nonce}")


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        (Family.POSIX, Kind.SEGMENT),
        (Family.POSIX, Kind.SEMAPHORE),
        (Family.FILE, Kind.SEGMENT),
        (Family.FIFO, Kind.PIPE),
    ],
)
def test_an_explicit_name_is_given_by_link_and_the_first_one_goes(
    make: Callable[..., LiveObject], ipc_name: Callable[[], str], tmp_path: Path, family: Family, kind: Kind
) -> None:
    name = ipc_name() if family is Family.POSIX else str(tmp_path / "explicit")
    steps: list[str] = []
    live = make(object_plan(family, kind, name=name), checkpoint=steps.append)
    assert steps == list(CREATE_STEPS)
    assert (live.row.name, live.row.wanted_name, live.handle.ref.name) == (name, None, name)
    assert witness.exists(family, kind, name)
    first = f"orc.orct.board.{live.row.nonce}"
    first = f"/{first}" if family is Family.POSIX else str(tmp_path / first)
    assert not witness.exists(family, kind, first)


def test_an_explicit_queue_is_made_under_its_name(make: Callable[..., LiveObject], ipc_name: Callable[[], str]) -> None:
    steps: list[str] = []
    name = ipc_name()
    make(object_plan(Family.POSIX, Kind.QUEUE, name=name), checkpoint=steps.append)
    assert steps == ["intending", "intended", "created", "confirmed"]
    assert witness.exists(Family.POSIX, Kind.QUEUE, name)


@pytest.mark.parametrize("key", [0, 0x7F0A0001])
@pytest.mark.parametrize("kind", [Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE])
def test_declared_keys_are_used(make: Callable[..., LiveObject], kind: Kind, key: int) -> None:
    live = make(object_plan(Family.SYSV, kind, ipc_key=key))
    assert live.row.ipc_key == key
    assert live.row.id is not None
    assert witness.sysv(kind)[live.row.id] == key


def test_the_binding_tells_what_a_user_needs(make: Callable[..., LiveObject], ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    board = make(object_plan(Family.POSIX, Kind.SEGMENT, name=name, extra={"x-shape": [4]})).binding(Access.READ, 3)
    assert (board.name, board.fd, board.size, board.access, board.extra) == (
        name,
        3,
        4096,
        Access.READ,
        {"x-shape": [4]},
    )
    table = make(object_plan(Family.SYSV, Kind.SEGMENT))
    binding = table.binding(Access.READ_WRITE, None)
    assert (binding.id, binding.ipc_key, binding.name) == (table.row.id, table.row.ipc_key, None)
    scratch = make(object_plan(Family.MEMFD, Kind.SEGMENT)).binding(Access.READ, 4)
    assert (scratch.name, scratch.id, scratch.ipc_key, scratch.fd) == (None, None, None, 4)


# What is in the way


@pytest.mark.parametrize(
    ("family", "kind"),
    [pair for pair in OBJECT_KINDS if pair[0] in (Family.POSIX, Family.FILE, Family.FIFO)],
)
def test_a_taken_name_is_an_error_that_says_what_it_is(
    make: Callable[..., LiveObject],
    taken: Callable[..., ObjectRef],
    ledger: Ledger,
    ipc_name: Callable[[], str],
    tmp_path: Path,
    family: Family,
    kind: Kind,
) -> None:
    name = ipc_name() if family is Family.POSIX else str(tmp_path / "taken")
    plan = object_plan(family, kind, name=name)
    taken(plan, name=name)
    with pytest.raises(ObjectExists) as caught:
        make(plan)
    assert caught.value.exit_code == 5
    assert f"board: {ObjectRef(family, kind, name=name)} already exists: a" in caught.value.problem
    assert "mode 0o600, owner" in caught.value.problem
    assert "external: true" in caught.value.hint
    assert witness.exists(family, kind, name)
    assert ledger.objects() == []


def test_a_taken_name_is_an_error_that_says_who_holds_it(
    make: Callable[..., LiveObject], taken: Callable[..., ObjectRef], ipc_name: Callable[[], str]
) -> None:
    name = ipc_name()
    plan = object_plan(Family.POSIX, Kind.SEGMENT, name=name)
    taken(plan, name=name)
    program = f"import sys; f = open('/dev/shm{name}'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ObjectExists, match=rf"held by {holder.pid} \("):
            make(plan)
        holder.communicate("")


@pytest.mark.parametrize("kind", [Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE])
def test_a_taken_key_is_an_error_that_names_the_id(
    make: Callable[..., LiveObject], taken: Callable[..., ObjectRef], kind: Kind
) -> None:
    key = secrets.randbelow(2**31 - 1) + 1
    ref = taken(object_plan(Family.SYSV, kind), key=key)
    with pytest.raises(ObjectExists, match=f"sysv-{kind}:{key:#010x} already exists: .*id {ref.id},"):
        make(object_plan(Family.SYSV, kind, ipc_key=key))


def test_an_object_of_another_run_is_named_with_the_command_that_helps(
    make: Callable[..., LiveObject], ledger: Ledger, ipc_name: Callable[[], str]
) -> None:
    plan = object_plan(Family.POSIX, Kind.SEGMENT, name=ipc_name())
    first = make(plan)
    with pytest.raises(ObjectExists, match="made by run r1 of orct") as caught:
        make(plan)
    assert "orchestra down orct" in caught.value.hint
    keep_recorded(ledger, first.row, "--leak", by_hand=True)
    with pytest.raises(ObjectExists, match="kept on purpose by run r1 of orct") as caught:
        make(plan)
    assert "orchestra clean --kept --run r1" in caught.value.hint


def test_what_a_killed_run_announced_is_said_to_be_perhaps_ours(
    make: Callable[..., LiveObject], taken: Callable[..., ObjectRef], ledger: Ledger, ipc_name: Callable[[], str]
) -> None:
    name = ipc_name()
    plan = object_plan(Family.POSIX, Kind.QUEUE, name=name)

    def stop(step: str) -> None:
        if step == "intended":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(plan, checkpoint=stop)
    taken(plan, name=name)
    with pytest.raises(ObjectExists) as caught:
        make(plan)
    assert "may be ours: run r1 was killed" in caught.value.hint
    assert f"rm /dev/mqueue{name}" in caught.value.hint


@pytest.mark.parametrize(("family", "kind"), [(Family.POSIX, Kind.SEGMENT), (Family.FILE, Kind.SEGMENT)])
def test_a_name_taken_in_the_last_moment_leaves_nothing_of_ours(
    make: Callable[..., LiveObject],
    taken: Callable[..., ObjectRef],
    ledger: Ledger,
    ipc_name: Callable[[], str],
    tmp_path: Path,
    family: Family,
    kind: Kind,
) -> None:
    name = ipc_name() if family is Family.POSIX else str(tmp_path / "taken")
    plan = object_plan(family, kind, name=name)
    with pytest.raises(ObjectExists):
        make(plan, checkpoint=lambda step: taken(plan, name=name) if step == "confirmed" else None)
    (row,) = ledger.objects()
    assert row.state is ObjectState.ABANDONED
    assert not witness.exists(family, kind, str(row.name))
    assert witness.exists(family, kind, name)


def test_another_kind_of_file_in_the_way_is_called_what_it_is(
    make: Callable[..., LiveObject], ledger: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "control"
    path.mkdir()
    with pytest.raises(ObjectExists, match=f"board: {path} is a folder, not fifo:"):
        make(object_plan(Family.FIFO, Kind.PIPE, name=str(path)))
    assert ledger.objects() == []


# Keys that collide


def _keys(*keys: int) -> World:
    drawn = iter(keys)
    return replace(KERNEL, key=lambda: next(drawn))


def test_a_random_key_that_is_taken_is_drawn_again_before_anything_is_announced(
    make: Callable[..., LiveObject], taken: Callable[..., ObjectRef], ledger: Ledger
) -> None:
    plan = object_plan(Family.SYSV, Kind.QUEUE)
    busy, free = (secrets.randbelow(2**31 - 1) + 1 for _ in range(2))
    taken(plan, key=busy)
    live = make(plan, world=_keys(busy, free))
    assert live.row.ipc_key == free
    assert [row.ipc_key for row in ledger.objects()] == [free]


def test_a_random_key_taken_in_the_last_moment_is_drawn_again(
    make: Callable[..., LiveObject], taken: Callable[..., ObjectRef], ledger: Ledger
) -> None:
    plan = object_plan(Family.SYSV, Kind.SEMAPHORE)
    busy, free = (secrets.randbelow(2**31 - 1) + 1 for _ in range(2))
    strangers: list[ObjectRef] = []

    def collide(step: str) -> None:
        if step == "intended" and not strangers:
            strangers.append(taken(plan, key=busy))

    live = make(plan, world=_keys(busy, free), checkpoint=collide)
    assert live.row.ipc_key == free
    assert [row.state for row in ledger.objects()] == [ObjectState.ABANDONED, ObjectState.LIVE]
    assert strangers[0].id in witness.sysv(Kind.SEMAPHORE)


def test_keys_that_all_collide_are_an_error_at_some_point(
    make: Callable[..., LiveObject], taken: Callable[..., ObjectRef], ledger: Ledger
) -> None:
    plan = object_plan(Family.SYSV, Kind.QUEUE)
    key = secrets.randbelow(2**31 - 1) + 1
    taken(plan, key=key)
    with pytest.raises(KernelError, match="no free System V key"):
        make(plan, world=replace(KERNEL, key=lambda: key))
    assert ledger.objects() == []


# When the kernel or the ledger fails


def test_a_refusal_of_the_kernel_is_on_record_and_leaves_nothing(
    make: Callable[..., LiveObject], ledger: Ledger
) -> None:
    with pytest.raises(KernelError):
        make(object_plan(Family.POSIX, Kind.QUEUE, max_messages=10**6, message_size=10**6))
    (row,) = ledger.objects()
    assert row.state is ObjectState.ABANDONED
    assert row.why
    assert not witness.exists(Family.POSIX, Kind.QUEUE, str(row.name))


@pytest.mark.parametrize(("family", "kind"), OBJECT_KINDS)
def test_when_the_ledger_fails_after_the_creation_the_object_goes(
    make: Callable[..., LiveObject],
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    family: Family,
    kind: Kind,
) -> None:
    def full(*_: object) -> None:
        raise LedgerError("no space is left for the ledger")

    monkeypatch.setattr(ledger, "confirm", full)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(LedgerError):
        make(object_plan(family, kind))
    (row,) = ledger.objects()
    if family is Family.SYSV:
        assert row.ipc_key not in witness.sysv(kind).values()
    elif row.name is not None and family is not Family.MEMFD:
        assert not witness.exists(family, kind, row.name)
    assert set(os.listdir("/proc/self/fd")) == before


def test_when_the_ledger_fails_after_the_link_both_names_go(
    make: Callable[..., LiveObject], ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise LedgerError("no space is left for the ledger")

    monkeypatch.setattr(ledger, "rename", full)
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(LedgerError):
        make(object_plan(Family.FILE, Kind.SEGMENT, name=str(folder / "journal")))
    assert os.listdir(folder) == []


def test_a_file_gets_its_exact_mode_and_content(make: Callable[..., LiveObject], tmp_path: Path) -> None:
    path = tmp_path / "journal"
    old = os.umask(0o077)
    try:
        make(object_plan(Family.FILE, Kind.SEGMENT, name=str(path), mode=0o664))
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert path.read_bytes() == bytes(4096)


_IN_A_SMALL_SHM = """
import os, sys
from pathlib import Path
from orchestra.errors import KernelError
from orchestra.kernel.host import boot_id
from orchestra.kinds import Family, Kind
from orchestra.ledger.journal import Ledger
from orchestra.objects import create_recorded
from tests.support.rows import object_plan, run_row
with Ledger.open(Path(sys.argv[1]) / "ledger.db") as ledger:
    run = run_row(instance="orct", boot_id=boot_id())
    ledger.begin_run(run)
    try:
        create_recorded(ledger, object_plan(Family.POSIX, Kind.SEGMENT, size=1 << 20), run, folder=Path(sys.argv[1]))
    except KernelError as err:
        print(type(err).__name__, os.listdir("/dev/shm"), ledger.objects()[0].state)
"""


@pytest.mark.root
def test_a_full_shm_is_found_at_creation_and_left_empty(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o mode=1777,size=64k tmpfs /dev/shm && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, "-c", _IN_A_SMALL_SHM,
         str(tmp_path)], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == [OutOfSpace.__name__, "[]", "abandoned"], done.stderr


def test_limits_keep_their_class(make: Callable[..., LiveObject]) -> None:
    assert issubclass(LimitReached, KernelError)
    with pytest.raises(KernelError) as caught:
        make(object_plan(Family.SYSV, Kind.SEGMENT, size=1 << 62))
    assert caught.value.detail
