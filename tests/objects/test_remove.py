from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestra.errors import LedgerError, PermissionRefused
from orchestra.kernel.host import boot_id
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import OBJECT_KINDS, Family, Kind, ObjectRef
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState
from orchestra.objects import (
    REMOVE_STEPS,
    LiveObject,
    Outcome,
    create_recorded,
    keep_recorded,
    remove_recorded,
)
from orchestra.objects.names import NAMELESS_FAMILIES
from orchestra.runplan import ObjectPlan
from tests.support import witness
from tests.support.rows import object_plan, object_row, run_row

LASTING = [pair for pair in OBJECT_KINDS if pair[0] not in NAMELESS_FAMILIES]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        yield ledger
        for row in ledger.objects():
            remove_recorded(ledger, row)


@pytest.fixture
def make(ledger: Ledger, tmp_path: Path) -> Callable[[ObjectPlan], LiveObject]:
    run = run_row(instance="orct", boot_id=boot_id())
    ledger.begin_run(run)
    return lambda plan: create_recorded(ledger, plan, run, folder=tmp_path)


@pytest.mark.parametrize(("family", "kind"), LASTING)
def test_removal_is_on_record_and_happens_once(
    ledger: Ledger, make: Callable[[ObjectPlan], LiveObject], family: Family, kind: Kind
) -> None:
    live = make(object_plan(family, kind))
    steps: list[str] = []
    removal = remove_recorded(ledger, live.row, checkpoint=steps.append)
    assert (removal.outcome, removal.row.state) == (Outcome.REMOVED, ObjectState.REMOVED)
    assert removal.why == removal.row.why == "it is the very object on record"
    assert removal.row.settled_at is not None
    assert steps == list(REMOVE_STEPS)
    assert adapter_for(family, kind).stat(live.handle.ref) is None
    again = remove_recorded(ledger, live.row)
    assert (again.outcome, again.row.state) == (Outcome.GONE, ObjectState.REMOVED)


@pytest.mark.parametrize(("family", "kind"), LASTING)
def test_what_somebody_else_removed_is_gone(
    ledger: Ledger, make: Callable[[ObjectPlan], LiveObject], family: Family, kind: Kind
) -> None:
    live = make(object_plan(family, kind))
    adapter_for(family, kind).remove(live.handle.ref)
    removal = remove_recorded(ledger, live.row)
    assert (removal.outcome, removal.row.state) == (Outcome.GONE, ObjectState.GONE)
    assert removal.why == "it is not there any more"


@pytest.mark.parametrize(("family", "kind"), [pair for pair in OBJECT_KINDS if pair[0] in NAMELESS_FAMILIES])
def test_nameless_objects_are_settled_and_their_descriptors_left_alone(
    ledger: Ledger, make: Callable[[ObjectPlan], LiveObject], family: Family, kind: Kind
) -> None:
    live = make(object_plan(family, kind))
    removal = remove_recorded(ledger, live.row)
    assert (removal.outcome, removal.row.state) == (Outcome.GONE, ObjectState.GONE)
    for fd in live.handle.fds:
        os.close(fd)  # still ours: no EBADF


