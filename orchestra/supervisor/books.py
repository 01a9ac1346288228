"""What the run looks like from outside: its rows in the ledger and its answer to `ps`.

A ledger that cannot be written (a full disk) must not end a run: it is said once in the log, what was not written is
kept, and writing is tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from orchestra.errors import LedgerError
from orchestra.kernel.procfs import start_time
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ProcessRow, RunRow
from orchestra.supervisor.states import FINAL, Phase, Replica, Who

Say = Callable[..., None]  # say(event, **fields)


class Books:
    """The rows of one run. `say` writes an event to the log."""

    def __init__(self, ledger: Ledger, run: RunRow, say: Say) -> None:
        self.ledger, self.run, self._say = ledger, run, say
        self._rows: dict[Who, ProcessRow] = {}
        self._dirty: dict[Who, None] = {}
        self._changes: dict[str, Any] = {}
        self._broken = False

    def note(self, who: Who, replica: Replica) -> None:
        """Take the new state of a replica; written by the next `flush`."""
        row = self._rows.get(who) or ProcessRow(self.run.run, who.process, who.replica, replica.phase.value)
        now = time.time()
        started = row.started_at if replica.pid is None or row.started_at is not None else now
        ended = now if replica.phase in FINAL and replica.phase is not Phase.SKIPPED and started else row.ended_at
        self._rows[who] = replace(
            row,
            state=replica.phase.value,
            pid=replica.pid,
            exit_code=None if replica.end is None else replica.end.code,
            signal=None if replica.end is None else replica.end.signal,
            started_at=started,
            ended_at=ended,
            reason=replica.reason,
        )
        self._dirty[who] = None

    def change(self, **changes: Any) -> None:
        """Take changes of the run itself; written by the next `flush`."""
        self.run = replace(self.run, **changes)
        self._changes.update(changes)

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._dirty or self._changes)

    def flush(self) -> bool:
        """Write what waits, in one transaction; False when the ledger refuses. Never raises LedgerError."""
        if not self.is_behind:
            return True
        for who in self._dirty:  # read as late as this, so that a launch does not wait for /proc
            row = self._rows[who]
            if row.pid is not None and row.start_time is None and row.ended_at is None:
                self._rows[who] = replace(row, start_time=start_time(row.pid))
        try:
            with self.ledger.transaction():
                self.ledger.record_processes([self._rows[who] for who in self._dirty])
                self.ledger.update_run(self.run.run, **self._changes)
        except LedgerError as err:
            if not self._broken:
                self._say("ledger.unwritable", reason=str(err))
            self._broken = True
            return False
        self._broken = False
        self._dirty.clear()
        self._changes.clear()
        return True

    def processes(self) -> list[dict[str, Any]]:
        """Return the rows of `ps`, in the order of the file."""
        return [_answer(row) for row in self._rows.values()]


def _answer(row: ProcessRow) -> dict[str, Any]:
    shown = asdict(row)
    return {
        "name": row.process,
        **{
            key: shown[key]
            for key in (
                "replica",
                "pid",
                "state",
                "exit_code",
                "signal",
                "restarts",
                "started_at",
                "ended_at",
                "reason",
            )
        },
    }
