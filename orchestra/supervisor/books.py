"""What the run looks like from outside: its rows in the ledger and its answer to `ps`.

A ledger that cannot be written (a full disk) must not end a run: it is said once in the log, what was not written is
kept, and writing is tried again.
"""

from __future__ import annotations

import time
from typing import Any

from orchestra.errors import LedgerError
from orchestra.kernel.procfs import start_time
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ProcessRow, RunRow
from orchestra.supervisor.states import FINAL, Phase, Replica, Who
from orchestra.supervisor.teardown import Say

_OVER = FINAL | {Phase.BACKOFF, Phase.PENDING}


class Books:
    """The rows of one run. `say` writes an event to the log."""

    def __init__(self, ledger: Ledger, run: RunRow, say: Say) -> None:
        self.ledger, self.run, self._say = ledger, run, say
        self._lines: dict[Who, _Line] = {}
        self._dirty: dict[Who, None] = {}
        self._late: dict[Who, _Line] = {}  # dropped before their last row was written
        self._changes: dict[str, Any] = {}
        self._broken = False

    def note(self, who: Who, replica: Replica) -> None:
        """Take the new state of a replica; written by the next `flush`."""
        line = self._lines.get(who)
        if line is None:
            line = self._lines[who] = _Line(replica)
        line.take(replica)
        self._dirty[who] = None

    def drop(self, who: Who) -> None:
        """Show a replica no more: it has no place in the run any longer. Its row stays in the ledger."""
        line = self._lines.pop(who, None)
        if line is not None and self._dirty.pop(who, False) is None:
            self._late[who] = line

    def change(self, **changes: Any) -> None:
        """Take changes of the run itself; written by the next `flush`."""
        self.run = self.run._replace(**changes)
        self._changes.update(changes)

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._dirty or self._late or self._changes)

    def flush(self, *, processes: bool = True) -> bool:
        """Write what waits, in one transaction; False when the ledger refuses. Never raises LedgerError.

        Without `processes` only what is known of the run itself: that is quick, for somebody waits.
        """
        if not self.is_behind:
            return True
        try:
            with self.ledger.transaction():
                if processes and (self._dirty or self._late):
                    lines = {**self._late, **{who: self._lines[who] for who in self._dirty}}
                    self.ledger.record_processes([self._row(who, line) for who, line in lines.items()])
                self.ledger.update_run(self.run.run, **self._changes)
        except LedgerError as err:
            if not self._broken:
                self._say("ledger.unwritable", reason=err.problem)
            self._broken = True
            return False
        self._broken = False
        self._changes.clear()
        if processes:
            self._dirty.clear()
            self._late.clear()
        return True

    def processes(self) -> list[dict[str, Any]]:
        """Return the rows of `ps`: processes in the order in which they came, replicas by their number."""
        shown = ("replica", "pid", "state", "exit_code", "signal", "restarts", "started_at", "ended_at", "reason")
        order = {name: place for place, name in enumerate(dict.fromkeys(who.process for who in self._lines))}
        lines = sorted(self._lines.items(), key=lambda item: (order[item[0].process], item[0].replica))
        rows = [self._row(who, line)._asdict() for who, line in lines]
        return [{"name": row["process"], **{key: row[key] for key in shown}} for row in rows]

    def _row(self, who: Who, line: _Line) -> ProcessRow:
        replica = line.replica
        if replica.pid is not None and line.start_time is None and line.ended_at is None:
            line.start_time = start_time(replica.pid)  # as late as this, so that no launch waits for /proc
        code, by_signal = replica.end or (None, None)
        return ProcessRow(
            self.run.run, who.process, who.replica, replica.phase.value, replica.pid, line.start_time, code, by_signal,
            replica.restarts, line.started_at, line.ended_at, replica.reason,
        )  # fmt: skip


class _Line:
    """What a row says beyond the state of its replica, of its latest incarnation. Times are seconds since the epoch;
    `start_time` is in ticks.
    """

    __slots__ = ("ended_at", "pid", "replica", "start_time", "started_at")

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.pid: int | None = None
        self.start_time: int | None = None
        self.started_at: float | None = None
        self.ended_at: float | None = None

    def take(self, replica: Replica) -> None:
        """Take a new state; another pid is another incarnation."""
        self.replica = replica
        if replica.pid != self.pid:
            self.pid, self.start_time, self.ended_at = replica.pid, None, None
            self.started_at = None if replica.pid is None else time.time()
        elif replica.phase in _OVER and self.started_at is not None and self.ended_at is None:
            self.ended_at = time.time()
