"""Whether a replica that ended is started again, and how long to wait before that. Pure.

At most `limit` restarts within any `within` seconds; the delay doubles with each, up to `max_delay`. A replica that
ran for `within` seconds at a stretch is stable: its next restart is a first one again.
"""

from __future__ import annotations

from typing import NamedTuple

from orchestra.runplan import Restart
from orchestra.supervisor.states import Replica

JITTER = 0.1  # of the delay, both ways: replicas that fell together do not come back together
_DOUBLINGS = 40  # no max_delay that a file can give is longer than delay times two to this


class Again(NamedTuple):
    """A restart: `delay` in seconds, and what the replica has to remember of it."""

    delay: float
    tries: int
    restarted_at: tuple[float, ...]


class Exhausted(NamedTuple):
    """No restart: there were as many as are allowed."""

    restarts: int
    within: float

    def __str__(self) -> str:
        times = "once" if self.restarts == 1 else f"{self.restarts} times"
        return f"and was restarted {times} within {self.within:g} s" if self.restarts else "and may not be restarted"


def decide(restart: Restart, replica: Replica, *, failed: bool, now: float) -> Again | Exhausted | None:
    """Return what follows from an end at `now` (seconds, monotonic); None when the policy asks for nothing."""
    if restart.policy == "never" or (restart.policy == "on-failure" and not failed):
        return None
    recent = tuple(then for then in replica.restarted_at if now - then < restart.within)
    if len(recent) >= restart.limit:
        return Exhausted(len(recent), restart.within)
    ran = replica.ended_at - replica.started_at if replica.started_at else 0.0
    tries = 0 if ran >= restart.within else replica.tries
    delay = min(restart.max_delay, restart.delay * 2 ** min(tries, _DOUBLINGS))
    return Again(delay, tries + 1, (*recent, now))
