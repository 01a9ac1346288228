"""Everything that can happen to a run, as the loop reports it to `machine.step`. Pure data.

Named tuples, told apart by their type alone: two of different types with the same fields are equal.
"""

from __future__ import annotations

from typing import NamedTuple

from orchestra.supervisor.states import Who


class Timer(NamedTuple):
    """The name of a timer. Kinds: grace and abandon of a replica; deadline, sweep and abandon of the run."""

    kind: str
    who: Who | None = None


class Begin(NamedTuple):
    """The objects exist: processes may start."""


class Started(NamedTuple):
    """A replica runs its program."""

    who: Who
    pid: int


class LaunchFailed(NamedTuple):
    """No process came to be; `stage` says how far the launch got."""

    who: Who
    reason: str
    stage: str
    errno: str
    path: str


class Withheld(NamedTuple):
    """A Spawn was not carried out, because a stop was asked for before its turn came."""

    who: Who


class Exited(NamedTuple):
    """The leader of a replica was reaped: `code` or the name of a signal."""

    who: Who
    code: int | None
    signal: str | None = None


class Lingering(NamedTuple):
    """The leader was reaped and other members of its session live on."""

    who: Who


class Ended(NamedTuple):
    """The leader was reaped, nobody of its session is left and its output was read to the end."""

    who: Who


class TimerFired(NamedTuple):
    """A timer ran out. One that was cancelled meanwhile changes nothing."""

    timer: Timer


class StopRequested(NamedTuple):
    """Somebody wants the run to end. `timeout` (seconds) is when everything left is killed; None: never."""

    words: str
    signal: int | None = None
    timeout: float | None = None
    failed: bool = False  # the run counts as failed because of this (the guardian died)


class KillRequested(NamedTuple):
    """Everything is to end at once."""

    words: str
    signal: int | None = None


class Swept(NamedTuple):
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
