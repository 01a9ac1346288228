"""Everything that can happen to a run, as the loop reports it to `machine.step`. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

from orchestra.supervisor.states import Who


@dataclass(frozen=True, slots=True)
class Timer:
    """The name of a timer. Kinds: grace and abandon of a replica; deadline, sweep and abandon of the run."""

    kind: str
    who: Who | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """The objects exist: processes may start."""


@dataclass(frozen=True, slots=True)
class Started:
    """A replica runs its program."""

    who: Who
    pid: int


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """No process came to be; `stage` says how far the launch got."""

    who: Who
    reason: str
    stage: str
    errno: str
    path: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """A Spawn was not carried out, because a stop was asked for before its turn came."""

    who: Who


@dataclass(frozen=True, slots=True)
class Exited:
    """The leader of a replica was reaped: `code` or the name of a signal."""

    who: Who
    code: int | None
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Lingering:
    """The leader was reaped and other members of its session live on."""

    who: Who


@dataclass(frozen=True, slots=True)
class Ended:
    """The leader was reaped, nobody of its session is left and its output was read to the end."""

    who: Who


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer ran out. One that was cancelled meanwhile changes nothing."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody wants the run to end. `timeout` (seconds) is when everything left is killed; None: never."""

    words: str
    signal: int | None = None
    timeout: float | None = None
    failed: bool = False  # the run counts as failed because of this (the guardian died)


@dataclass(frozen=True, slots=True)
class KillRequested:
    """Everything is to end at once."""

    words: str
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class Swept:
    """No descendant of the run is left."""


Event = (
    Begin
    | Started
    | LaunchFailed
    | Withheld
    | Exited
    | Lingering
    | Ended
    | TimerFired
    | StopRequested
    | KillRequested
    | Swept
)
