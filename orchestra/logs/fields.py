"""What each field of an event means, for the reference page. Pure data.

A meaning is that of every event with such a field, unless there is one for `event:field`. Apart from the catalogue,
which the supervisor loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orchestra.logs.catalogue import EVENTS, TOP_FIELDS

MEANINGS: Final[Mapping[str, str]] = {
    "before": "how many replicas there were",
    "by": "who asked: a command, a signal",
    "bytes": "how many bytes",
    "command": "command line of the process, as the kernel has it",
    "process.stopping:command": "true where a stop command was started instead of a signal",
    "conditions": "what is waited for, one text each",
    "delay": "seconds until then",
    "detail": "the call that failed, and its error",
    "errno": "symbol of the error: `ENOENT`, `EACCES`",
    "escalate": "what that means for the run: `stop-all`, `stop-dependants`, `ignore`",
    "exit_code": "exit status, where it exited",
    "run.ended:exit_code": "exit status of `orchestra up`",
    "failed": "processes that failed",
    "family": "`posix`, `sysv`, `file`, `memfd`, `anonymous`, `fifo`",
    "file": "absolute path of the topology file",
    "log.dropped:file": "name of the file in the run's folder",
    "grace": "seconds until SIGKILL",
    "hint": "what may help, where there is something",
    "id": "System V identifier",
    "instance": "name of the instance",
    "kind": "`queue`, `segment`, `semaphore`, `pipe`",
    "leak": "true where all objects are to be left behind",
    "left": "what is left of its session, one text a process",
    "library": "file name of the library",
    "lines": "how many lines",
    "module": "name of the Python module",
    "name": "POSIX name, or path",
    "object": "key of the object in the topology",
    "path": "the path that the call was about",
    "pid": "process id",
    "process": "name of the process in the topology",
    "reason": "why, in words for people",
    "action": "what became of it: `reported`, `removed`, or `left` where nothing proves whose it is",
    "evidence": "how we know, in words for people",
    "replica": "number of the replica, from 1",
    "replicas": "how many replicas there are to be",
    "restarted": "processes that start again, changed",
    "restarts": "how many times it was started again, this one included",
    "seconds": "how long, in seconds",
    "signal": "name of the signal: `SIGTERM`",
    "stage": "`descriptors`, `chdir`, `credentials`, `exec` and others",
    "state": "`down`, `failed` or `crashed`",
    "status": "the text",
    "stopping": "processes that are stopped",
    "stream": "`stdout` or `stderr`",
    "traceback": "what Python printed about it",
    "topology": "`name` of the topology",
}


def meaning_of(event: str, field: str) -> str:
    """Return the meaning of a field. Raises LookupError for one that has none."""
    found = MEANINGS.get(f"{event}:{field}") or MEANINGS.get(field)
    if found is None:
        raise LookupError(f"what does {field} of {event} mean? Say it in orchestra.logs.fields.MEANINGS")
    return found


def markdown() -> str:
    """Return the reference of all events as a MyST page body: one section an event, in the order of the table."""
    return "\n\n".join(map(section, EVENTS)) + "\n"


def section(name: str) -> str:
    """Return what the reference says about one event."""
    event = EVENTS[name]
    text = f"## `{name}`\n\n{event.about}\n\n- level: `{event.level}`\n- message: `{event.message}`"
    rows = [_row(name, field, kind) for field, kind in event.fields.items()]
    return text + "\n\n" + "\n".join(["| field | type | meaning |", "|---|---|---|", *rows]) if rows else text


def _row(event: str, field: str, kind: str) -> str:
    name = field.rstrip("?")
    place = name if name in TOP_FIELDS else f"data.{name}"
    return f"| `{place}` | {kind}{', may be missing' if field.endswith('?') else ''} | {meaning_of(event, name)} |"
