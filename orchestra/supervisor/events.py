"""Everything that can happen to a run, as the loop reports it to `machine.step`. Pure data.

Named tuples, told apart by their type alone: two of different types with the same fields are equal. Annotations are
evaluated, as in `kinds`, which says why.
"""

from typing import NamedTuple

from orchestra.runplan import ProcessPlan
from orchestra.supervisor.states import Who


class Timer(NamedTuple):
    """The name of a timer.

    Kinds of a replica: grace, abandon, ready, watchdog, backoff; of the run: deadline, sweep, abandon.
    """

    kind: str
    who: Who | None = None


class Begin(NamedTuple):
    """The objects exist: processes may start."""


class Started(NamedTuple):
    """A replica runs its program. `at`, here and below, is when: seconds of the monotonic clock."""

    who: Who
    pid: int
    at: float = 0.0


class LaunchFailed(NamedTuple):
    """No process came to be; `stage` says how far the launch got."""

    who: Who
    reason: str
    stage: str
    errno: str
    path: str
    at: float = 0.0


class Withheld(NamedTuple):
    """A Spawn was not carried out, because a stop was asked for before its turn came."""

    who: Who


class Exited(NamedTuple):
    """The leader of a replica was reaped: `code` or the name of a signal."""

    who: Who
    code: int | None
    signal: str | None = None
    at: float = 0.0


class Lingering(NamedTuple):
    """The leader was reaped and other members of its session live on."""

    who: Who


class Ended(NamedTuple):
    """The leader was reaped, nobody of its session is left and its output was read to the end."""

    who: Who


class BecameReady(NamedTuple):
    """A replica is ready, in the way its plan says."""

    who: Who


class NotReady(NamedTuple):
    """A replica was not ready in time, or can never be found to be: what should have told us cannot be used."""

    who: Who
    reason: str


class Petted(NamedTuple):
    """A replica sent WATCHDOG=1."""

    who: Who


class WaitMet(NamedTuple):
    """Everything in `wait_for` of a process held at one moment."""

    process: str


class Checked(NamedTuple):
    """The objects that `process` makes were looked at: `wrong` says what is missing or different, or ""."""

    process: str
    wrong: str = ""


class StopCommandEnded(NamedTuple):
    """The stop command of a replica has ended; `failed` says how, or ""."""

    who: Who
    failed: str = ""


class StopAsked(NamedTuple):
    """A person wants these replicas stopped, and nothing else: those that depend on them go on."""

    whos: tuple[Who, ...]
    by: str


class StartAsked(NamedTuple):
    """A person wants these replicas up, and what they depend on; what is already up stays as it is."""

    whos: tuple[Who, ...]
    by: str


class RestartAsked(NamedTuple):
    """A person wants these replicas stopped and started again."""

    whos: tuple[Who, ...]
    by: str


class ScaleAsked(NamedTuple):
    """A person wants `process` to have `replicas` copies; the highest numbers go first."""

    process: str
    replicas: int
    by: str


class PlanChanged(NamedTuple):
    """The file was edited: these are the processes now. `restart` names those that must be stopped and started."""

    processes: tuple[ProcessPlan, ...]
    restart: frozenset[str]
    by: str
    makers: frozenset[str] = frozenset()  # processes that make objects themselves


class Rebuilt(NamedTuple):
    """The objects and wires are as the new plan says; `failed` says why they could not be, or ""."""

    failed: str = ""


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
    | BecameReady
    | NotReady
    | Petted
    | WaitMet
    | Checked
    | StopCommandEnded
    | StopAsked
    | StartAsked
    | RestartAsked
    | ScaleAsked
    | PlanChanged
    | Rebuilt
    | TimerFired
    | StopRequested
    | KillRequested
    | Swept
)
