"""What may start, and what never can: dependencies, and `wait_for`. Pure.

*Only `ended` tolerates failure.* A dependency that failed, or was skipped, makes its dependants `skipped` whatever
else they wait for; a dependant that waits for `ended` is the one that asked to run in any case.

*A start again asks less.* Once a process ran its dependencies had been met, and `wait_for` had been: for its next start
it only waits for those of its dependencies that are on their way up.
"""

from __future__ import annotations

from dataclasses import replace

from orchestra.runplan import Dependency, WaitFor
from orchestra.supervisor import commands as do
from orchestra.supervisor.draft import Draft
from orchestra.supervisor.states import BUSY, FINAL, Phase, Reached, Replica, RunState, Urge, Who
from orchestra.supervisor.stopping import skip_pending

_NEEDED = {"started": Reached.STARTED, "ready": Reached.READY}


def consider(draft: Draft, name: str) -> None:
    """Start the pending replicas of a process when they may be; skip those that never can be."""
    pending = [who for who in draft.graph.replicas(name) if _is_pending(draft.replicas[who])]
    again = [who for who in pending if draft.replicas[who].launches]
    dependencies = draft.graph.processes[name].depends_on
    if again and all(_is_settled(draft, dependency) for dependency in dependencies):
        _launch(draft, again)
    if len(again) == len(pending):
        return
    why = next(filter(None, (_never(draft, dependency) for dependency in dependencies)), "")
    if why:
        skip_pending(draft, {name}, why)
    elif all(_is_met(draft, dependency) for dependency in dependencies) and _has_waited(draft, name):
        _launch(draft, [who for who in pending if who not in again])


def _is_pending(replica: Replica) -> bool:
    return replica.phase is Phase.PENDING and replica.wanted


def _launch(draft: Draft, whos: list[Who]) -> None:
    for who in whos:
        old = draft.replicas[who]
        new = replace(
            old, phase=Phase.STARTING, pid=None, end=None, verdict="", urge=Urge.NONE, reached=Reached.NOTHING,
            doomed=False, parked=False, again=False, rejected="", over=False, reason="", launches=old.launches + 1,
        )  # fmt: skip
        draft.put(who, new)
        if who.replica == 1:  # it may make its objects anew: they are looked at again
            draft.made -= {who.process}
        draft.commands.append(do.Spawn(who))


def _has_waited(draft: Draft, name: str) -> bool:
    """Whether `wait_for` of a process was met; if not, have it looked for."""
    wait_for = draft.graph.processes[name].wait_for
    if not wait_for or name in draft.waited:
        return True
    if name not in draft.watching:
        draft.watching |= {name}
        draft.commands.append(do.WatchFor(name))
        draft.log("process.waiting", Who(name, 1), conditions=[words(condition) for condition in wait_for])
    return False


def words(condition: WaitFor) -> str:
    """Return a condition of `wait_for` for people."""
    if condition.what == "blocked_on":
        return f"{condition.subject} blocked on {condition.object}"
    if condition.what == "exists":
        return f"{condition.subject} exists" if condition.expected else f"{condition.subject} does not exist"
    low, high = condition.minimum, condition.maximum
    number = f"{low} or more" if high is None else f"{low}" if low == high else f"{low} to {high}"
    what = f"value of member {condition.member}" if condition.member else condition.what
    return f"{condition.subject}: {what} {number}"


def waits_for(state: RunState, name: str, number: int) -> str:
    """Return what a replica that is to be started still waits for, for people; "" when it waits for nothing."""
    replica = state.replicas.get(Who(name, number))
    if replica is None or replica.phase is not Phase.PENDING:
        return ""
    if not replica.wanted:
        return "waits for somebody to start it"
    plan = state.graph.processes[name]
    unmet = [_in_words(state, dependency) for dependency in plan.depends_on if not _is_met(state, dependency)]
    if not unmet and name not in state.waited:
        unmet = [words(condition) for condition in plan.wait_for]
    return f"waits for {', '.join(unmet)}" if unmet else ""


def is_waiting_for_a_person(state: RunState, name: str) -> bool:
    """Whether a process depends on one that a person stopped."""
    return any(state.parked[dependency.process] for dependency in state.graph.processes[name].depends_on)


def _in_words(state: RunState, dependency: Dependency) -> str:
    stopped = ", which a person stopped" if state.parked[dependency.process] else ""
    return f"{dependency.process} {dependency.condition}{stopped}"


def _never(draft: Draft, dependency: Dependency) -> str:
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


def _is_met(draft: Draft | RunState, dependency: Dependency) -> bool:
    name = dependency.process
    if draft.parked[name]:
        return False
    needed = _NEEDED.get(dependency.condition)
    if needed is None:  # completed, ended
        return not draft.live[name] and all(draft.replicas[who].phase in FINAL for who in draft.graph.replicas(name))
    replicas = [draft.replicas[who] for who in draft.graph.replicas(name)]
    return all(replica.reached >= needed and not _is_leaving(replica) for replica in replicas)


def _is_leaving(replica: Replica) -> bool:
    return replica.phase in BUSY and (replica.doomed or replica.phase is Phase.STOPPING)


def _is_settled(draft: Draft, dependency: Dependency) -> bool:
    """Whether a dependency of a process that already ran is up, or not on its way up."""
    name = dependency.process
    needed = _NEEDED.get(dependency.condition)
    if needed is None:
        return not draft.live[name]
    replicas = [draft.replicas[who] for who in draft.graph.replicas(name)]
    return all(not r.is_live or (r.reached >= needed and not _is_leaving(r)) for r in replicas)
