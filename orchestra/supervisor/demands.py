"""What a person asks of single processes while the run is up: stop, start, restart, scale. Pure.

A person's word is the last one: a replica that was stopped stays down, whatever its `restart` says, and does not end
the run. Once the run itself is being stopped, nobody's word counts any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.draft import Draft
from orchestra.supervisor.states import BUSY, FINAL, Graph, Phase, Replica, RunPhase, Who
from orchestra.supervisor.stopping import condemn


def is_changeable(draft: Draft) -> bool:
    """Whether single processes can be acted on at this moment."""
    return draft.phase is RunPhase.UP and draft.change is None


def stop(draft: Draft, event: on.StopAsked) -> None:
    """Stop these replicas and leave them down."""
    for who in _known(draft, event.whos):
        replica = draft.replicas[who]
        if replica.phase in FINAL or (replica.phase is Phase.PENDING and not replica.wanted):
            continue
        draft.log("process.stop_requested", who, by=event.by)
        if replica.phase is Phase.PENDING:
            _forget_waiting(draft, who)
            draft.put(who, replace(replica, wanted=False, parked=True))
            continue
        condemn(draft, [who])
        draft.change_of(who, parked=True, again=False)


def _forget_waiting(draft: Draft, who: Who) -> None:
    """Stop looking for what a process waits for when none of its other replicas is to start."""
    if who.process in draft.watching and draft.pending[who.process] == 1:
        draft.watching -= {who.process}
        draft.commands.append(do.ForgetFor(who.process))


def start(draft: Draft, event: on.StartAsked) -> None:
    """Start these replicas, and first what they depend on that is down."""
    for who in _known(draft, event.whos):
        replica = draft.replicas[who]
        if replica.phase in BUSY and not (replica.doomed or replica.parked):
            continue
        if replica.is_live and replica.phase is Phase.PENDING:
            continue
        draft.log("process.start_requested", who, by=event.by)
        _want_dependencies(draft, who.process, set())
        _want(draft, who)


def _want_dependencies(draft: Draft, name: str, seen: set[str]) -> None:
    rest = [name]
    while rest:
        for dependency in draft.graph.processes[rest.pop()].depends_on:
            other = dependency.process
            if other in seen:
                continue
            seen.add(other)
            for who in draft.graph.replicas(other):
                if not _serves(draft.replicas[who], dependency.condition):
                    _want(draft, who)
                    rest.append(other)


def _serves(replica: Replica, condition: str) -> bool:
    """Whether a replica is as a dependant wants it, or on its way there."""
    if replica.is_live:
        return not (replica.parked or replica.doomed)
    return replica.phase is Phase.EXITED and condition in ("completed", "ended")


def _want(draft: Draft, who: Who) -> None:
    """Have a replica that is down, or going down, come up."""
    if draft.is_abandoned(who):
        return  # something of it is still there
    replica = draft.replicas[who]
    draft.failures = tuple(failure for failure in draft.failures if failure.who != who)
    if replica.phase is Phase.BACKOFF:
        draft.cancel_timer("backoff", who)
    if replica.phase in BUSY:
        if replica.doomed or replica.parked:
            draft.put(who, replace(replica, again=True, parked=False))
        return
    launches = 0 if replica.phase is Phase.SKIPPED else replica.launches
    draft.put(
        who,
        replace(
            replica, phase=Phase.PENDING, wanted=True, parked=False, launches=launches, tries=0, restarted_at=(),
            reason="",
        ),
    )  # fmt: skip


def restart(draft: Draft, event: on.RestartAsked) -> None:
    """Stop these replicas and start them again, and those that restart with them."""
    named = _known(draft, event.whos)
    for who in named:
        draft.log("process.restart_requested", who, by=event.by)
    followers = {name for who in named for name in draft.graph.followers[who.process]}
    for who in (*named, *(other for other in draft.replicas if other.process in followers and other not in named)):
        replica = draft.replicas[who]
        if replica.phase in BUSY:
            if who in named:
                draft.change_of(who, parked=False)
            condemn(draft, [who], again=True)
        elif who in named or replica.phase is Phase.BACKOFF:
            _want_dependencies(draft, who.process, set())
            _want(draft, who)


def scale(draft: Draft, event: on.ScaleAsked) -> None:
    """Add or retire replicas of a process; the highest numbers go first."""
    plan = draft.graph.processes.get(event.process)
    if not is_changeable(draft) or plan is None or plan.replicas == event.replicas or event.replicas < 1:
        return
    draft.log("process.scaled", Who(event.process, 1), replicas=event.replicas, before=plan.replicas, by=event.by)
    plans = [p._replace(replicas=event.replicas) if p is plan else p for p in draft.graph.processes.values()]
    draft.graph = Graph.of(plans)
    resize(draft, event.process)


def resize(draft: Draft, name: str, *, wanted: bool = True) -> None:
    """Make the replicas of a process fit its plan."""
    expected = set(draft.graph.replicas(name))
    for who in sorted(expected):
        replica = draft.replicas.get(who)
        if replica is None:
            draft.add(who, wanted=wanted)
        elif replica.retired and replica.phase in BUSY:
            draft.put(who, replace(replica, retired=False, again=True))
        elif replica.retired:
            draft.put(who, replace(replica, retired=False, phase=Phase.PENDING, wanted=wanted))
    retire(draft, [who for who in draft.replicas if who.process == name and who not in expected])


def retire(draft: Draft, whos: Iterable[Who]) -> None:
    """Take replicas out of the run, as soon as they have ended."""
    for who in list(whos):
        if draft.replicas[who].phase in BUSY:
            condemn(draft, [who])
            draft.replicas[who] = replace(draft.replicas[who], retired=True)
        elif not draft.is_abandoned(who):
            if draft.replicas[who].phase is Phase.BACKOFF:
                draft.cancel_timer("backoff", who)
            draft.drop(who)


def _known(draft: Draft, whos: Iterable[Who]) -> list[Who]:
    """Return those replicas that can be acted on now."""
    if not is_changeable(draft):
        return []
    known = draft.graph.processes
    return [who for who in dict.fromkeys(whos) if who in draft.replicas and who.process in known]
