"""How a run ended, gathered from what the supervisor said last, the ledger and the log, for the closing summary."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from orchestra.errors import OrchestraError
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RUNNING_STATES, ObjectRow, ObjectState, ProcessRow, RunRow
from orchestra.logs.query import Filter, records
from orchestra.objects import ref_of
from orchestra.statedir import StateDir
from orchestra.views.summary import Ending

_SIGNALS = frozenset(item.name for item in signal.Signals)
_STOPS = ("process.stopping", "process.killed")


def ending_of(places: StateDir, run: str, told: Mapping[str, Any] | None, *, now: float) -> Ending | None:
    """Return what there is to say about a run; `told` is the supervisor's `ended` message, if it came that far."""
    try:
        with Ledger.open(places.ledger, create=False) as ledger:
            row = ledger.run(run)
            processes, objects = ledger.processes(run), ledger.objects(run=run)
    except OrchestraError:  # the ledger is beyond reading: the supervisor's words are all there is
        return None
    if row is None:
        return None
    label = _labels(processes)
    failed = [(label(f["process"], f["replica"]), _first_line(f["reason"])) for f in _failures(told)]
    if not failed:
        failed = [(label(p.process, p.replica), _first_line(p.reason)) for p in processes if p.state == "failed"]
    return Ending(
        instance=row.instance,
        run=run,
        state=_state(row, told),
        seconds=(row.ended_at or now) - row.started_at,
        stopped_by=told["stopped_by"] if told else None,
        failed=failed,
        skipped=[(label(p.process, p.replica), p.reason) for p in processes if p.state == "skipped"],
        stopped=_stopped(row, label),
        kept=[(o.key, f"{ref_of(o)}, {o.why}") for o in objects if o.state is ObjectState.KEPT],
        left=_left(objects, told),
        diagnosis=_diagnosis(places, run),
        hints=told.get("hints", ()) if told else (),
        lines_lost=int(told.get("lines_lost", 0)) if told else 0,
        undeclared=_undeclared(told),
    )


def exit_code_of(places: StateDir, run: str, process: str) -> int | None:
    """Return the exit code of a process, 128 + n for a signal; of several replicas the first that is not 0.

    None when it never ran, or nothing is on record.
    """
    try:
        with Ledger.open(places.ledger, create=False) as ledger:
            rows = [row for row in ledger.processes(run) if row.process == process]
    except OrchestraError:
        return None
    codes = [128 + signal.Signals[row.signal] if row.signal in _SIGNALS else row.exit_code for row in rows]
    known = [code for code in codes if code is not None]
    return next((code for code in known if code), known[0] if known else None)


def _failures(told: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [failure for failure in told["failed"] if failure["process"]] if told else []


def _undeclared(told: Mapping[str, Any] | None) -> list[str]:
    """Return the failures that are no process's."""
    return [_first_line(failure["reason"]) for failure in told["failed"] if not failure["process"]] if told else []


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _state(row: RunRow, told: Mapping[str, Any] | None) -> str:
    if told is not None:
        return str(told["state"])
    return "crashed" if row.state in RUNNING_STATES else row.state


def _labels(processes: Iterable[ProcessRow]) -> Any:
    """Return a function that names a replica as `logs` takes it; the number only where there are several."""
    replicas = Counter(row.process for row in processes)
    return lambda process, replica: f"{process}.{replica}" if replicas[process] > 1 else process


def _stopped(row: RunRow, label: Any) -> list[str]:
    """Return who was stopped by us, each once: the log says it exactly."""
    try:
        found = list(records(row.log, Filter(events=_STOPS)))
    except OrchestraError:
        return []
    return list(dict.fromkeys(label(record["process"], record.get("replica", 1)) for record in found))


def _left(objects: Iterable[ObjectRow], told: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if told is not None:
        return [(item["object"], item["why"]) for item in told["objects_left"] if not item["kept"]]
    return [(o.key, f"{ref_of(o)}, the run did not get to it") for o in objects if o.state is ObjectState.LIVE]


def _diagnosis(places: StateDir, run: str) -> str:
    """Return the file into which guardian and supervisor write what should never happen, if there is anything."""
    path = places.run_folder(run) / "stderr.txt"
    try:
        return str(path) if path.stat().st_size else ""
    except OSError:
        return ""
