"""The box of an isolated run, from outside: whether it lives, how to get into it, when it ends.

A box is a process that does nothing but hold a private IPC namespace, /dev/shm and /dev/mqueue. It outlives the
supervisor and the guardian, because kept objects live as long as their namespace does, and that lives as long as
somebody is in it. It is on record by pid and start time before the first object is made, and ends when nothing of ours
is left inside. Ending it ends everything in the namespace, also what nobody declared.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, NoReturn, TypeVar

from orchestra.errors import KernelError, OrchestraError, from_wire
from orchestra.kernel import namespaces
from orchestra.kernel.host import boot_id
from orchestra.kernel.process import has_exited, is_running, open_process, send_signal
from orchestra.kinds import Family
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import OPEN_STATES, ObjectRow, ObjectState, RunRow

_IN_FILES = frozenset({Family.FILE, Family.FIFO})  # these lie in the host's files, not in the namespace
_T = TypeVar("_T")


class Box(NamedTuple):
    """A process that holds a namespace; pid and start time together name it."""

    pid: int
    start: int


def box_of(run: RunRow) -> Box | None:
    """Return the box of a run while it lives; None for a run on the host, or one whose namespace has ended."""
    if run.box_pid is None or run.box_start is None or run.boot_id != boot_id():
        return None
    fd = open_process(run.box_pid, run.box_start)
    if fd is None:
        return None
    try:
        return None if has_exited(fd) else Box(run.box_pid, run.box_start)
    finally:
        os.close(fd)


def way_in(run: RunRow) -> Box | None:
    """Return a process in the private namespace of a run: its box, or its supervisor while that lives."""
    box = box_of(run)
    if box is not None or run.box_pid is None or run.finished or run.boot_id != boot_id():
        return box
    pid, start = run.supervisor_pid, run.supervisor_start
    return Box(pid, start) if pid is not None and start is not None and is_running(pid, start) else None


def is_boxed(row: ObjectRow, run: RunRow | None) -> bool:
    """Whether an object of a run is in a private namespace, rather than among the host's own objects or files."""
    return run is not None and run.box_pid is not None and row.family not in _IN_FILES


def enter(run: RunRow) -> None:
    """Move this process into the box of a run; nothing happens for a run on the host.

    The process must have one thread only. Raises KernelError when the namespace has ended, PermissionRefused.
    """
    if run.box_pid is None:
        return
    box = way_in(run)
    if box is None:
        raise KernelError(
            f"the private namespace of {run.instance} has ended, and every object in it with it",
            detail=f"process {run.box_pid} held it",
        )
    namespaces.enter(box.pid)


def within(run: RunRow, task: Callable[[], _T]) -> _T:
    """Run `task` in a child process inside the box of a run and return what it returned. Raises what it raised.

    Answers and errors travel pickled; what the task opened stays behind. A run on the host: `task()` here.
    """
    if run.box_pid is None:
        return task()

    def entered() -> _T:
        enter(run)
        return task()

    return _in_a_child(run, entered)


def widen(run: RunRow, limits: Mapping[str, int | str]) -> None:
    """Raise the limits of the box of a run where they are lower, as for an edited file. Raises KernelError.

    The caller is outside: no ordinary user may do that from inside.
    """
    inside = way_in(run)
    if limits and inside is not None:
        _in_a_child(run, partial(namespaces.raise_limits, inside.pid, limits))


def _in_a_child(run: RunRow, task: Callable[[], _T]) -> _T:
    import pickle  # here and below: a run on the host, and every command that asks about one, never needs it

    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _answer(writing, task)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    if not said:
        raise OrchestraError(f"a process inside the private namespace of {run.instance} died")
    went_well, answer = pickle.loads(said)  # noqa: S301 our own child wrote it
    if not went_well:
        raise from_wire(answer)
    found: _T = answer
    return found


def _answer(writing: int, task: Callable[[], object]) -> NoReturn:
    try:
        import pickle

        try:
            said: tuple[bool, object] = (True, task())
        except OrchestraError as err:
            said = (False, err.to_wire())
        with os.fdopen(writing, "wb") as file:
            file.write(pickle.dumps(said))
    except BaseException:  # noqa: BLE001 this copy of the caller must not live on
        import traceback

        traceback.print_exc()
    finally:
        os._exit(0)


def release(ledger: Ledger, run: RunRow) -> bool:
    """End the box of a run when nothing of ours is left in it; return whether it has ended.

    Other runs that share it and are not finished keep it, whatever is in it. The run itself is finished, or is put on
    record as finished only after this: one that is finished is one that nobody comes back to. The caller holds the
    lock of the instance, or is its supervisor.
    """
    box = box_of(run)
    if box is None:
        return True
    sharing = _in(box, ledger)
    if any(holds_objects(ledger, each) or not (each.finished or each.run == run.run) for each in sharing):
        return False
    fd = open_process(box.pid, box.start)
    if fd is not None:
        with contextlib.suppress(OSError):
            send_signal(fd, signal.SIGKILL)
        os.close(fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(box.pid, 0)
    return True


def idle(ledger: Ledger) -> list[RunRow]:
    """Return, of every box that lives and in which nothing is on record, the newest run.

    When that is finished the box is left over: whoever removed its last object was killed before ending it. Else the
    run has made nothing yet, or was killed before it did.
    """
    newest = {box: run for run in ledger.runs() if (box := box_of(run)) is not None}
    return [run for box, run in newest.items() if not any(holds_objects(ledger, other) for other in _in(box, ledger))]


def _in(box: Box, ledger: Ledger) -> list[RunRow]:
    return [run for run in ledger.runs() if (run.box_pid, run.box_start) == box]


def holds_objects(ledger: Ledger, run: RunRow) -> bool:
    """Whether something of a run may still be in its namespace, as far as is on record."""
    return any(row.family not in _IN_FILES for row in ledger.objects(run=run.run, states=OPEN_STATES))


def settle_ended(ledger: Ledger, run: RunRow) -> list[ObjectRow]:
    """Put on record what ended with a box that is gone; return those rows."""
    if run.box_pid is None or box_of(run) is not None:
        return []
    ended = [row for row in ledger.objects(run=run.run, states=OPEN_STATES) if row.family not in _IN_FILES]
    for row in ended:
        ledger.settle(row.recorded, ObjectState.GONE, "its private namespace has ended")
    return ended
