"""The decisions of a run: events in, commands out. Pure: no clock, no process, no file.

A replica
=========
::

    state     event                       next      what is done
    --------  --------------------------  --------  -----------------------------------------------------------
    pending   its dependencies are met    starting  Spawn (before the first start of all: WatchFor, WaitMet)
              one can never be met, stop  skipped
    starting  Started, no `ready:`        running
              Started                     starting  WatchReady, ready timer
              BecameReady                 ready     (a maker of objects: Check, and ready when Checked)
              NotReady (or not in time)   stopping  it is *rejected*: Signal, grace timer, and that is a failure
              LaunchFailed                failed    escalate (a launch that may work later: backoff)
              Withheld                    skipped
    running,  Exited                      same      the verdict is taken; it has not *ended* yet
    ready     watchdog timer              stopping  rejected
              stopped by us, its turn     stopping  StopCommand or Signal, grace timer
              Lingering (leader is gone)  stopping  Signal to the rest of its session, grace timer
              Ended                       exited | backoff | failed (escalate)
    stopping  grace timer                 stopping  Kill, abandon timer
              Lingering                   stopping  Signal or Kill to those who did not get it yet
              Ended                       exited | backoff | failed (escalate) | pending (it is to start again)
              abandon timer               failed    SIGKILL did not help (stuck in the kernel, or not ours to end)
    backoff   backoff timer               pending   as soon as what it depends on is not on its way up
              stop                        exited
    final     a person's start, a change  pending

Which states an event may find is checked; `starting.py`, `stopping.py`, `ending.py`, `backoff.py`, `demands.py` (what
a person asks) and `renewal.py` (an edited plan) hold the rules.

The run
=======
::

    starting  Begin                       up        everything without dependencies is spawned
    up        no worker is left           stopping  the services stop
              failure, escalate stop-all  stopping
    any       StopRequested               stopping
    stopping  every replica is final      sweeping  Sweep: descendants that left their sessions
    sweeping  Swept, or sweep timer twice over      Finish; or holding, until StopRequested

Reasons
=======
*Ended is not Exited.* A replica counts as ended when its leader is reaped, nobody of its session lives and its output
was read to the end. Otherwise the last line of a process that dies at once could come after its dependants started, or
never. The loop knows when that is so; the machine only waits for it. It also is what keeps two incarnations apart.

*Doomed.* From the moment we decide to stop a replica, any end is "stopped by us", also before its turn has come: a
server whose clients were just stopped may well notice and leave by itself, and that is no failure.

*Parked.* What a person stopped stays down and keeps the run up, for it may be started again.

*A way out of every state.* Each wait is for something that must come: a started leader is asked, then killed; after
SIGKILL a replica that the kernel cannot let go is abandoned and named, so that a run always ends. An abandoned replica
is never started again: something of it is still there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestra.supervisor import commands as do
from orchestra.supervisor import demands, ending, renewal, starting, stopping
from orchestra.supervisor import events as on
from orchestra.supervisor.draft import Draft, IllegalTransition
from orchestra.supervisor.events import Event, Timer
from orchestra.supervisor.states import (
    BUSY,
    Cause,
    End,
    Phase,
    Reached,
    Replica,
    RunPhase,
    RunState,
    Urge,
    Who,
)
from orchestra.supervisor.stopping import ABANDON_AFTER

SWEEP_GRACE = 2.0  # seconds that escaped descendants have between SIGTERM and SIGKILL
DEADLINE, SWEEP = Timer("deadline"), Timer("sweep")
SIGABRT = 6  # what a process gets that hangs: it leaves a core, or a traceback
# What a launch can fail of and never again fail of by itself: no use in trying again.
_PERMANENT = frozenset({"ENOENT", "EACCES", "ENOEXEC", "ENOTDIR", "EPERM", "EINVAL", "E2BIG", "ELOOP", "EISDIR"})


def step(state: RunState, event: Event) -> tuple[RunState, list[do.Command]]:
    """Return the next state and what to do. Raises IllegalTransition."""
    draft = Draft(state)
    if state.phase is not RunPhase.OVER:
        _HANDLERS[type(event)](draft, event)
        _settle(draft)
    return draft.frozen(), draft.commands


# -- events of one replica -------------------------------------------------------------------------------------------


def _is_being_launched(replica: Replica) -> bool:
    return replica.is_being_launched


def _is_there(replica: Replica) -> bool:
    return replica.phase in BUSY and not replica.is_being_launched and not replica.over


def _leader_lives(replica: Replica) -> bool:
    return _is_there(replica) and replica.end is None


def _leader_is_gone(replica: Replica) -> bool:
    return _is_there(replica) and replica.end is not None


def _started(draft: Draft, event: on.Started) -> None:
    who = event.who
    replica = draft.at(who, _is_being_launched, event)
    plan = draft.plan(who)
    draft.log("process.started", who, pid=event.pid)
    phase = Phase.RUNNING if plan.ready is None else Phase.STARTING
    is_ready = plan.ready is None and not draft.is_to_show(who)
    reached = Reached.READY if is_ready else Reached.STARTED
    replica = replace(replica, phase=phase, pid=event.pid, reached=reached, started_at=event.at)
    draft.put(who, replica)
    if plan.ready is not None and not replica.doomed:
        draft.commands.append(do.WatchReady(who))
        draft.start_timer("ready", who, plan.ready.timeout)
    elif plan.watchdog is not None:
        draft.start_timer("watchdog", who, plan.watchdog)
    if draft.hurry:
        stopping.kill(draft, who, replica, "everything is to end at once")


def _launch_failed(draft: Draft, event: on.LaunchFailed) -> None:
    replica = draft.at(event.who, _is_being_launched, event)
    draft.log(
        "process.launch_failed",
        event.who,
        stage=event.stage,
        errno=event.errno,
        path=event.path,
        reason=event.reason,
    )
    reason = f"could not be started: {event.reason}"
    replica = replace(replica, ended_at=event.at, started_at=event.at)
    draft.replicas[event.who] = replica
    if replica.doomed:
        _withheld(draft, on.Withheld(event.who)) if replica.parked or replica.again or replica.retired else ending.fail(
            draft, event.who, replica, reason, escalate=False
        )
    elif event.errno in _PERMANENT and replica.launches == 1:
        ending.fail(draft, event.who, replica, reason)
    else:
        ending.restart_or_fail(draft, event.who, replica, reason)


def _withheld(draft: Draft, event: on.Withheld) -> None:
    who = event.who
    replica = draft.at(who, _is_being_launched, event)
    change = draft.change
    if replica.retired:
        draft.drop(who)
    elif replica.parked or (change is not None and who.process in change.stopping):
        draft.put(who, replace(replica, phase=Phase.PENDING, wanted=False, doomed=False))
    elif replica.again:
        draft.put(who, replace(replica, phase=Phase.PENDING, wanted=True, doomed=False))
    else:
        reason = "stopped before it was started"
        draft.log("process.skipped", who, reason=reason)
        draft.put(who, replace(replica, phase=Phase.SKIPPED, reason=reason))


def _became_ready(draft: Draft, event: on.BecameReady) -> None:
    replica = draft.replicas.get(event.who)
    if replica is not None and _is_there(replica) and replica.phase is Phase.STARTING:  # else it is being stopped
        ending.said_ready(draft, event.who)


def _not_ready(draft: Draft, event: on.NotReady) -> None:
    replica = draft.replicas.get(event.who)
    if replica is not None and replica.phase is Phase.STARTING and replica.pid is not None and replica.end is None:
        stopping.reject(draft, event.who, event.reason)


def _petted(draft: Draft, event: on.Petted) -> None:
    replica = draft.replicas.get(event.who)
    watchdog = None if replica is None else draft.plan(event.who).watchdog
    if replica is not None and watchdog is not None and replica.phase in (Phase.RUNNING, Phase.READY):
        draft.start_timer("watchdog", event.who, watchdog)


def _wait_met(draft: Draft, event: on.WaitMet) -> None:
    if event.process in draft.watching:
        draft.watching -= {event.process}
        draft.waited |= {event.process}
        draft.changed.append(event.process)


def _checked(draft: Draft, event: on.Checked) -> None:
    ending.checked(draft, event.process, event.wrong)


def _exited(draft: Draft, event: on.Exited) -> None:
    if draft.is_abandoned(event.who):
        return
    replica = draft.at(event.who, _leader_lives, event)
    draft.cancel_timer("ready", event.who)  # but what it said may still be on its way to us
    draft.cancel_timer("watchdog", event.who)
    end = End(event.code, event.signal)
    words = ending.verdict(draft, event.who, replica, end)
    draft.put(event.who, replace(replica, end=end, verdict=words, ended_at=event.at))


def _lingering(draft: Draft, event: on.Lingering) -> None:
    if draft.is_abandoned(event.who):
        return
    replica = draft.at(event.who, _leader_is_gone, event)
    match replica.urge:
        case Urge.NONE:
            draft.log("process.lingering", event.who, pid=replica.pid)
            stopping.ask(draft, event.who, replica)
        case Urge.ASKED:
            draft.commands.append(do.Signal(event.who, draft.plan(event.who).stop_signal))
        case Urge.KILLED:
            draft.commands.append(do.Kill(event.who))


def _ended(draft: Draft, event: on.Ended) -> None:
    if draft.is_abandoned(event.who):
        draft.replicas[event.who] = replace(draft.replicas[event.who], urge=Urge.NONE)  # it may start again now
        if event.who.process not in draft.graph.processes:
            draft.drop(event.who)
        return
    replica = draft.at(event.who, _leader_is_gone, event)
    assert replica.end is not None
    if replica.urge is not Urge.NONE:
        draft.cancel_timer("grace" if replica.urge is Urge.ASKED else "abandon", event.who)
    if replica.urge is Urge.NONE:
        stopping.leave_alone(draft, event.who, replica)
    draft.log("process.exited", event.who, pid=replica.pid, exit_code=replica.end.code, signal=replica.end.signal)
    ending.conclude(draft, event.who)


def _stop_command_ended(draft: Draft, event: on.StopCommandEnded) -> None:
    replica = draft.replicas.get(event.who)
    if replica is not None and event.failed and replica.urge is Urge.ASKED and _leader_lives(replica):
        number = draft.plan(event.who).stop_signal
        draft.log("process.stop_command_failed", event.who, reason=event.failed, signal=number)
        draft.commands.append(do.Signal(event.who, number))


# -- timers and requests ---------------------------------------------------------------------------------------------


def _timer_fired(draft: Draft, event: on.TimerFired) -> None:
    timer = event.timer
    if timer == DEADLINE:
        stopping.kill_all(draft, "the time given to stop is over")
    elif timer == SWEEP and draft.phase is RunPhase.SWEEPING:
        draft.commands += [do.Sweep(hard=True), do.StartTimer(Timer("abandon"), ABANDON_AFTER)]
    elif timer == Timer("abandon") and draft.phase is RunPhase.SWEEPING:
        _swept_out(draft)
    elif timer.who is not None and timer.who in draft.replicas:
        _replica_timer(draft, timer.kind, timer.who)


def _replica_timer(draft: Draft, kind: str, who: Who) -> None:
    """Act on a timer of a replica; one that fired while its reason went away changes nothing."""
    replica, plan = draft.replicas[who], draft.plan(who)
    match kind, replica.phase:
        case "grace", Phase.STOPPING if replica.urge is Urge.ASKED and not replica.over:
            stopping.kill(draft, who, replica, f"it did not end within {plan.grace:g} s")
        case "abandon", Phase.STOPPING if replica.urge is Urge.KILLED:
            reason = f"pid {replica.pid} could not be ended, not even by SIGKILL"
            ending.fail(draft, who, replica, reason)
        case "watchdog", Phase.RUNNING | Phase.READY if replica.end is None:
            draft.log("process.watchdog", who, pid=replica.pid, seconds=plan.watchdog)
            stopping.reject(draft, who, f"sent no WATCHDOG=1 for {plan.watchdog:g} s", SIGABRT)
        case "backoff", Phase.BACKOFF:
            draft.put(who, replace(replica, phase=Phase.PENDING, wanted=True))


def _stop_requested(draft: Draft, event: on.StopRequested) -> None:
    if draft.phase is RunPhase.HOLDING:
        _finish(draft)
        return
    if event.timeout is not None:
        draft.commands.append(do.StartTimer(DEADLINE, event.timeout))
    draft.hold = False
    if _can_stop(draft):
        stopping.stop_run(draft, Cause(event.words, failed=event.failed, signal=event.signal))


def _kill_requested(draft: Draft, event: on.KillRequested) -> None:
    if draft.phase is RunPhase.HOLDING:
        _finish(draft)
        return
    draft.hold = False
    if _can_stop(draft):
        stopping.stop_run(draft, Cause(event.words, signal=event.signal))
    stopping.kill_all(draft, event.words)


def _begin(draft: Draft, event: on.Begin) -> None:
    if draft.phase is RunPhase.STARTING:
        draft.phase = RunPhase.UP
        draft.changed.extend(draft.graph.processes)  # the order of the file
    elif draft.phase is RunPhase.UP:
        raise IllegalTransition(f"{event!r} twice")


def _swept(draft: Draft, event: on.Swept) -> None:
    if draft.phase is RunPhase.HOLDING:
        return
    if draft.phase is not RunPhase.SWEEPING:
        raise IllegalTransition(f"{event!r} while {draft.phase}")
    draft.commands += [do.CancelTimer(SWEEP), do.CancelTimer(Timer("abandon"))]
    _swept_out(draft)


def _swept_out(draft: Draft) -> None:
    if draft.hold:
        draft.phase = RunPhase.HOLDING
        draft.log("run.holding")
    else:
        _finish(draft)


def _finish(draft: Draft) -> None:
    draft.phase = RunPhase.OVER
    draft.commands += [do.CancelTimer(DEADLINE), do.Finish()]


def _can_stop(draft: Draft) -> bool:
    """Whether a request can still be what ends the run; the first one is, the others follow from it."""
    return draft.cause is None and draft.phase in (RunPhase.STARTING, RunPhase.UP)


# -- what follows from the state ---------------------------------------------------------------------------------


def _settle(draft: Draft) -> None:
    """Do everything that the state, as it is now, calls for: end, start, skip, ask the next to stop."""
    if draft.phase is RunPhase.UP:
        renewal.go_on(draft)
        _end_with_the_workers(draft)
        _start_and_skip(draft)
    if draft.condemned:
        stopping.ask_those_in_nobodys_way(draft)
    if draft.phase in (RunPhase.UP, RunPhase.STOPPING) and not any(draft.live.values()):
        stays_up = draft.change is not None or any(draft.parked.values())
        if draft.phase is RunPhase.STOPPING or not stays_up:
            _sweep(draft)


def _sweep(draft: Draft) -> None:
    draft.phase = RunPhase.SWEEPING
    for who, replica in list(draft.replicas.items()):
        if replica.phase is Phase.PENDING:
            stopping.give_up(draft, who, replica, "nobody started it")
    draft.commands += [do.StartTimer(SWEEP, SWEEP_GRACE), do.Sweep(hard=draft.hurry)]


def _end_with_the_workers(draft: Draft) -> None:
    """A run ends when every process that is not a service has ended, none of them by a person's wish."""
    if not draft.changed or not draft.graph.has_workers or draft.change is not None:
        return
    workers = (name for name, plan in draft.graph.processes.items() if not plan.service)
    if any(draft.live[name] or draft.parked[name] for name in workers) or not any(draft.live.values()):
        return
    stopping.stop_run(draft, Cause("every process that is not a service has ended"))


