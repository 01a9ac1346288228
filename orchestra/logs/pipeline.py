"""How commands log: through structlog, with the same events, the same encoder and the same look as the supervisor.

The supervisor itself never imports this module: structlog costs it memory and start-up for nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from orchestra.logs.encode import event_record
from orchestra.logs.records import record_of
from orchestra.logs.render import Renderer
from orchestra.logs.sink import append_records


def command_logger(
    command: str, *, locate: Callable[[str], Path] | None = None, stream: TextIO | None = None, shown: bool = True
) -> structlog.BoundLogger:
    """Return the logger of one command (`down`, `clean`, `up`).

    Each event must be one of the catalogue, which also sets its level: `log.info("object.removed", run=…, …)`. It is
    shown on `stream` (standard error by default), and appended to the log of its `run` where `locate(run)` is a file
    that exists. Not for a live run: there the supervisor is the one who writes. `shown=False` is for a command whose
    answer says the same already.
    """
    target = sys.stderr if stream is None else stream
    logger: structlog.BoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(target),
        processors=[_Encode(f"orchestra.{command}"), _Append(locate), _Show(Renderer.to(target)) if shown else _drop],
        wrapper_class=structlog.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return logger


class _Encode:
    """Event and fields → the encoded line, under `line`; `run` is passed on."""

    def __init__(self, logger: str) -> None:
        self._logger = logger

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        fields = dict(event)
        name = fields.pop("event")
        return {"line": event_record(name, logger=self._logger, **fields), "run": fields.get("run")}


class _Append:
    """Appends the line to the log of its run. A full disk there is no reason for a command to fail."""

    def __init__(self, locate: Callable[[str], Path] | None) -> None:
        self._locate = locate

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if self._locate is not None and event["run"] is not None:
            path = self._locate(event["run"])
            if path.exists():
                append_records(path, event["line"])
        return event


def _drop(_: WrappedLogger, __: str, ___: EventDict) -> EventDict:
    raise structlog.DropEvent


class _Show:
    """The encoded line → what a terminal shows; the last step, so a string."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> str:
        return self._renderer.render(record_of(event["line"]) or {}).rstrip("\n")
