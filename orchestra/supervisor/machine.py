"""The decisions of a run: events in, commands out. Pure: no clock, no process, no file.

A replica
=========
::

    state     event                       next      what is done
    --------  --------------------------  --------  -----------------------------------------------------------
    pending   its dependencies are met    starting  Spawn
              one can never be met, stop  skipped
    starting  Started                     running   (Signal at once when a stop was asked for meanwhile)
              LaunchFailed                failed    escalate
              Withheld                    skipped
    running   Exited                      running   the verdict is taken; it has not *ended* yet
              stopped by us, its turn     stopping  Signal, grace timer
              Lingering (leader is gone)  stopping  Signal to the rest of its session, grace timer
              Ended                       exited | failed (escalate)
    stopping  grace timer                 stopping  Kill, abandon timer
              Lingering                   stopping  Signal or Kill to those who did not get it yet
              Ended                       exited | failed (escalate)
              abandon timer               failed    SIGKILL did not help (stuck in the kernel, or not ours to end)

The run
=======
::

    starting  Begin                       up        everything without dependencies is spawned
    up        no worker is left           stopping  the services stop
              failure, escalate stop-all  stopping
    any       StopRequested               stopping
    stopping  every replica is final      sweeping  Sweep: descendants that left their sessions
    sweeping  Swept, or sweep timer twice over      Finish

Reasons
=======
*Ended is not Exited.* A replica counts as ended when its leader is reaped, nobody of its session lives and its output
was read to the end. Otherwise the last line of a process that dies at once could come after its dependants started, or
never. The loop knows when that is so; the machine only waits for it.

*Doomed.* From the moment we decide to stop a replica, any end is "stopped by us", also before its turn has come: a
server whose clients were just stopped may well notice and leave by itself, and that is no failure.

*Order.* A condemned replica is asked to stop once no live replica depends on it, directly or through others. Those
that are in nobody's way are asked together, so stopping takes the largest grace per level, not the sum of all.

*Only `ended` tolerates failure.* A dependency that failed, or was skipped, makes its dependants `skipped` whatever
else they wait for; a dependant that waits for `ended` is the one that asked to run in any case.

*A way out of every state.* Each wait is for something that must come: a started leader is asked, then killed; after
SIGKILL a replica that the kernel cannot let go is abandoned and named, so that a run always ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from orchestra.runplan import Dependency
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.events import Event, Timer
from orchestra.supervisor.states import (
    FINAL,
    Cause,
    End,
    Failure,
    Phase,
    Replica,
    RunPhase,
    RunState,
    Urge,
    Who,
)

ABANDON_AFTER = 10.0  # seconds after SIGKILL; only uninterruptible sleep outlasts it
SWEEP_GRACE = 2.0  # seconds that escaped descendants have between SIGTERM and SIGKILL
DEADLINE, SWEEP = Timer("deadline"), Timer("sweep")


class IllegalTransition(Exception):
    """An event that makes no sense in this state: a defect of the loop, never of the run."""


def step(state: RunState, event: Event) -> tuple[RunState, list[do.Command]]:
    """Return the next state and what to do. Raises IllegalTransition."""
    draft = _Draft(state)
    if state.phase is not RunPhase.OVER:
        _HANDLERS[type(event)](draft, event)
        _settle(draft)
    return draft.frozen(), draft.commands


class _Draft:
    """A state being worked on: mutable copies, the commands so far, and which processes changed."""

    def __init__(self, state: RunState) -> None:
        self.before = state
        self.graph = state.graph
        self.phase = state.phase
        self.replicas = dict(state.replicas)
        self.live = dict(state.live)
        self.waiting = state.waiting
        self.condemned = state.condemned
        self.cause = state.cause
        self.failures = state.failures
        self.hurry = state.hurry
        self.commands: list[do.Command] = []
        self.changed: list[str] = []  # processes with news for their dependants

    def frozen(self) -> RunState:
        return RunState(
            self.graph,
            self.phase,
            self.replicas,
            self.waiting,
            self.live,
            self.condemned,
            self.cause,
            self.failures,
            self.hurry,
        )

    def put(self, who: Who, replica: Replica) -> None:
        """Store a replica; keeps the count of live ones right and has its row written when `ps` would differ."""
        old = self.replicas[who]
        self.replicas[who] = replica
        if replica.phase is not old.phase:
            self.commands.append(do.Record(who))
            self.changed.append(who.process)
            if replica.phase in FINAL:
                self.live[who.process] -= 1
                self.condemned -= {who}

    def log(self, event: str, who: Who | None = None, /, **data: object) -> None:
        self.commands.append(do.Log(event, who, data))

    def at(self, who: Who, *phases: Phase, event: object) -> Replica:
        """Return a replica that must be in one of `phases`. Raises IllegalTransition."""
        replica = self.replicas.get(who)
        if replica is None or replica.phase not in phases:
            where = "unknown" if replica is None else replica.phase
            raise IllegalTransition(f"{who}: {event!r} makes no sense while {where}")
        return replica

    def is_abandoned(self, who: Who) -> bool:
        """Whether we gave a replica up after SIGKILL; should it end after all, that is no news any more."""
        replica = self.replicas.get(who)
        return replica is not None and replica.phase is Phase.FAILED and replica.urge is Urge.KILLED


# -- events of one replica -------------------------------------------------------------------------------------------


def _started(draft: _Draft, event: on.Started) -> None:
    replica = draft.at(event.who, Phase.STARTING, event=event)
    draft.log("process.started", event.who, pid=event.pid)
    running = replace(replica, phase=Phase.RUNNING, pid=event.pid)
    draft.put(event.who, running)
    if draft.hurry:
        _kill(draft, event.who, running, "everything is to end at once")


def _launch_failed(draft: _Draft, event: on.LaunchFailed) -> None:
    replica = draft.at(event.who, Phase.STARTING, event=event)
    draft.log(
        "process.launch_failed",
        event.who,
        stage=event.stage,
        errno=event.errno,
        path=event.path,
        reason=event.reason,
    )
    _fail(draft, event.who, replica, f"could not be started: {event.reason}", escalate=not replica.doomed)


def _withheld(draft: _Draft, event: on.Withheld) -> None:
    replica = draft.at(event.who, Phase.STARTING, event=event)
    reason = "stopped before it was started"
    draft.log("process.skipped", event.who, reason=reason)
    draft.put(event.who, replace(replica, phase=Phase.SKIPPED, reason=reason))


def _exited(draft: _Draft, event: on.Exited) -> None:
    if draft.is_abandoned(event.who):
        return
    replica = draft.at(event.who, Phase.RUNNING, Phase.STOPPING, event=event)
    if replica.end is not None:
        raise IllegalTransition(f"{event.who} ended twice: {event!r}")
    end = End(event.code, event.signal)
    draft.put(event.who, replace(replica, end=end, verdict=_verdict(draft, event.who, replica, end)))


def _verdict(draft: _Draft, who: Who, replica: Replica, end: End) -> str:
    """Return why this end is a failure, or ""."""
    if replica.doomed:
        return ""
    plan = draft.graph.processes[who.process]
    succeeded = (end.signal if end.signal is not None else end.code) in plan.success
    if plan.service:
        return f"a service ended by itself: it {end}"
    return "" if succeeded else str(end)


def _lingering(draft: _Draft, event: on.Lingering) -> None:
    if draft.is_abandoned(event.who):
        return
    replica = draft.at(event.who, Phase.RUNNING, Phase.STOPPING, event=event)
    if replica.end is None:
        raise IllegalTransition(f"{event.who}: {event!r} while its leader lives")
    match replica.urge:
        case Urge.NONE:
            draft.log("process.lingering", event.who, pid=replica.pid)
            _ask(draft, event.who, replica)
        case Urge.ASKED:
            draft.commands.append(do.Signal(event.who, draft.graph.processes[event.who.process].stop_signal))
        case Urge.KILLED:
            draft.commands.append(do.Kill(event.who))


def _ended(draft: _Draft, event: on.Ended) -> None:
    if draft.is_abandoned(event.who):
        return
    replica = draft.at(event.who, Phase.RUNNING, Phase.STOPPING, event=event)
    if replica.end is None:
        raise IllegalTransition(f"{event.who}: {event!r} while its leader lives")
    if replica.urge is not Urge.NONE:
        kind = "grace" if replica.urge is Urge.ASKED else "abandon"
        draft.commands.append(do.CancelTimer(Timer(kind, event.who)))
    draft.log("process.exited", event.who, pid=replica.pid, exit_code=replica.end.code, signal=replica.end.signal)
    if replica.verdict:
        _fail(draft, event.who, replica, replica.verdict)
    else:
        draft.put(event.who, replace(replica, phase=Phase.EXITED))


def _fail(draft: _Draft, who: Who, replica: Replica, reason: str, *, escalate: bool = True) -> None:
    """Make a replica `failed`, and let its file's `escalate` decide what that means for the others."""
    policy = draft.graph.processes[who.process].escalate
    draft.put(who, replace(replica, phase=Phase.FAILED, reason=reason))
    draft.failures = (*draft.failures, Failure(who, reason))
    draft.log("process.failed", who, reason=reason, escalate=policy if escalate and draft.cause is None else None)
    if not escalate or draft.cause is not None:
        return
    if policy == "stop-all":
        _stop_run(draft, Cause(f"{draft.graph.label(who)} failed: {reason}", failed=True))
    elif policy == "stop-dependants":
        dependants = draft.graph.dependants[who.process]
        _skip_waiting(draft, dependants, f"{draft.graph.label(who)} failed: {reason}")
        _condemn(draft, [other for name in dependants for other in draft.graph.replicas(name)])


