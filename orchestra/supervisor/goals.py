"""When something that a person asked for has come about, or never will: one goal for one replica. Pure.

up         it runs and is ready, or has completed, in an incarnation that began after the question
stopped    nothing of it is left, and nothing will start it
gone       the run has no such replica any more
settled    it is up, or has completed, whenever that was
started, ready, completed, exited: what `wait --for` takes
"""

from __future__ import annotations

from typing import NamedTuple

from orchestra.supervisor.states import FINAL, Phase, Reached, Replica, Urge

OK, FAILED, TIMEOUT = "ok", "failed", "timeout"
_UP = frozenset({Phase.RUNNING, Phase.READY})


class Verdict(NamedTuple):
    """What became of a goal: ok, failed or timeout, and why it failed."""

    result: str
    reason: str = ""


class Before(NamedTuple):
    """A replica at the moment of the question, and whether it was seen down, or started anew, since then."""

    replica: Replica | None
    anew: bool = False  # another start was asked for: that it is up already does not count
    moved: bool = False

    def seen(self, replica: Replica | None) -> Before:
        """Take another look."""
        if self.moved or replica is self.replica:
            return self
        was = self.replica
        moved = replica is None or was is None or replica.phase not in _UP or replica.launches != was.launches
        return self._replace(moved=moved)


def look(goal: str, replica: Replica | None, before: Before, *, declares_ready: bool) -> Verdict | None:
    """Return what became of `goal`, None while that is open. `declares_ready`: its file has a `ready`."""
    if replica is None:
        return Verdict(OK) if goal in ("stopped", "gone", "exited") else Verdict(FAILED, "the run has no such replica")
    if goal == "up":
        return _up(replica, before)
    if goal == "settled":
        return Verdict(OK) if replica.phase in _UP else _completed(replica)
    if goal in ("stopped", "gone"):
        return _down(goal, replica, before)
    if goal == "started":
        return _reached(replica, Reached.STARTED, "it was never started")
    if goal == "ready":
        return _reached(replica, Reached.READY if declares_ready else Reached.STARTED, "it ended before it was ready")
    if goal == "completed":
        return _completed(replica)
    return Verdict(OK) if replica.phase in FINAL else None


def _up(replica: Replica, before: Before) -> Verdict | None:
    if replica.phase in _UP:
        was_up = before.replica is not None and before.replica.phase in _UP and not before.replica.doomed
        return Verdict(OK) if before.moved or (was_up and not before.anew) else None
    if replica.phase is Phase.PENDING and not replica.wanted:
        return Verdict(FAILED, "it was stopped by a person")
    if replica.phase not in FINAL or replica.again:
        return None
    if replica is before.replica:
        return Verdict(FAILED, replica.reason or "it cannot be started again")
    if replica.parked:
        return Verdict(FAILED, "it was stopped by a person")
    return _completed(replica)


def _completed(replica: Replica) -> Verdict | None:
    if replica.phase is Phase.EXITED:
        return Verdict(OK)
    return Verdict(FAILED, replica.reason) if replica.phase in FINAL else None


def _down(goal: str, replica: Replica, before: Before) -> Verdict | None:
    if replica.phase in FINAL or (replica.phase is Phase.PENDING and not replica.wanted):
        if replica.urge is Urge.KILLED and replica.end is None and replica.pid is not None:
            return Verdict(FAILED, replica.reason)
        return Verdict(OK) if goal == "stopped" else None
    if before.moved and replica.phase in _UP and not replica.doomed:
        return Verdict(FAILED, "it was started again meanwhile")
    return None


def _reached(replica: Replica, wanted: Reached, words: str) -> Verdict | None:
    if replica.phase in _UP or (wanted is Reached.STARTED and replica.phase is Phase.STARTING and replica.pid):
        return Verdict(OK)
    if replica.phase in FINAL:
        return Verdict(OK) if replica.reached >= wanted else Verdict(FAILED, replica.reason or words)
    return None
