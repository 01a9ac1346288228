"""Make the box of an isolated run: the process that holds its private namespace (see objects/boxes.py)."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from pathlib import Path
from typing import NoReturn

from orchestra.errors import KernelError, OrchestraError, UsageError, from_wire
from orchestra.kernel import namespaces
from orchestra.kernel.api import SHM_FOLDER
from orchestra.kernel.process import set_comm, start_time
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.objects.boxes import Box, box_of, holds_objects, release, widen
from orchestra.runplan import RunPlan
from orchestra.statedir import StateDir
from orchestra.supervisor.boxlimits import limits_for

_GO = b"."  # what a box is told once it is on record; the end of the pipe instead means that it never will be


def prepare(ledger: Ledger, run: RunRow, plan: RunPlan, places: StateDir) -> RunRow:
    """Give an isolated run its box and put that on record; return the row as it is then.

    A box in which this instance has kept objects is used again, its limits raised where need be. Raises
    PermissionRefused where the host allows no private namespaces, KernelError, UsageError when our own files would be
    hidden inside, LedgerError.
    """
    _refuse_hidden(places, plan)
    for older in reversed(ledger.runs(instance=run.instance)):
        box = box_of(older)
        if box is None:
            continue
        if holds_objects(ledger, older):
            widen(older, limits_for(plan.objects))
            ledger.update_run(run.run, box_pid=box.pid, box_start=box.start)
            return run._replace(box_pid=box.pid, box_start=box.start)
        if older.finished:
            release(ledger, older)  # whoever was to do it was killed
    box, go = _make(plan)
    try:
        ledger.update_run(run.run, box_pid=box.pid, box_start=box.start)
        os.write(go, _GO)
    finally:
        os.close(go)
    return run._replace(box_pid=box.pid, box_start=box.start)


def _refuse_hidden(places: StateDir, plan: RunPlan) -> None:
    elsewhere = "Set ORCHESTRA_HOME to a folder elsewhere."
    needed = [(places.home, elsewhere), (places.runtime, elsewhere), (Path(plan.folder), "Have the file elsewhere.")]
    for folder, hint in needed:
        if f"{os.path.realpath(folder)}/".startswith(f"{SHM_FOLDER}/"):
            raise UsageError(f"a private run has a {SHM_FOLDER} of its own, and would not see {folder}", hint=hint)


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
