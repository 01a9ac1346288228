"""Everything the machine can tell the loop to do. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestra.supervisor.events import Timer
from orchestra.supervisor.states import Who


@dataclass(frozen=True, slots=True)
class Spawn:
    """Launch a replica; answered by Started, LaunchFailed or Withheld."""

    who: Who


@dataclass(frozen=True, slots=True)
class Signal:
    """Send the stop signal to the replica's group, session and adopted descendants; to each member once."""

    who: Who
    signal: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Send SIGKILL to the same."""

    who: Who


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Answer with TimerFired after `seconds`; a timer of that name that still runs is replaced."""

    timer: Timer
    seconds: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget a timer, if it runs."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Log:
    """Write an event of the catalogue. A `signal` in `data` may be a number."""

    event: str
    who: Who | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """A replica changed: its row in the ledger is out of date."""

    who: Who


@dataclass(frozen=True, slots=True)
class Sweep:
    """End every descendant that is left (SIGTERM, or SIGKILL when `hard`); answered by Swept when none is."""

    hard: bool


@dataclass(frozen=True, slots=True)
class Finish:
    """All is over; the state says how."""


Command = Spawn | Signal | Kill | StartTimer | CancelTimer | Log | Record | Sweep | Finish
