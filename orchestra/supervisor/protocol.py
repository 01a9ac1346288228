"""The words of the control protocol, version 1: one table from which requests are checked and the reference is made.

Pure data and the check of it. What the operations do is in `requests`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from orchestra.errors import UsageError

VERSION: Final = 1
LINE_MAX: Final = 16 * 1024 * 1024  # bytes of a request: a plan is as long as its file, and carries the environment
CONDITIONS: Final = ("started", "ready", "completed", "exited")


class Field(NamedTuple):
    """One key of a request. `kind` is a row of KINDS."""

    kind: str
    about: str
    required: bool = False


class Operation(NamedTuple):
    """One operation: what it does, what it takes, what it answers at once and (`later`) in the end."""

    about: str
    fields: Mapping[str, Field]
    answer: str
    later: str = ""


class _Kind(NamedTuple):
    words: str
    fits: Callable[[Any], bool]


def _is_seconds(value: Any) -> bool:  # JSON as Python reads it knows NaN and Infinity
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_count_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(n, int) and not isinstance(n, bool) for n in value.values())


def _is_text_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


KINDS: Final[Mapping[str, _Kind]] = {
    "boolean": _Kind("true or false", lambda value: isinstance(value, bool)),
    "seconds": _Kind("a number of seconds", _is_seconds),
    "text": _Kind("text", lambda value: isinstance(value, str)),
    "targets": _Kind("a list of NAME and NAME.REPLICA", _is_list_of_text),
    "names": _Kind("a list of names", _is_list_of_text),
    "counts": _Kind("numbers by name", _is_count_by_name),
    "accesses": _Kind("read, write or read-write by name", _is_text_by_name),
    "object": _Kind("a JSON object", lambda value: isinstance(value, dict)),
    "condition": _Kind(f"one of {', '.join(CONDITIONS)}", lambda value: value in CONDITIONS),
}

_TARGETS = Field("targets", "Which processes, or which of their replicas. Left out: all of the run.")
_PATIENCE = Field("seconds", "When to answer at the latest: what is not there yet is a `timeout`, and goes on.")
_RESULTS = "`done`, `results`: [`name`, `replica`, `result`, `state`, `pid`, `exit_code`, `signal`, `reason`]"

OPERATIONS: Final[Mapping[str, Operation]] = {
    "state": Operation(
        "What the run looks like now.",
        MappingProxyType({}),
        "`instance`, `run`, `state`, `pid` (of the supervisor), `guardian`, `topology`, `file`, `log`, `detached`, "
        "`started_at`, `processes`: as in `ps`, and `reason`",
    ),
    "stop": Operation(
        "End the run: stop everything in order, then do what `on_down` says.",
        {
            "leak": Field("boolean", "Leave every object behind, on purpose and on record."),
            "timeout": Field("seconds", "When to kill what is left."),
        },
        "`accepted`",
        "`ended`, `exit_code`, `state`, `objects_left`, `processes_left`: [`pid`, `command`] that could not be ended",
    ),
    "stop-processes": Operation(
        "Stop processes; those that depend on them go on, and so does the run.",
        {"targets": _TARGETS, "timeout": _PATIENCE},
        "`accepted`",
        _RESULTS,
    ),
    "start": Operation(
        "Start processes that do not live, and what they depend on.",
        {"targets": _TARGETS, "timeout": _PATIENCE},
        "`accepted`",
        f"{_RESULTS}; ok once ready, or completed",
    ),
    "restart": Operation(
        "Stop processes and start them again, with those that depend on them with `restart: true`.",
        {"targets": _TARGETS, "timeout": _PATIENCE},
        "`accepted`",
        f"{_RESULTS}; ok once ready, or completed",
    ),
    "scale": Operation(
        "Change how many replicas processes have. The highest numbers go first.",
        {"replicas": Field("counts", "How many, by process.", required=True), "timeout": _PATIENCE},
        "`accepted`",
        _RESULTS,
    ),
    "signal": Operation(
        "Send a signal to the main process of each replica that lives.",
        {"signal": Field("text", "Its name, as SIGUSR1.", required=True), "targets": _TARGETS},
        _RESULTS,
    ),
    "wait": Operation(
        "Wait until a condition holds for every target, or never can.",
        {
            "targets": _TARGETS,
            "for": Field("condition", "The condition; default exited."),
            "timeout": _PATIENCE,
        },
        "`accepted`",
        f"{_RESULTS}; without `targets` and for `exited`: `ended` and what `stop` says then",
    ),
    "change": Operation(
        "Compare the run with a new plan and make it so.",
        {
            "plan": Field("object", "The plan, as plan.json in the folder of the run has it.", required=True),
            "only": Field("names", "Only these processes, what they depend on and what they use; they are started."),
            "recreate": Field("boolean", "Make objects anew whose shape is another one now."),
            "leak": Field("boolean", "Leave every object behind when the run ends."),
            "dry_run": Field("boolean", "Only compare."),
            "timeout": _PATIENCE,
        },
        "`difference`: [`action`, `object`, `process`, `detail`], and `accepted` unless nothing differs or `dry_run`",
        _RESULTS,
    ),
    "wiring": Operation(
        "Hand over what a replica is started with, for a program that is to use the same objects.",
        {
            "target": Field("text", "NAME or NAME.REPLICA. Left out: nothing but what `uses` says."),
            "uses": Field("accesses", "Further objects, or another access to one."),
        },
        "`environment`, `directory`, `descriptors`: their names, `attributes`, `namespaces`: a pid or null. The "
        "descriptors themselves come with the answer, by SCM_RIGHTS, in the order of `descriptors`; they belong at 3, "
        "4, …, and LISTEN_PID in the environment must become the pid of the program",
    ),
}


def check(request: Any) -> str:
    """Return the operation of a request that may be carried out. Raises UsageError.

    Keys that an operation does not know are errors: who sends one means something by it.
    """
    if not isinstance(request, dict) or not {"v", "op"} <= request.keys():
        raise UsageError("a request is one JSON object with v and op")
    version, op = request["v"], request["op"]
    if version != VERSION:
        raise UsageError(f"this supervisor speaks version {VERSION}, not {version}")
    operation = OPERATIONS.get(op) if isinstance(op, str) else None
    if operation is None:
        raise UsageError(f"unknown request {op!r}", hint=f"Known: {', '.join(OPERATIONS)}.")
    for key, value in request.items():
        if key in ("v", "op"):
            continue
        field = operation.fields.get(key)
        if field is None:
            raise UsageError(f"{op} takes no {key!r}", hint=f"Known: {', '.join(operation.fields) or 'nothing'}.")
        if value is not None and not KINDS[field.kind].fits(value):
            raise UsageError(f"{key} is {KINDS[field.kind].words}")
    for key, field in operation.fields.items():
        if field.required and request.get(key) is None:
            raise UsageError(f"{op} needs {key!r}")
    return str(op)


def markdown() -> str:
    """Return the reference of all operations as a MyST page body, in the order of the table."""
    parts = []
    for name, operation in OPERATIONS.items():
        part = [f"## `{name}`", operation.about]
        if operation.fields:
            rows = [
                f"| `{key}` | {KINDS[field.kind].words}{', required' if field.required else ''} | {field.about} |"
                for key, field in operation.fields.items()
            ]
            part.append("\n".join(["| key | value | meaning |", "|---|---|---|", *rows]))
        part.append(f"Answer: {operation.answer}.")
        if operation.later:
            part.append(f"In the end: {operation.later}.")
        parts.append("\n\n".join(part))
    return "\n\n".join(parts) + "\n"
