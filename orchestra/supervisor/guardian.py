"""The guardian: parent of the supervisor, and what outlives it.

It takes the instance's lock, finishes what an earlier run of that instance left, announces the new run in the ledger
and forks the supervisor. Then it sleeps until the supervisor ends. If that end was not in order it kills every
descendant: as a subreaper it inherits them all, also those that forked twice or began a session of their own.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from orchestra.errors import Conflict, LedgerError, OrchestraError, StateError
from orchestra.kernel.host import boot_id
from orchestra.kernel.process import children, send_signal, set_comm, set_subreaper, start_time
from orchestra.kernel.procfs import command_of
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RunRow
from orchestra.logs.encode import GUARDIAN, event_record, how_it_ended
from orchestra.logs.sink import append_records
from orchestra.objects import boxes
from orchestra.runplan import RunPlan
from orchestra.statedir import StateDir, new_token, take_lock
from orchestra.supervisor import aftermath, box
from orchestra.supervisor.channel import Channel
from orchestra.supervisor.loop import Job, supervise
from orchestra.supervisor.signals import STOP_SIGNALS, signal_name

PATIENCE = 10.0  # seconds to wait for processes that were sent SIGKILL
_KEPT_FDS = 3  # stdin, stdout, stderr


def main(fd: int) -> NoReturn:
    """Be the guardian of the run that comes through the channel `fd`; never returns.

    Without a plan (the other side closed: the file was invalid) nothing happens at all.
    """
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by our caller, it would hide how children end
        _detach(fd)
        channel = Channel.from_fd(fd)
        set_comm("orchestra-guard")
        set_subreaper()
        code = _serve(channel)
    except BaseException:  # noqa: BLE001 this process must not return into the code that forked it
        _print_defect()
    finally:
        os._exit(code)


def _print_defect() -> None:
    """Write the traceback of a defect of ours to where stderr goes now."""
    with contextlib.suppress(Exception):
        import traceback

        traceback.print_exc()


def _detach(channel: int) -> None:
    """Leave the terminal and everything else that was inherited: a pipeline must not wait for us."""
    with contextlib.suppress(OSError):  # a group leader cannot; it is alone in its group already
        os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(_KEPT_FDS):
        os.dup2(null, fd)
    for fd in {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, channel}:
        with contextlib.suppress(OSError):
            os.close(fd)


def _serve(channel: Channel) -> int:
    order = _first_message(channel)
    if order is None:
        return 0
    try:
        job, lock = _accept(order, channel)
    except OrchestraError as err:
        channel.send({"event": "error", "error": err.to_wire(), "exit_code": err.exit_code})
        return err.exit_code
    defects = job.places.run_folder(job.run.run) / "stderr.txt"
    _errors_to(defects)
    code = _guard(job, channel)
    with contextlib.suppress(OSError):
        if defects.stat().st_size == 0:
            defects.unlink()
    os.close(lock)
    return code


def _first_message(channel: Channel) -> dict[str, Any] | None:
    """Wait for the plan; None when the other side went away without one."""
    while True:
        messages, ended = channel.receive(wait=True)
        for index, message in enumerate(messages):
            if message is not None and message.get("op") == "run":
                channel.unread(messages[index + 1 :])  # a Ctrl-C that came at once
                return message
        if ended:
            return None


def _accept(order: dict[str, Any], channel: Channel) -> tuple[Job, int]:
    """Take the lock and put the run on record; nothing of it exists before. Raises OrchestraError."""
    try:
        plan = RunPlan.from_json(json.dumps(order["plan"]))
    except (KeyError, TypeError, ValueError) as err:
        raise OrchestraError("the plan of the run cannot be read", detail=repr(err)) from err
    places = StateDir(Path(order["home"]), Path(order["runtime"]))
    places.create()
    lock = take_lock(places.lock(plan.instance))
    if lock is None:
        raise _conflict(places, plan)
    with Ledger.open(places.ledger) as ledger:
        _finish_older(ledger, plan.instance, channel)
        run = new_token()
        folder = places.create_run(run)
        _write_private(folder / "plan.json", json.dumps(order["plan"], indent=1))
        row = _row(plan, run, places, order)
        ledger.begin_run(row)
        if plan.isolation == "private":
            row = _isolate(ledger, row, plan, places)
    channel.send({"event": "accepted", "run": run, "log": row.log})
    job = Job(
        row, plan, places, row.detached, row.leak, hold=bool(order.get("hold")), wait=bool(order.get("wait")),
        recreate=bool(order.get("recreate")), stdin=channel.descriptors.pop(0) if channel.descriptors else None,
    )  # fmt: skip
    return job, lock


def _isolate(ledger: Ledger, row: RunRow, plan: RunPlan, places: StateDir) -> RunRow:
    """Return the row of a run that has a private namespace now. Raises OrchestraError; then the run has failed."""
    try:
        return box.prepare(ledger, row, plan, places)
    except OrchestraError as err:
        ledger.update_run(row.run, state="failed", ended_at=time.time(), exit_code=err.exit_code, finished=True)
        raise


def _row(plan: RunPlan, run: str, places: StateDir, order: dict[str, Any]) -> RunRow:
    pid = os.getpid()
    return RunRow(
        run, plan.instance, plan.topology, plan.file, plan.folder, "starting", time.time(), boot_id(), os.getuid(),
        guardian_pid=pid, guardian_start=start_time(pid), log=os.fspath(places.log(run)),
        detached=bool(order.get("detach")), leak=bool(order.get("leak")),
    )  # fmt: skip


def _conflict(places: StateDir, plan: RunPlan) -> Conflict:
    """Return the error for an instance that somebody else has, with what the ledger knows of it."""
    known = None
    with contextlib.suppress(LedgerError), Ledger.open(places.ledger, create=False) as ledger:
        known = ledger.newest_run(plan.instance)
    detail = ""
    if known is not None and known.ended_at is None:  # else another one is being announced at this moment
        detail = f"run {known.run} of {known.file}, process {known.supervisor_pid or known.guardian_pid}"
    edited = "`up -d` brings in what was edited; " if known is not None and known.file == plan.file else ""
    hint = f"{edited}`orchestra down {plan.instance}` stops it; `-n NAME` starts another instance."
    return Conflict(f"{plan.instance} is already up", detail=detail, hint=hint)


def _finish_older(ledger: Ledger, instance: str, channel: Channel) -> None:
    """Finish runs of this instance that crashed, or ended detached. The lock is ours, so none of them lives."""
    for row in ledger.runs(instance=instance):
        if not row.finished:
            done = aftermath.finish(ledger, row)
            channel.send(
                {"event": "finished", "run": row.run, "survivors": done.survivors, "removed": done.teardown.removed}
            )


def _write_private(path: Path, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as err:
        raise StateError(f"cannot write {path}: {err.strerror}") from err


def _errors_to(path: Path) -> None:
    """Send what Python itself has to say about a defect of ours to a file of the run."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.dup2(fd, 2)
        os.close(fd)


