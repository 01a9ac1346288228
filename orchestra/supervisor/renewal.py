"""How an edited plan comes in while the run is up: stop what it drops or changes, rebuild, start. Pure.

What the edit does not touch goes on undisturbed. Objects are only made to fit once nobody uses them who will have to be
started again. A change that cannot be made is undone: what was stopped for it starts again as it was.
"""

from __future__ import annotations

from dataclasses import replace

from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.demands import is_changeable, resize, retire
from orchestra.supervisor.draft import Draft
from orchestra.supervisor.states import BUSY, Change, Graph, Phase
from orchestra.supervisor.stopping import condemn


def begin(draft: Draft, event: on.PlanChanged) -> None:
    """Stop what the new plan drops or changes. Another change that is under way goes first: this one is dropped."""
    if not is_changeable(draft):
        draft.log("run.change_failed", reason="another change is under way, or the run is not up")
        return
    new = Graph.of(event.processes)
    old = draft.graph.processes
    removed = frozenset(old) - frozenset(new.processes)
    edited = event.restart & frozenset(new.processes)
    restart = edited.union(*(new.followers[name] for name in edited))
    stopping = removed | (restart & frozenset(old))
    goes_on = {who for who, replica in draft.replicas.items() if replica.is_live and not replica.parked}
    revive = frozenset(who for who in goes_on if who.process in stopping)
    draft.change = Change(event.processes, event.makers, restart, stopping, revive)
    draft.log("run.changing", by=event.by, stopping=sorted(stopping) or None)
    for who, replica in list(draft.replicas.items()):
        if who.process not in stopping:
            continue
        if replica.phase is Phase.BACKOFF:
            draft.cancel_timer("backoff", who)
        if replica.phase in BUSY:
            condemn(draft, [who])
        elif replica.is_live:
            draft.put(who, replace(replica, phase=Phase.PENDING, wanted=False))
    for name in stopping & draft.watching:
        draft.commands.append(do.ForgetFor(name))
    draft.watching -= stopping


def go_on(draft: Draft) -> None:
    """Rebuild, once nothing is left of what had to stop."""
    change = draft.change
    if change is not None and not change.rebuilding and not any(draft.busy[name] for name in change.stopping):
        draft.change = change._replace(rebuilding=True)
        draft.commands.append(do.Rebuild())


def rebuilt(draft: Draft, event: on.Rebuilt) -> None:
    """Go on with the new plan; or with the old one, when the objects could not be made to fit."""
    change, draft.change = draft.change, None
    if change is None:
        return  # the run was stopped meanwhile
    if event.failed:
        draft.log("run.change_failed", reason=event.failed)
        for who in sorted(change.revive):
            if who in draft.replicas and draft.replicas[who].phase is Phase.PENDING:
                draft.change_of(who, wanted=True)
        draft.changed.extend(draft.graph.processes)
        return
    _adopt(draft, change)
    draft.log("run.changed", restarted=sorted(change.restart) or None)


def _adopt(draft: Draft, change: Change) -> None:
    before = frozenset(draft.graph.processes)
    draft.graph, draft.makers = Graph.of(change.processes), change.makers
    draft.waited -= change.stopping
    draft.made -= change.stopping
    gone = [who for who in draft.replicas if who.process not in draft.graph.processes]
    retire(draft, gone)
    draft.recount()
    needed = draft.graph.needed()
    for name in draft.graph.processes:
        if name in change.restart and name in before:
            _start_anew(draft, name, change, wanted=name in needed)
        resize(draft, name, wanted=name in needed)
    draft.changed.extend(draft.graph.processes)


def _start_anew(draft: Draft, name: str, change: Change, *, wanted: bool) -> None:
    """Have the replicas of a changed process start as if for the first time, but those that a person stopped."""
    for who in draft.graph.replicas(name):
        replica = draft.replicas.get(who)
        if replica is None or replica.parked or draft.is_abandoned(who):
            continue
        draft.failures = tuple(failure for failure in draft.failures if failure.who != who)
        draft.put(
            who,
            replace(
                replica, phase=Phase.PENDING, wanted=wanted or who in change.revive, launches=0, tries=0,
                restarted_at=(), reason="",
            ),
        )  # fmt: skip