def _start_and_skip(draft: Draft) -> None:
    """Look at the waiting dependants of everything that changed, until nothing changes any more."""
    while draft.changed and draft.phase is RunPhase.UP:
        news = list(dict.fromkeys(draft.changed))
        draft.changed.clear()
        direct = draft.graph.direct
        for name in dict.fromkeys(other for source in news for other in (source, *direct.get(source, ()))):
            if draft.pending.get(name):
                starting.consider(draft, name)
        if draft.changed:
            _end_with_the_workers(draft)


_HANDLERS: dict[type[Event], Callable[[Draft, Any], None]] = {
    on.Begin: _begin,
    on.Started: _started,
    on.LaunchFailed: _launch_failed,
    on.Withheld: _withheld,
    on.BecameReady: _became_ready,
    on.NotReady: _not_ready,
    on.Petted: _petted,
    on.WaitMet: _wait_met,
    on.Checked: _checked,
    on.Exited: _exited,
    on.Lingering: _lingering,
    on.Ended: _ended,
    on.StopCommandEnded: _stop_command_ended,
    on.StopAsked: demands.stop,
    on.StartAsked: demands.start,
    on.RestartAsked: demands.restart,
    on.ScaleAsked: demands.scale,
    on.PlanChanged: renewal.begin,
    on.Rebuilt: renewal.rebuilt,
    on.TimerFired: _timer_fired,
    on.StopRequested: _stop_requested,
    on.KillRequested: _kill_requested,
    on.Swept: _swept,
}
