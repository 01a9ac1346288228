"""What follows from the end of a replica: success or failure, another start, and what a failure means for others.
Pure.
"""

from __future__ import annotations

from dataclasses import replace

from orchestra.supervisor import commands as do
from orchestra.supervisor.backoff import JITTER, Again, Exhausted, decide
from orchestra.supervisor.draft import Draft
from orchestra.supervisor.states import Cause, End, Failure, Phase, Reached, Replica, RunPhase, Who
from orchestra.supervisor.stopping import condemn, reject, skip_pending, stop_run


def verdict(draft: Draft, who: Who, replica: Replica, end: End) -> str:
    """Return why this end of a leader is a failure, or ""."""
    if replica.parked or replica.again or replica.retired:
        return ""
    if replica.rejected:
        return replica.rejected
    if replica.doomed:
        return ""
    plan = draft.plan(who)
    succeeded = (end.signal if end.signal is not None else end.code) in plan.success
    if succeeded and plan.restart.policy == "always":
        return ""
    if plan.service:
        return f"a service ended by itself: it {end}"
    if not succeeded:
        return str(end)
    is_unready = plan.ready is not None and replica.reached is not Reached.READY
    return f"{end} before it was ready" if is_unready else ""


def said_ready(draft: Draft, who: Who) -> None:
    """Take a replica's word that it is ready; the objects that it makes are looked at first."""
    draft.cancel_timer("ready", who)
    draft.commands.append(do.ForgetReady(who))
    if draft.is_to_show(who):
        draft.commands.append(do.Check(who.process))
    else:
        _is_ready(draft, who)


def _is_ready(draft: Draft, who: Who) -> None:
    replica = replace(draft.replicas[who], reached=Reached.READY)
    draft.log("process.ready", who, pid=replica.pid)
    if replica.end is None:
        draft.put(who, replace(replica, phase=Phase.READY))
        watchdog = draft.plan(who).watchdog
        if watchdog is not None:
            draft.start_timer("watchdog", who, watchdog)
    else:  # it has exited meanwhile, which is no failure after all
        draft.put(who, replace(replica, verdict=verdict(draft, who, replica, replica.end)))


def conclude(draft: Draft, who: Who) -> None:
    """Decide what becomes of a replica that has ended: it is over, starts again, or failed."""
    replica = draft.replicas[who]
    change = draft.change
    if replica.retired:
        draft.put(who, replace(replica, phase=Phase.EXITED))
        if change is None or who.process not in change.stopping:
            draft.drop(who)
    elif change is not None and who.process in change.stopping:
        draft.put(who, replace(replica, phase=Phase.PENDING, wanted=False, doomed=False))
    elif replica.again and draft.phase is RunPhase.UP:
        draft.put(who, replace(replica, phase=Phase.PENDING, wanted=True, tries=0, restarted_at=()))
    elif _has_objects_to_show(draft, who, replica):
        draft.replicas[who] = replace(replica, over=True)
        draft.commands.append(do.Check(who.process))
    elif replica.verdict:
        restart_or_fail(draft, who, replica, replica.verdict)
    elif not replica.doomed and _starts_again(draft, who, replica, failed=False):
        return
    else:
        draft.put(who, replace(replica, phase=Phase.EXITED))


def _has_objects_to_show(draft: Draft, who: Who, replica: Replica) -> bool:
    """Whether this was a success, and the objects that the process makes were not looked at yet."""
    return draft.is_to_show(who) and not replica.verdict and not replica.doomed


def restart_or_fail(draft: Draft, who: Who, replica: Replica, reason: str) -> None:
    """Start a replica again after a failure, where its plan says so; else it has failed."""
    if not _starts_again(draft, who, replica, failed=True, reason=reason):
        fail(draft, who, draft.replicas[who], draft.replicas[who].reason or reason)


def _starts_again(draft: Draft, who: Who, replica: Replica, *, failed: bool, reason: str = "") -> bool:
    """Put a replica into backoff, if it is to be started again. Those that restart with it are stopped meanwhile."""
    is_ours = replica.doomed or replica.parked or replica.retired
    if draft.cause is not None or draft.phase is not RunPhase.UP or is_ours:
        return False
    again = decide(draft.plan(who).restart, replica, failed=failed, now=replica.ended_at)
    if isinstance(again, Exhausted):
        words = f"{reason or replica.end}, {again}"
        if failed:
            draft.replicas[who] = replace(replica, reason=words)
            return False
        fail(draft, who, replica, words)
        return True
    if again is None:
        return False
    _back_off(draft, who, replica, again, reason or str(replica.end))
    return True


def _back_off(draft: Draft, who: Who, replica: Replica, again: Again, reason: str) -> None:
    number = replica.restarts + 1
    draft.log("process.restarting", who, reason=reason, delay=again.delay, restarts=number)
    draft.start_timer("backoff", who, again.delay, JITTER)
    new = replace(
        replica, phase=Phase.BACKOFF, reason=reason, restarts=number, tries=again.tries, restarted_at=again.restarted_at
    )
    draft.put(who, new)
    followers = draft.graph.followers[who.process]
    condemn(draft, [other for other in draft.replicas if other.process in followers], again=True)


def fail(draft: Draft, who: Who, replica: Replica, reason: str, *, escalate: bool = True) -> None:
    """Make a replica `failed`, and let its file's `escalate` decide what that means for the others."""
    policy = draft.plan(who).escalate
    draft.put(who, replace(replica, phase=Phase.FAILED, reason=reason, over=False))
    draft.failures = (*(failure for failure in draft.failures if failure.who != who), Failure(who, reason))
    draft.log("process.failed", who, reason=reason, escalate=policy if escalate and draft.cause is None else None)
    if not escalate or draft.cause is not None or draft.phase is not RunPhase.UP:
        return
    if policy == "stop-all":
        stop_run(draft, Cause(f"{draft.graph.label(who)} failed: {reason}", failed=True))
    elif policy == "stop-dependants":
        needers = draft.graph.needers[who.process]
        skip_pending(draft, needers, f"{draft.graph.label(who)} failed: {reason}")
        condemn(draft, [other for other in draft.replicas if other.process in needers])


def checked(draft: Draft, process: str, wrong: str) -> None:
    """Take what was found of the objects that a process makes."""
    who = Who(process, 1)
    replica = draft.replicas.get(who)
    if replica is None:
        return
    if not wrong:
        draft.made |= {process}
    if replica.over:
        _conclude_checked(draft, who, replica, wrong)
    elif replica.phase is Phase.STARTING and replica.pid is not None and not replica.doomed:
        if wrong:
            reject(draft, who, wrong)
        else:
            _is_ready(draft, who)


def _conclude_checked(draft: Draft, who: Who, replica: Replica, wrong: str) -> None:
    replica = replace(replica, over=False, reached=replica.reached if wrong else Reached.READY, verdict=wrong)
    draft.put(who, replica)
    conclude(draft, who)