# -- timers and requests ---------------------------------------------------------------------------------------------


def _timer_fired(draft: _Draft, event: on.TimerFired) -> None:
    timer = event.timer
    if timer == DEADLINE:
        _kill_all(draft, "the time given to stop is over")
    elif timer == SWEEP and draft.phase is RunPhase.SWEEPING:
        draft.commands += [do.Sweep(hard=True), do.StartTimer(Timer("abandon"), ABANDON_AFTER)]
    elif timer == Timer("abandon") and draft.phase is RunPhase.SWEEPING:
        _finish(draft)
    elif timer.who is not None:
        _replica_timer(draft, timer.kind, timer.who)


def _replica_timer(draft: _Draft, kind: str, who: Who) -> None:
    replica = draft.replicas[who]
    if replica.phase is not Phase.STOPPING:
        return  # it ended while the timer fired
    if kind == "grace" and replica.urge is Urge.ASKED:
        grace = draft.graph.processes[who.process].grace
        _kill(draft, who, replica, f"it did not end within {grace:g} s")
    elif kind == "abandon" and replica.urge is Urge.KILLED:
        _fail(draft, who, replica, f"pid {replica.pid} could not be ended, not even by SIGKILL")


def _stop_requested(draft: _Draft, event: on.StopRequested) -> None:
    if event.timeout is not None:
        draft.commands.append(do.StartTimer(DEADLINE, event.timeout))
    if _can_stop(draft):
        _stop_run(draft, Cause(event.words, failed=event.failed, signal=event.signal))


