"""Finish a run whose supervisor is gone: end what survived, do what `on_down` says, and say so on record.

Whoever calls holds the instance's lock, so no supervisor of that instance lives. A survivor is a process that the
ledger names by pid and start time, one that carries the run in its environment, or a descendant of either. Everybody
is signalled through a pidfd that was checked after it was opened; we and our own ancestors are never among them.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orchestra.errors import KernelError
from orchestra.kernel.host import boot_id
from orchestra.kernel.process import descendants, has_exited, open_process, send_signal
from orchestra.kernel.procfs import environ_of, pids, process_stat, start_time
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RUNNING_STATES, RunRow
from orchestra.logs.encode import event_record
from orchestra.logs.sink import append_records
from orchestra.objects import boxes
from orchestra.supervisor import teardown
from orchestra.supervisor.states import FINAL

GRACE = 2.0  # seconds between SIGTERM and SIGKILL
PATIENCE = 10.0  # seconds after SIGKILL; what is still there then is named, and left
_FINAL_WORDS = frozenset(phase.value for phase in FINAL)


@dataclass(frozen=True, slots=True)
class Finished:
    """What finishing came to: pids that were ended, pids that could not be, and the objects."""

    survivors: list[int]
    stuck: list[int]
    teardown: teardown.Result

    @property
    def complete(self) -> bool:
        """Whether nothing of the run is left but what was kept on purpose."""
        return self.teardown.complete and not self.stuck


def finish(ledger: Ledger, run: RunRow, *, leak: bool = False, say: teardown.Say | None = None) -> Finished:
    """End the survivors of `run`, apply `on_down` and mark it finished. Raises LedgerError.

    A run that was still going when its supervisor died counts as crashed, and so as failed for keep-on-failure.
    `say` is told every event with its run; without it they go to the log of the run.
    """
    if run.state in RUNNING_STATES:
        mark_crashed(ledger, run.run, "its supervisor was killed")
        run = run._replace(state="crashed")
    tell = partial(say or _append_to(run.log), run=run.run)
    ended, stuck = _end_survivors(ledger, run, tell) if run.boot_id == boot_id() else ([], [])
    result = _tear_down(ledger, run, leak=leak or run.leak, say=tell)
    if result.finished and not stuck:
        boxes.release(ledger, run)
        _remove_sockets(run)
        ledger.update_run(run.run, finished=True)
    return Finished(ended, stuck, result)


def _tear_down(ledger: Ledger, run: RunRow, *, leak: bool, say: teardown.Say) -> teardown.Result:
    """Do what `on_down` says, where the objects are: an isolated run has a namespace of its own."""
    failed = run.state in ("failed", "crashed")

    def inside() -> teardown.Result:
        with Ledger.open(ledger.path) as own:  # a connection must not cross a fork
            return teardown.apply_on_down(own, run.run, failed=failed, leak=leak, say=say)

    if boxes.box_of(run) is not None:
        try:
            return boxes.within(run, inside)
        except KernelError:
            if boxes.box_of(run) is not None:
                raise
            # else it was ending while we looked: whoever was killed had told it to
    for row in boxes.settle_ended(ledger, run):
        say("object.gone", **teardown.describe(row))
    return teardown.apply_on_down(ledger, run.run, failed=failed, leak=leak, say=say)


def _remove_sockets(run: RunRow) -> None:
    """Remove the files of sockets that nobody listens to any more: the control socket, and those for notifying."""
    folder = Path(run.log).parent
    for path in [*([Path(run.socket)] if run.socket else []), *folder.glob("notify.*")]:
        with contextlib.suppress(OSError):
            if path.is_socket():
                path.unlink()


def _append_to(log: str) -> teardown.Say:
    def say(event: str, **fields: Any) -> None:
        append_records(log, event_record(event, **fields))

    return say


def mark_crashed(ledger: Ledger, run: str, why: str) -> None:
    """Record that a run ended without its supervisor, and with it every process that was not known to have ended."""
    now = time.time()
    rows = [
        row._replace(state="failed", ended_at=now, reason=row.reason or why)
        for row in ledger.processes(run)
        if row.state not in _FINAL_WORDS
    ]
    with ledger.transaction():
        ledger.record_processes(rows)
        ledger.update_run(run, state="crashed", ended_at=now, exit_code=1)


def _end_survivors(ledger: Ledger, run: RunRow, say: teardown.Say) -> tuple[list[int], list[int]]:
    """SIGTERM, a grace, SIGKILL; return the pids that ended and those that did not."""
    recorded = {row.pid: row.start_time for row in ledger.processes(run.run) if row.pid and row.start_time}
    seen: dict[int, int] = {}  # pid -> last signal it was sent
    start = time.monotonic()
    while True:
        waited = time.monotonic() - start
        number = signal.SIGTERM if waited < GRACE else signal.SIGKILL
        until = GRACE if waited < GRACE else GRACE + PATIENCE
        with ExitStack() as stack:
            alive = _survivors(run.run, recorded, stack)
            if not alive or waited > GRACE + PATIENCE:
                return [pid for pid in seen if pid not in alive], list(alive)
            for pid, fd in alive.items():
                if seen.get(pid) != number:
                    if pid not in seen:
                        stat = process_stat(pid)
                        say("descendant.killed", pid=pid, command=stat.command if stat else "")
                    seen[pid] = number
                    _send(fd, number)
            _wait_for_any(alive.values(), until - waited)


def _survivors(run: str, recorded: dict[int, int], stack: ExitStack) -> dict[int, int]:
    """Return living processes of the run as pid -> pidfd, which `stack` closes."""
    found = {pid for pid, started in recorded.items() if start_time(pid) == started}
    found.update(pid for pid in pids() if (environ_of(pid) or {}).get("ORCHESTRA_RUN") == run)
    found.update(child for pid in list(found) for child in descendants(pid))
    alive = {}
    for pid in found - _ourselves():
        fd = open_process(pid, start_time(pid))
        if fd is None:
            continue
        stack.callback(os.close, fd)
        if not has_exited(fd):
            alive[pid] = fd
    return alive


def _ourselves() -> set[int]:
    """This process and its ancestors: a shell that was started inside the run may be the one that calls."""
    found = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        stat = process_stat(pid)
        pid = stat.parent if stat else 0
    return found


def _send(fd: int, number: int) -> None:
    try:
        send_signal(fd, number)
    except PermissionError:
        return  # it changed its user; it will be named as stuck


def _wait_for_any(fds: Iterable[int], seconds: float) -> None:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    poll.poll(max(1.0, seconds * 1000))
