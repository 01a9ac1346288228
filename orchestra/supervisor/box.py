"""The box of an isolated run: a process that does nothing but hold a private IPC namespace, /dev/shm and /dev/mqueue.

It outlives the supervisor and the guardian, because kept objects live as long as their namespace does, and that lives
as long as somebody is in it. So it is on record by pid and start time before the first object is made, and ends when
nothing of ours is left inside. Ending it ends everything in the namespace, also what nobody declared.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeVar

from orchestra.errors import KernelError, OrchestraError, UsageError, from_wire
from orchestra.kernel import namespaces
from orchestra.kernel.api import SHM_FOLDER
from orchestra.kernel.process import has_exited, open_process, send_signal, set_comm, start_time
from orchestra.kinds import Family
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import OPEN_STATES, ObjectRow, ObjectState, RunRow
from orchestra.runplan import RunPlan
from orchestra.statedir import StateDir
from orchestra.supervisor.boxlimits import limits_for

_GO = b"."  # what a box is told once it is on record; the end of the pipe instead means that it never will be
_IN_FILES = frozenset({Family.FILE, Family.FIFO})  # these lie in the host's files, not in the namespace
_T = TypeVar("_T")


class Box(NamedTuple):
    """A process that holds a namespace; pid and start time together name it."""

    pid: int
    start: int


def of(run: RunRow) -> Box | None:
    """Return the box of a run while it lives; None for a run on the host, or one whose namespace has ended."""
    if run.box_pid is None or run.box_start is None:
        return None
    fd = open_process(run.box_pid, run.box_start)
    if fd is None:
        return None
    try:
        return None if has_exited(fd) else Box(run.box_pid, run.box_start)
    finally:
        os.close(fd)


def prepare(ledger: Ledger, run: RunRow, plan: RunPlan, places: StateDir) -> RunRow:
    """Give an isolated run its box and put that on record; return the row as it is then.

    A box in which this instance has kept objects is used again. Raises PermissionRefused where the host allows no
    private namespaces, KernelError, UsageError when our own files would be hidden inside, LedgerError.
    """
    _refuse_hidden(places)
    for older in reversed(ledger.runs(instance=run.instance)):
        box = of(older)
        if box is not None and _holds_objects(ledger, older):
            ledger.update_run(run.run, box_pid=box.pid, box_start=box.start)
            return run._replace(box_pid=box.pid, box_start=box.start)
    box, go = _make(plan)
    try:
        ledger.update_run(run.run, box_pid=box.pid, box_start=box.start)
        os.write(go, _GO)
    finally:
        os.close(go)
    return run._replace(box_pid=box.pid, box_start=box.start)


def _refuse_hidden(places: StateDir) -> None:
    for folder in (places.home, places.runtime):
        if os.path.realpath(folder).startswith(SHM_FOLDER + "/"):
            raise UsageError(
                f"a private run has a {SHM_FOLDER} of its own, and would not see {folder}",
                hint="Set ORCHESTRA_HOME to a folder elsewhere.",
            )


def _make(plan: RunPlan) -> tuple[Box, int]:
    """Start a box; return it and the pipe over which it is told to stay. Raises KernelError."""
    limits = limits_for(plan.objects)
    told, go = os.pipe2(os.O_CLOEXEC)
    reading, report = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _be_box(told, report, limits)
    os.close(told)
    os.close(report)
    with os.fdopen(reading, "rb") as file:
        said = file.read()
    start = start_time(pid)
    if said or start is None:
        os.close(go)
        os.waitpid(pid, 0)
        raise from_wire(pickle.loads(said)) if said else KernelError("the box of the run ended at once")  # noqa: S301
    return Box(pid, start), go


def _be_box(told: int, report: int, limits: dict[str, int | str]) -> NoReturn:
    """Make the namespace, hold it, and do nothing else, until somebody kills this process."""
    try:
        set_comm("orchestra-box")
        try:
            namespaces.make_private_ipc(limits)
        except OrchestraError as err:
            os.write(report, pickle.dumps(err.to_wire()))
            os._exit(1)
        for fd in {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, told}:
            with contextlib.suppress(OSError):
                os.close(fd)  # also `report`: all is well; and the instance's lock, which must not live on in us
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if os.read(told, 1) == _GO:
            os.close(told)
            while True:
                signal.pause()
    finally:
        os._exit(1)


def enter(run: RunRow) -> None:
    """Move this process into the box of a run; nothing happens for a run on the host.

    The process must have one thread only. Raises KernelError when the namespace has ended, PermissionRefused.
    """
    if run.box_pid is None:
        return
    box = of(run)
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
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _answer(writing, run, task)
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


def _answer(writing: int, run: RunRow, task: Callable[[], _T]) -> NoReturn:
    try:
        try:
            enter(run)
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

    A run that is not finished keeps its box, whatever is in it.
    """
    box = of(run)
    if box is None:
        return True
    inside = [other for other in ledger.runs() if (other.box_pid, other.box_start) == box]
    if any(not other.finished or _holds_objects(ledger, other) for other in inside):
        return False
    fd = open_process(box.pid, box.start)
    if fd is not None:
        with contextlib.suppress(OSError):
            send_signal(fd, signal.SIGKILL)
        os.close(fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(box.pid, 0)
    return True


def _holds_objects(ledger: Ledger, run: RunRow) -> bool:
    return any(row.family not in _IN_FILES for row in ledger.objects(run=run.run, states=OPEN_STATES))


def settle_ended(ledger: Ledger, run: RunRow) -> list[ObjectRow]:
    """Put on record what ended with a box that is gone; return those rows."""
    if run.box_pid is None or of(run) is not None:
        return []
    ended = [row for row in ledger.objects(run=run.run, states=OPEN_STATES) if row.family not in _IN_FILES]
    for row in ended:
        ledger.settle(row.recorded, ObjectState.GONE, "its private namespace has ended")
    return ended