def _kill_requested(draft: _Draft, event: on.KillRequested) -> None:
    if _can_stop(draft):
        _stop_run(draft, Cause(event.words, signal=event.signal))
    _kill_all(draft, event.words)


def _begin(draft: _Draft, event: on.Begin) -> None:
    if draft.phase is RunPhase.STARTING:
        draft.phase = RunPhase.UP
        draft.changed.extend(draft.graph.processes)  # the order of the file
    elif draft.phase is RunPhase.UP:
        raise IllegalTransition(f"{event!r} twice")


def _swept(draft: _Draft, event: on.Swept) -> None:
    if draft.phase is not RunPhase.SWEEPING:
        raise IllegalTransition(f"{event!r} while {draft.phase}")
    draft.commands += [do.CancelTimer(SWEEP), do.CancelTimer(Timer("abandon"))]
    _finish(draft)


def _finish(draft: _Draft) -> None:
    draft.phase = RunPhase.OVER
    draft.commands += [do.CancelTimer(DEADLINE), do.Finish()]


def _can_stop(draft: _Draft) -> bool:
    """Whether a request can still be what ends the run; the first one is, the others follow from it."""
    return draft.cause is None and draft.phase in (RunPhase.STARTING, RunPhase.UP)


# -- stopping --------------------------------------------------------------------------------------------------------


def _stop_run(draft: _Draft, cause: Cause) -> None:
    """Stop everything, for the first and only reason: what comes later is a consequence."""
    draft.cause, draft.phase = cause, RunPhase.STOPPING
    draft.log("run.stopping", reason=cause.words)
    _skip_waiting(draft, draft.waiting, f"the run was stopped: {cause.words}")
    _condemn(draft, draft.replicas)


def _condemn(draft: _Draft, candidates: Iterable[Who]) -> None:
    """Mark live replicas as stopped by us; `_settle` asks each when its turn has come."""
    for who in list(candidates):
        replica = draft.replicas[who]
        if replica.phase in FINAL or replica.phase is Phase.PENDING or replica.doomed:
            continue
        draft.replicas[who] = replace(replica, doomed=True)
        if replica.urge is Urge.NONE:
            draft.condemned |= {who}


def _ask(draft: _Draft, who: Who, replica: Replica) -> None:
    """Send the stop signal; SIGKILL follows after the grace."""
    plan = draft.graph.processes[who.process]
    if replica.end is None:
        draft.log("process.stopping", who, pid=replica.pid, signal=plan.stop_signal, grace=plan.grace)
    draft.commands += [do.Signal(who, plan.stop_signal), do.StartTimer(Timer("grace", who), plan.grace)]
    draft.put(who, replace(replica, phase=Phase.STOPPING, urge=Urge.ASKED))
    draft.condemned -= {who}


def _kill(draft: _Draft, who: Who, replica: Replica, reason: str) -> None:
    draft.log("process.killed", who, pid=replica.pid, reason=reason)
    draft.commands += [
        do.CancelTimer(Timer("grace", who)),
        do.Kill(who),
        do.StartTimer(Timer("abandon", who), ABANDON_AFTER),
    ]
    draft.put(who, replace(replica, phase=Phase.STOPPING, urge=Urge.KILLED))
    draft.condemned -= {who}


