"""Objects that are made to fit an edited file: real ones, and a ledger."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestra.errors import Conflict, KernelError, ObjectExists
from orchestra.kernel.host import boot_id
from orchestra.kinds import Family, Kind, OnDown
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState
from orchestra.objects import LiveObject, remove_recorded, reuse_or_create
from orchestra.runplan import ObjectPlan, RunPlan
from orchestra.supervisor.change import difference
from orchestra.supervisor.renew import Renewal
from tests.support import witness
from tests.support.rows import run_row

JOBS = ObjectPlan("jobs", Family.SYSV, Kind.QUEUE, capacity=64)
BOARD = ObjectPlan("board", Family.POSIX, Kind.SEGMENT, size=4096)
SLOTS = ObjectPlan("slots", Family.SYSV, Kind.SEMAPHORE, values=(1,))


class Live:
    """A run that has objects, and edits its plan."""

    def __init__(self, ledger: Ledger, folder: Path, *objects: ObjectPlan) -> None:
        self.ledger, self.folder = ledger, folder
        self.run = run_row("r1", instance="orct", boot_id=boot_id())
        ledger.begin_run(self.run)
        self.plan = self.of(*objects)
        self.things: dict[str, LiveObject] = {}
        self.said: list[str] = []
        self.failing: dict[tuple[str, int | None], Exception] = {}  # (key, size)
        for item in objects:
            self.things[item.key] = self.make(item)

    def of(self, *objects: ObjectPlan) -> RunPlan:
        return RunPlan("orct", "orct", "/t.yaml", "/", objects)

    def make(self, plan: ObjectPlan) -> LiveObject:
        error = self.failing.get((plan.key, plan.size))
        if error is not None:
            raise error
        return reuse_or_create(self.ledger, plan, self.run, folder=self.folder)

    def say(self, event: str, **fields: object) -> None:
        self.said.append(f"{event} {fields.get('object')}")

    def edit(self, *objects: ObjectPlan) -> Renewal:
        renewal = Renewal(self.ledger, self.run.run, self.things, self.make, self.say)
        renewal.carry_out(self.plan, difference(self.plan, self.of(*objects)))
        self.plan = self.of(*objects)
        return renewal

    def there(self, thing: LiveObject) -> bool:
        """Whether tools that are not ours see it."""
        ref = thing.handle.ref
        if ref.family is Family.SYSV:
            return thing.row.id in witness.sysv(ref.kind)
        return witness.exists(ref.family, ref.kind, str(ref.name))

    def states(self, key: str) -> list[ObjectState]:
        return [row.state for row in self.ledger.objects(run="r1") if row.key == key]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[..., Live]]:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        yield lambda *objects: Live(ledger, tmp_path, *objects)
        for row in ledger.objects():
            remove_recorded(ledger, row)


def test_made_dropped_and_left_alone(live: Callable[..., Live]) -> None:
    run = live(JOBS, BOARD)
    before = dict(run.things)
    renewal = run.edit(JOBS, SLOTS)
    assert renewal.made == {"slots"}
    assert run.things.keys() == {"jobs", "slots"}
    assert run.things["jobs"] is before["jobs"]
    assert [run.there(thing) for thing in (before["jobs"], before["board"], run.things["slots"])] == [True, False, True]
    assert run.said == ["object.removed board"]


def test_what_the_file_drops_is_kept_where_it_said_so(live: Callable[..., Live]) -> None:
    run = live(BOARD._replace(on_down=OnDown.KEEP), JOBS)
    board = run.things["board"]
    run.edit(JOBS)
    assert run.there(board)
    assert run.states("board") == [ObjectState.KEPT]


def test_another_shape_is_another_object(live: Callable[..., Live]) -> None:
    run = live(BOARD)
    first = run.things["board"]
    run.edit(BOARD._replace(size=8192))
    assert not run.there(first)
    assert run.things["board"].size == 8192
    assert run.states("board") == [ObjectState.REMOVED, ObjectState.LIVE]


def test_only_the_record_of_it(live: Callable[..., Live]) -> None:
    run = live(BOARD)
    first = run.things["board"]
    run.edit(BOARD._replace(on_down=OnDown.KEEP, extra={"x-a": 1}))
    assert run.things["board"].row.number == first.row.number
    assert run.things["board"].plan.extra == {"x-a": 1}
    assert [row.on_down for row in run.ledger.objects(run="r1")] == [OnDown.KEEP]


def test_a_name_that_another_object_gives_up(live: Callable[..., Live], ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    run = live(BOARD._replace(name=name))
    run.edit(ObjectPlan("table", Family.POSIX, Kind.SEGMENT, name=name, size=8192))
    assert run.things["table"].size == 8192
    assert run.things.keys() == {"table"}
    assert run.said == ["object.removed board"]


def test_what_cannot_be_made_leaves_all_as_it_was(live: Callable[..., Live], ipc_name: Callable[[], str]) -> None:
    name = ipc_name()
    foreign = os.open(f"/dev/shm{name}", os.O_CREAT | os.O_EXCL, 0o600)
    os.close(foreign)
    try:
        run = live(JOBS, BOARD)
        with pytest.raises(ObjectExists):
            run.edit(SLOTS, BOARD._replace(key="other", name=name))
        assert run.things.keys() == {"jobs", "board"}
        assert all(map(run.there, run.things.values()))
        assert run.states("slots") == [ObjectState.REMOVED]
    finally:
        os.unlink(f"/dev/shm{name}")


def test_what_was_given_up_for_nothing_comes_back_empty(live: Callable[..., Live]) -> None:
    run = live(BOARD, JOBS)
    run.failing["board", 8192] = KernelError("no room")
    with pytest.raises(KernelError, match="no room"):
        run.edit(BOARD._replace(size=8192), JOBS)
    assert run.things["board"].size == 4096
    assert run.there(run.things["board"])
    assert run.states("board") == [ObjectState.REMOVED, ObjectState.LIVE]
    run.failing["board", 4096] = KernelError("nor now")
    with pytest.raises(KernelError, match="no room"):
        run.edit(BOARD._replace(size=8192), JOBS)
    assert not run.there(run.things["board"])  # its users will say so when they start


def test_a_file_that_was_there_before_is_not_ours_to_make_anew(live: Callable[..., Live], tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    path.write_bytes(b"x" * 4096)
    journal = ObjectPlan("journal", Family.FILE, Kind.SEGMENT, name=str(path), size=4096, on_down=OnDown.KEEP)
    run = live(journal, JOBS)
    jobs = run.things["jobs"]
    with pytest.raises(Conflict, match="not ours"):
        run.edit(journal._replace(size=8192))
    assert run.there(jobs)
    run.edit(JOBS)
    assert path.read_bytes() == b"x" * 4096
    assert run.states("journal") == [ObjectState.GONE]


def test_descriptors_go_with_what_they_are_of(live: Callable[..., Live]) -> None:
    scratch = ObjectPlan("scratch", Family.MEMFD, Kind.SEGMENT, size=4096)
    feed = ObjectPlan("feed", Family.ANONYMOUS, Kind.PIPE)
    before = len(os.listdir("/proc/self/fd"))
    run = live(scratch, feed)
    os.close(run.things["feed"].handle.fds[0])  # as when nobody needs that end any more …
    stranger = os.open("/dev/null", os.O_RDONLY)  # … and its number means another file now
    assert stranger == run.things["feed"].handle.fds[0]
    run.edit(scratch._replace(size=8192))
    assert os.fstat(stranger)
    run.edit()
    os.close(stranger)
    assert len(os.listdir("/proc/self/fd")) == before
