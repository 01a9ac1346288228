"""How replicas are stopped: whose turn it is, first the stop command or signal, then SIGKILL. Pure.

A condemned replica is asked once no replica that is being stopped too depends on it, directly or through others.
Those that are in nobody's way are asked together, so stopping takes the largest grace per level, not the sum of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from orchestra.supervisor import commands as do
from orchestra.supervisor.draft import Draft
from orchestra.supervisor.events import Timer
from orchestra.supervisor.states import BUSY, FINAL, Cause, Phase, Reached, Replica, RunPhase, Urge, Who

ABANDON_AFTER = 10.0  # seconds after SIGKILL; only uninterruptible sleep outlasts it


def stop_run(draft: Draft, cause: Cause) -> None:
    """Stop everything, for the first and only reason: what comes later is a consequence."""
    draft.cause, draft.phase, draft.change = cause, RunPhase.STOPPING, None
    draft.log("run.stopping", reason=cause.words)
    skip_pending(draft, draft.graph.processes, f"the run was stopped: {cause.words}")
    condemn(draft, draft.replicas)


def skip_pending(draft: Draft, names: Collection[str], reason: str) -> None:
    """Give up replicas of these processes that were to be started: they are skipped, or had ended before."""
    for name in [name for name in draft.graph.processes if name in names and draft.pending[name]]:
        if name in draft.watching:
            draft.watching -= {name}
            draft.commands.append(do.ForgetFor(name))
        for who in draft.graph.replicas(name):
            replica = draft.replicas[who]
            if replica.phase is Phase.PENDING and replica.wanted:
                give_up(draft, who, replica, reason)


def give_up(draft: Draft, who: Who, replica: Replica, reason: str) -> None:
    """Let a replica be that was to be started: skipped when it never ran, else as it ended when it last did."""
    if replica.end is not None:
        draft.put(who, replace(replica, phase=Phase.EXITED))
        return
    draft.log("process.skipped", who, reason=reason)
    draft.put(who, replace(replica, phase=Phase.SKIPPED, reason=reason))


def condemn(draft: Draft, candidates: Iterable[Who], *, again: bool = False) -> None:
    """Mark live replicas as stopped by us; `ask_those_in_nobodys_way` asks each when its turn has come.

    With `again` they are started again afterwards. A pending restart is called off.
    """
    for who in list(candidates):
        replica = draft.replicas[who]
        if replica.phase is Phase.BACKOFF:
            draft.cancel_timer("backoff", who)
            if again:
                draft.put(who, replace(replica, phase=Phase.PENDING, wanted=True))
            else:
                give_up(draft, who, replica, f"its next start was called off: it {replica.reason}")
        elif replica.phase in BUSY:
            # what a person stopped stays down, also when something it depends on restarts
            draft.replicas[who] = replace(replica, doomed=True, again=again and not replica.parked)
            if replica.urge is Urge.NONE and not replica.over:
                draft.condemned.add(who)


def ask_those_in_nobodys_way(draft: Draft) -> None:
    """Ask every condemned replica to stop whose dependants among the doomed have ended."""
    doomed = Counter(who.process for who, replica in draft.replicas.items() if replica.doomed and replica.phase in BUSY)
    for who in sorted(draft.condemned):
        replica = draft.replicas[who]
        dependants = draft.graph.dependants.get(who.process, frozenset())
        if not replica.is_being_launched and not any(name in dependants for name in doomed):
            ask(draft, who, replica)


def ask(draft: Draft, who: Who, replica: Replica, number: int | None = None) -> None:
    """Run the stop command or send the stop signal (or `number`); SIGKILL follows after the grace."""
    plan = draft.plan(who)
    number = plan.stop_signal if number is None else number
    by_command = bool(plan.stop_command) and replica.end is None and number == plan.stop_signal
    leave_alone(draft, who, replica)
    if replica.end is None:
        how = {"command": True} if by_command else {"signal": number}
        draft.log("process.stopping", who, pid=replica.pid, **how, grace=plan.grace)
    draft.commands.append(do.StopCommand(who) if by_command else do.Signal(who, number))
    draft.start_timer("grace", who, plan.grace)
    draft.put(who, replace(replica, phase=Phase.STOPPING, urge=Urge.ASKED))
    draft.condemned.discard(who)


def kill(draft: Draft, who: Who, replica: Replica, reason: str) -> None:
    """Send SIGKILL."""
    draft.log("process.killed", who, pid=replica.pid, reason=reason)
    leave_alone(draft, who, replica)
    draft.cancel_timer("grace", who)
    draft.commands.append(do.Kill(who))
    draft.start_timer("abandon", who, ABANDON_AFTER)
    draft.put(who, replace(replica, phase=Phase.STOPPING, urge=Urge.KILLED))
    draft.condemned.discard(who)


def kill_all(draft: Draft, reason: str) -> None:
    """Kill everything that lives, without order. What is being started is killed as soon as it has a pid."""
    draft.hurry = True
    for who, replica in list(draft.replicas.items()):
        is_there = replica.phase in BUSY and not replica.is_being_launched and not replica.over
        if is_there and replica.urge is not Urge.KILLED:
            kill(draft, who, replica, reason)
    if draft.phase is RunPhase.SWEEPING:
        draft.commands.append(do.Sweep(hard=True))


def reject(draft: Draft, who: Who, reason: str, number: int | None = None) -> None:
    """Stop a replica that runs, but not as it was declared: that is a failure of it. `number` is the signal to use."""
    replica = draft.replicas[who]
    if replica.phase in FINAL or replica.doomed or replica.rejected or replica.urge is not Urge.NONE:
        return
    draft.log("process.rejected", who, pid=replica.pid, reason=reason)
    replica = replace(replica, rejected=reason)
    if replica.end is None:
        ask(draft, who, replica, number)
    else:
        draft.replicas[who] = replace(replica, verdict=reason)  # the rest of its session is being ended already


def leave_alone(draft: Draft, who: Who, replica: Replica) -> None:
    """Expect no readiness and no sign of life from a replica any more."""
    plan = draft.plan(who)
    if plan.ready is not None and replica.reached is not Reached.READY and replica.urge is Urge.NONE:
        draft.commands += [do.ForgetReady(who), do.CancelTimer(Timer("ready", who))]
    if plan.watchdog is not None:
        draft.cancel_timer("watchdog", who)