def _kill_all(draft: _Draft, reason: str) -> None:
    """Kill everything that lives, without order. What is being started is killed as soon as it has a pid."""
    draft.hurry = True
    for who, replica in list(draft.replicas.items()):
        if replica.phase in (Phase.RUNNING, Phase.STOPPING) and replica.urge is not Urge.KILLED:
            _kill(draft, who, replica, reason)
    if draft.phase is RunPhase.SWEEPING:
        draft.commands.append(do.Sweep(hard=True))


# -- what follows from the state ---------------------------------------------------------------------------------


def _settle(draft: _Draft) -> None:
    """Do everything that the state, as it is now, calls for: end, start, skip, ask the next to stop."""
    if draft.phase is RunPhase.UP:
        _end_with_the_workers(draft)
        _start_and_skip(draft)
    if draft.condemned:
        _ask_those_in_nobodys_way(draft)
    if draft.phase in (RunPhase.UP, RunPhase.STOPPING) and not any(draft.live.values()):
        draft.phase = RunPhase.SWEEPING
        draft.commands += [do.StartTimer(SWEEP, SWEEP_GRACE), do.Sweep(hard=draft.hurry)]


def _end_with_the_workers(draft: _Draft) -> None:
    """A run ends when every process that is not a service has ended."""
    if not draft.changed or not draft.graph.has_workers:
        return
    workers_are_done = all(plan.service or not draft.live[name] for name, plan in draft.graph.processes.items())
    if workers_are_done and any(draft.live.values()):
        _stop_run(draft, Cause("every process that is not a service has ended"))


def _start_and_skip(draft: _Draft) -> None:
    """Look at the waiting dependants of everything that changed, until nothing changes any more."""
    while draft.changed and draft.phase is RunPhase.UP:
        news = list(dict.fromkeys(draft.changed))
        draft.changed.clear()
        for name in dict.fromkeys(other for source in news for other in (source, *draft.graph.direct[source])):
            if name in draft.waiting:
                _consider(draft, name)
        if draft.changed:
            _end_with_the_workers(draft)


def _consider(draft: _Draft, name: str) -> None:
    """Start a waiting process when its dependencies are met, skip it when one can never be."""
    dependencies = draft.graph.processes[name].depends_on
    for dependency in dependencies:
        why = _never(draft, dependency)
        if why:
            _skip_waiting(draft, {name}, why)
            return
    if all(_is_met(draft, dependency) for dependency in dependencies):
        draft.waiting -= {name}
        for who in draft.graph.replicas(name):
            draft.put(who, replace(draft.replicas[who], phase=Phase.STARTING))
            draft.commands.append(do.Spawn(who))


def _never(draft: _Draft, dependency: Dependency) -> str:
    """Return why a dependency can no longer be met, or ""."""
    if dependency.condition == "ended":
        return ""
    for who in draft.graph.replicas(dependency.process):
        replica = draft.replicas[who]
        if replica.phase is Phase.FAILED:
            return f"{draft.graph.label(who)} failed: {replica.reason}"
        if replica.phase is Phase.SKIPPED:
            return f"{draft.graph.label(who)} was skipped ({replica.reason})"
    return ""


def _is_met(draft: _Draft, dependency: Dependency) -> bool:
    if dependency.condition in ("completed", "ended"):
        return draft.live[dependency.process] == 0
    # started and ready: nothing declares how it becomes ready, so a process is ready when it runs
    return all(draft.replicas[who].pid is not None for who in draft.graph.replicas(dependency.process))


def _skip_waiting(draft: _Draft, names: Collection[str], reason: str) -> None:
    for name in [name for name in draft.graph.processes if name in names and name in draft.waiting]:
        draft.waiting -= {name}
        for who in draft.graph.replicas(name):
            draft.log("process.skipped", who, reason=reason)
            draft.put(who, replace(draft.replicas[who], phase=Phase.SKIPPED, reason=reason))


def _ask_those_in_nobodys_way(draft: _Draft) -> None:
    for who in sorted(draft.condemned):
        replica = draft.replicas[who]
        if replica.phase is not Phase.STARTING and not any(
            draft.live[name] for name in draft.graph.dependants[who.process] if name not in draft.waiting
        ):
            _ask(draft, who, replica)


_HANDLERS: dict[type[Event], Callable[[_Draft, Any], None]] = {
    on.Begin: _begin,
    on.Started: _started,
    on.LaunchFailed: _launch_failed,
    on.Withheld: _withheld,
    on.Exited: _exited,
    on.Lingering: _lingering,
    on.Ended: _ended,
    on.TimerFired: _timer_fired,
    on.StopRequested: _stop_requested,
    on.KillRequested: _kill_requested,
    on.Swept: _swept,
}