def _guard(job: Job, channel: Channel) -> int:
    """Fork the supervisor and wait for its end; see that nothing is left of the run. Returns the exit code."""
    gc.freeze()  # a collection would touch, and so copy, every page that the two could share
    myself = os.pidfd_open(os.getpid())
    will, testament = os.pipe2(os.O_CLOEXEC)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # until both of us know what to do with them
    supervisor = os.fork()
    if supervisor == 0:
        os.close(will)
        _be_supervisor(job, channel, myself, testament)
    os.close(testament)
    os.close(myself)
    forward = _forwarder(os.pidfd_open(supervisor))
    for number in STOP_SIGNALS:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    found = os.waitid(os.P_PID, supervisor, os.WEXITED)
    assert found is not None
    in_order = bool(os.read(will, 1))
    spared = frozenset() if job.run.box_pid is None else frozenset({job.run.box_pid})
    killed = end_descendants(PATIENCE, spared)
    if in_order:
        return found.si_status
    by_signal = None if found.si_code == os.CLD_EXITED else signal_name(found.si_status)
    code = found.si_status if by_signal is None else None
    _report_death(job, supervisor, code, by_signal, killed)
    channel.send(
        {
            "event": "ended", "exit_code": 1, "state": "crashed", "failed": [], "stopped_by": None, "objects_left": [],
            "reason": f"the supervisor {how_it_ended(code, by_signal)}",
        }
    )  # fmt: skip
    return 1


def _be_supervisor(job: Job, channel: Channel, guardian: int, testament: int) -> NoReturn:
    code = 1
    try:
        boxes.enter(job.run)
        code = supervise(job, channel, guardian)
        _seal(testament)
    except OrchestraError as err:  # before the first object: ledger or log cannot be opened
        channel.send({"event": "error", "error": err.to_wire(), "exit_code": err.exit_code})
        code = err.exit_code
        with contextlib.suppress(LedgerError), Ledger.open(job.places.ledger) as ledger:
            boxes.release(ledger, job.run)
            ledger.update_run(job.run.run, state="failed", ended_at=time.time(), exit_code=code, finished=True)
        _seal(testament)
    except BaseException:  # noqa: BLE001 a defect of ours: the guardian takes over
        _print_defect()
    finally:
        os._exit(code)


def _seal(testament: int) -> None:
    """Tell the guardian that the run ended in order; it may be dead."""
    with contextlib.suppress(BrokenPipeError):
        os.write(testament, b".")


def _forwarder(supervisor: int) -> Any:
    """Return a signal handler that passes everything on to the process behind a pidfd, as long as it lives."""

    def forward(number: int, _frame: FrameType | None) -> None:
        send_signal(supervisor, number)

    return forward


def end_descendants(patience: float, spared: frozenset[int] = frozenset()) -> list[tuple[int, str]]:
    """SIGKILL and reap everything below this process, which is a subreaper; return (pid, command) of each.

    Children in `spared` live on.

    Only direct children are signalled: until we reap one its number is its own, and what it leaves behind becomes a
    direct child before we learn of its end. Processes that SIGKILL cannot end are given up after `patience` seconds.
    """
    killed: dict[int, str] = {}
    deadline = time.monotonic() + patience
    while True:
        _reap()
        alive = [pid for pid in children(os.getpid()) if pid not in spared]
        if not alive or time.monotonic() > deadline:
            return list(killed.items())
        poll = select.poll()
        fds = []
        for pid in alive:
            killed.setdefault(pid, command_of(pid))
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                fds.append(os.pidfd_open(pid))
                poll.register(fds[-1], select.POLLIN)
        poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        for fd in fds:
            os.close(fd)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is not None:
            pass


def _report_death(job: Job, pid: int, code: int | None, by_signal: str | None, killed: list[tuple[int, str]]) -> None:
    """Put the supervisor's death on record: log and ledger."""
    run = job.run.run
    lines = [event_record("supervisor.died", run=run, logger=GUARDIAN, pid=pid, exit_code=code, signal=by_signal)]
    lines += [
        event_record("descendant.killed", run=run, logger=GUARDIAN, pid=child, command=command)
        for child, command in killed
    ]
    lines.append(event_record("run.ended", run=run, logger=GUARDIAN, state="crashed", exit_code=1))
    append_records(job.run.log, b"".join(lines))
    with contextlib.suppress(LedgerError), Ledger.open(job.places.ledger) as ledger:
        aftermath.mark_crashed(ledger, run, f"the supervisor {how_it_ended(code, by_signal)}")
