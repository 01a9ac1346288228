"""Everything the machine can tell the loop to do. Pure data.

Named tuples, told apart by their type alone: two of different types with the same fields are equal. Annotations are
evaluated, as in `kinds`, which says why.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from orchestra.supervisor.events import Timer
from orchestra.supervisor.states import Replica, Who


class Spawn(NamedTuple):
    """Launch a replica; answered by Started, LaunchFailed or Withheld."""

    who: Who


class Signal(NamedTuple):
    """Send the stop signal to the replica's group, session and adopted descendants; to each member once."""

    who: Who
    signal: int


class Kill(NamedTuple):
    """Send SIGKILL to the same."""

    who: Who


class StartTimer(NamedTuple):
    """Answer with TimerFired after `seconds`; a timer of that name that still runs is replaced.

    `jitter` is the part of `seconds` by which to miss it, at random, in both directions.
    """

    timer: Timer
    seconds: float
    jitter: float = 0.0


class CancelTimer(NamedTuple):
    """Forget a timer, if it runs."""

    timer: Timer


class Log(NamedTuple):
    """Write an event of the catalogue. A `signal` in `data` may be a number."""

    event: str
    who: Who | None = None
    data: Mapping[str, Any] = MappingProxyType({})


class Record(NamedTuple):
    """A replica changed: its row in the ledger is out of date."""

    who: Who


class Drop(NamedTuple):
    """A replica is no longer part of the run: its row stays on record as it was last, `ps` does not show it."""

    who: Who
    replica: Replica


class WatchReady(NamedTuple):
    """Find out when a replica that was just started becomes ready; answered by BecameReady or NotReady."""

    who: Who


class ForgetReady(NamedTuple):
    """Stop finding that out; what the replica sends for its watchdog still counts."""

    who: Who


class WatchFor(NamedTuple):
    """Look for everything in `wait_for` of a process; answered by WaitMet."""

    process: str


class ForgetFor(NamedTuple):
    """Stop looking for it."""

    process: str


class Check(NamedTuple):
    """Look at the objects that `process` makes, record and wire them; answered by Checked."""

    process: str


class StopCommand(NamedTuple):
    """Run the stop command of a replica; answered by StopCommandEnded."""

    who: Who


class Rebuild(NamedTuple):
    """Nobody uses what the new plan drops or changes any more: make objects and wires fit; answered by Rebuilt."""


class Sweep(NamedTuple):
    """End every descendant that is left (SIGTERM, or SIGKILL when `hard`); answered by Swept when none is."""

    hard: bool


class Finish(NamedTuple):
    """All is over; the state says how."""


Command = (
    Spawn
    | Signal
    | Kill
    | StartTimer
    | CancelTimer
    | Log
    | Record
    | Drop
    | WatchReady
    | ForgetReady
    | WatchFor
    | ForgetFor
    | Check
    | StopCommand
    | Rebuild
    | Sweep
    | Finish
)