def test_the_kernels_refusal_is_an_outcome_and_the_row_stays(
    ledger: Ledger, make: Callable[[ObjectPlan], LiveObject], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = make(object_plan(Family.SYSV, Kind.QUEUE))
    real = adapter_for(Family.SYSV, Kind.QUEUE)

    def refuse(ref: ObjectRef) -> bool:
        raise PermissionRefused(f"could not use {ref}: Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(real, "remove", refuse)
        removal = remove_recorded(ledger, live.row)
    assert (removal.outcome, removal.row.state) == (Outcome.REFUSED, ObjectState.LIVE)
    assert removal.why.startswith("the kernel refused: could not use sysv-queue:")


def test_a_row_that_is_not_on_record_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="not on record"):
        remove_recorded(ledger, object_row(number=77))


def test_the_row_on_record_counts_not_the_one_that_was_passed(
    ledger: Ledger, make: Callable[[ObjectPlan], LiveObject]
) -> None:
    """Somebody took the kept object over meanwhile."""
    live = make(object_plan(Family.POSIX, Kind.SEGMENT))
    keep_recorded(ledger, live.row, "", by_hand=False)
    assert ledger.adopt(live.row.recorded, live.row._replace(number=None, run="r2")) is not None
    removal = remove_recorded(ledger, live.row)
    assert (removal.outcome, removal.why) == (Outcome.GONE, "the ledger says gone")
    assert witness.exists(Family.POSIX, Kind.SEGMENT, str(live.row.name))


# Held objects


_HOLD = {
    Kind.SEGMENT: "import sysv_ipc; m = sysv_ipc.attach({id}); print(flush=True); sys.stdin.read()",
    Kind.QUEUE: "f = open('/dev/shm{name}'); print(flush=True); sys.stdin.read()",
}


def _holder(program: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", f"import sys; {program}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    return child


def test_a_held_object_goes_or_stays_as_asked(ledger: Ledger, make: Callable[[ObjectPlan], LiveObject]) -> None:
    live = make(object_plan(Family.POSIX, Kind.SEGMENT))
    with _holder(_HOLD[Kind.QUEUE].format(name=live.row.name)) as holder:
        refused = remove_recorded(ledger, live.row, held_ok=False)
        assert (refused.outcome, refused.row.state) == (Outcome.REFUSED, ObjectState.LIVE)
        assert f"held by {holder.pid} (" in refused.why
        assert remove_recorded(ledger, live.row).outcome is Outcome.REMOVED
        holder.communicate("")


def test_an_attached_segment_is_marked_and_ends_with_its_holder(
    ledger: Ledger, make: Callable[[ObjectPlan], LiveObject]
) -> None:
    live = make(object_plan(Family.SYSV, Kind.SEGMENT))
    with _holder(_HOLD[Kind.SEGMENT].format(id=live.row.id)) as holder:
        assert remove_recorded(ledger, live.row, held_ok=False).outcome is Outcome.REFUSED
        assert remove_recorded(ledger, live.row).outcome is Outcome.REMOVED
        assert witness.sysv(Kind.SEGMENT)[live.row.id or 0] == 0
        holder.communicate("")
    assert live.row.id not in witness.sysv(Kind.SEGMENT)


def test_a_segment_that_others_marked_is_still_recognised(
    ledger: Ledger, make: Callable[[ObjectPlan], LiveObject]
) -> None:
    live = make(object_plan(Family.SYSV, Kind.SEGMENT))
    with _holder(_HOLD[Kind.SEGMENT].format(id=live.row.id)) as holder:
        adapter_for(Family.SYSV, Kind.SEGMENT).remove(live.handle.ref)
        removal = remove_recorded(ledger, live.row)
        assert (removal.outcome, removal.row.state) == (Outcome.GONE, ObjectState.GONE)
        assert "somebody else marked it" in removal.why
        holder.communicate("")


# Keeping


@pytest.mark.parametrize(("family", "kind"), OBJECT_KINDS)
@pytest.mark.parametrize("by_hand", [True, False])
def test_keeping_is_on_record_for_all_that_can_stay(
    ledger: Ledger, make: Callable[[ObjectPlan], LiveObject], family: Family, kind: Kind, by_hand: bool
) -> None:
    live = make(object_plan(family, kind))
    for fd in live.handle.fds:
        os.close(fd)
    keep_recorded(ledger, live.row, "because", by_hand)
    row = ledger.object(live.row.recorded)
    assert row is not None
    if family in NAMELESS_FAMILIES:
        assert row.state is ObjectState.GONE
    else:
        assert (row.state, row.why, row.by_hand_leak) == (ObjectState.KEPT, "because", by_hand)


@pytest.mark.parametrize("state", [ObjectState.REMOVED, ObjectState.GONE, ObjectState.ABANDONED, ObjectState.BORROWED])
def test_settled_and_borrowed_rows_are_not_kept(ledger: Ledger, state: ObjectState) -> None:
    number = ledger.intend(object_row(state=state))
    row = ledger.object(number)
    assert row is not None
    keep_recorded(ledger, row, "because", by_hand=True)
    assert ledger.object(number) == row


# System V ids come round again

_RECYCLED = """
import sys
from pathlib import Path
from orchestra.kernel.host import boot_id
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Family, Kind, Spec
from orchestra.ledger.journal import Ledger
from orchestra.objects import create_recorded, remove_recorded
from tests.support.rows import object_plan, run_row
kind, key = Kind(sys.argv[2]), None if sys.argv[3] == "random" else 0
adapter, plan = adapter_for(Family.SYSV, kind), object_plan(Family.SYSV, kind, ipc_key=key)
with Ledger.open(Path(sys.argv[1]) / "ledger.db") as ledger:
    run = run_row(instance="orct", boot_id=boot_id())
    ledger.begin_run(run)
    ours = create_recorded(ledger, plan, run, folder=Path(sys.argv[1]))
    adapter.remove(ours.handle.ref)
    word = {Kind.QUEUE: "msg", Kind.SEGMENT: "shm", Kind.SEMAPHORE: "sem"}[kind]
    Path(f"/proc/sys/kernel/{word}_next_id").write_text(str(ours.row.id))
    theirs_key = 0 if sys.argv[4] == "private" else 0x5151
    import os
    pid = os.fork()
    if pid == 0:
        adapter.create(Spec(Family.SYSV, kind, key=theirs_key, size=plan.size, values=plan.values))
        os._exit(0)
    os.waitpid(pid, 0)
    (theirs,) = adapter.list().stats
    removal = remove_recorded(ledger, ours.row)
    print(theirs.identity.id == ours.row.id, removal.outcome, len(adapter.list().stats))
"""


@pytest.mark.root
@pytest.mark.skipif(not os.path.exists("/proc/sys/kernel/msg_next_id"), reason="kernel without CHECKPOINT_RESTORE")
@pytest.mark.parametrize("theirs", ["private", "keyed"])
@pytest.mark.parametrize("kind", [Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE])
def test_a_stranger_who_got_our_id_stays(tmp_path: Path, kind: Kind, theirs: str) -> None:
    done = subprocess.run(
        ["unshare", "-i", sys.executable, "-c", _RECYCLED, str(tmp_path), kind, "random", theirs],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "gone", "1"], done.stderr


@pytest.mark.root
def test_another_ipc_namespace_is_out_of_reach_and_nothing_is_settled(
    ledger: Ledger, make: Callable[[ObjectPlan], LiveObject], tmp_path: Path
) -> None:
    live = make(object_plan(Family.SYSV, Kind.QUEUE, ipc_key=secrets.randbelow(2**31 - 1) + 1))
    program = (
        "import sys; from pathlib import Path; from orchestra.ledger.journal import Ledger\n"
        "from orchestra.objects import remove_recorded\n"
        "with Ledger.open(Path(sys.argv[1])) as ledger:\n"
        "    removal = remove_recorded(ledger, ledger.objects()[0])\n"
        "    print(removal.outcome, removal.row.state, removal.why)\n"
    )
    done = subprocess.run(
        ["unshare", "-i", sys.executable, "-c", program, str(tmp_path / "ledger.db")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.startswith("refused live it was made in IPC namespace"), done.stderr
    assert live.row.id in witness.sysv(Kind.QUEUE)


@pytest.mark.root
@pytest.mark.parametrize("kind", [Kind.SEGMENT, Kind.SEMAPHORE])
def test_another_shm_mount_is_out_of_reach_and_nothing_is_settled(
    ledger: Ledger, make: Callable[[ObjectPlan], LiveObject], tmp_path: Path, kind: Kind
) -> None:
    live = make(object_plan(Family.POSIX, kind))
    program = (
        "import sys; from pathlib import Path; from orchestra.ledger.journal import Ledger\n"
        "from orchestra.objects import remove_recorded\n"
        "with Ledger.open(Path(sys.argv[1])) as ledger:\n"
        "    removal = remove_recorded(ledger, ledger.objects()[0])\n"
        "    print(removal.outcome, removal.row.state, removal.why)\n"
    )
    script = 'mount -t tmpfs tmpfs /dev/shm && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, "-c", program,
         str(tmp_path / "ledger.db")], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.startswith("refused live the file system that held it is not the one"), done.stderr
    assert witness.exists(Family.POSIX, kind, str(live.row.name))
