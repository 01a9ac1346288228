"""What is asked of a live run over its control socket, and the answers, at once or when it has come about.

The machine decides; here a request becomes its event, and every time that something has happened the replicas are
looked at again until each came to what was asked for (`goals`), or time is up.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from itertools import count
from typing import Any, Protocol

from orchestra.errors import Conflict, LaunchFailed, NotFound, OrchestraError, UsageError
from orchestra.kinds import Access
from orchestra.runplan import RunPlan
from orchestra.supervisor import change, goals, protocol
from orchestra.supervisor import events as on
from orchestra.supervisor.control_server import Client
from orchestra.supervisor.goals import Before, Verdict
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.starting import is_waiting_for_a_person, waits_for
from orchestra.supervisor.states import Phase, Replica, RunPhase, RunState, Who

REPLICAS_MAX = 10_000  # as in a file
_Name = tuple[str, int]
_Told = Callable[[OrchestraError | None], None]
DESCRIPTORS_MAX = 250  # in one answer: the kernel's SCM_MAX_FD is 253
_BY = "orchestra {}"  # who asked, in the log
_NOT_NOW = {
    RunPhase.STARTING: "is still making its objects",
    RunPhase.STOPPING: "is going down",
    RunPhase.SWEEPING: "is going down",
    RunPhase.HOLDING: "has ended; its objects are held until somebody asks for the end",
    RunPhase.OVER: "is down",
}


class Run(Protocol):
    """The supervisor, as far as requests need it."""

    @property
    def state(self) -> RunState:
        """The machine's state."""

    @property
    def plan(self) -> RunPlan:
        """The plan that the run follows now."""

    @property
    def reactor(self) -> Reactor:
        """Where timers are set."""

    def dispatch(self, *events: on.Event) -> None:
        """Feed events to the machine."""

    def answer(self) -> dict[str, Any]:
        """Return the answer to `state`."""

    def end(self, leak: bool, timeout: float | None) -> None:
        """Ask for the end of the run."""

    def say(self, event: str, **fields: Any) -> None:
        """Write an event to the log."""

    def replan(self, plan: RunPlan) -> None:
        """Take another plan of the same objects: replicas, environment."""

    def leave_objects(self) -> None:
        """Leave every object behind at the end, on record."""

    def announce(self, found: change.Difference) -> None:
        """Put on record that the run is about to change. Raises OrchestraError."""

    def rebuild(self, found: change.Difference, *, recreate: bool) -> None:
        """Make objects and wires fit. Raises OrchestraError; then everything is as before."""

    def wiring(self, target: Who | None, uses: Mapping[str, Access]) -> tuple[dict[str, Any], list[int]]:
        """Return what a replica is started with, and descriptors for the caller to close. Raises OrchestraError."""


class Asker(Protocol):
    """Who waits for an answer: a client, or the command that started the run."""

    on_close: dict[Hashable, Callable[[], object]]

    def answer(self, content: Mapping[str, Any]) -> None:
        """Tell it."""


class _Pending:
    """Somebody waits for replicas to come to something."""

    def __init__(self, client: Asker, wanted: Mapping[Who, str], state: RunState) -> None:
        self.client = client
        self.wanted = dict(wanted)
        self.before = {who: Before(state.replicas.get(who)) for who in wanted}
        self.verdicts: dict[Who, Verdict] = {}

    def look(self, state: RunState) -> bool:
        """Judge what is open; True when nothing is any more."""
        for who, goal in self.wanted.items():
            known = self.verdicts.pop(who, None)
            if known is not None and (goal != "settled" or known.result != goals.OK):
                self.verdicts[who] = known  # but everything is to be up at one moment
                continue
            replica = state.replicas.get(who)
            self.before[who] = self.before[who].seen(replica)
            plan = state.graph.processes.get(who.process)
            declares = plan is not None and plan.ready is not None
            found = goals.look(goal, replica, self.before[who], declares_ready=declares)
            if found is not None:
                self.verdicts[who] = found
        self._look_at_the_waiting(state)
        return len(self.verdicts) == len(self.wanted)

    def _look_at_the_waiting(self, state: RunState) -> None:
        """What waits for others has no deadline: it is not waited for in vain, nor once something else has failed."""
        waiting = {
            who: words
            for who, goal in self.wanted.items()
            if goal == "settled" and who not in self.verdicts and (words := waits_for(state, *who))
        }
        lost = {who for who in waiting if is_waiting_for_a_person(state, who.process)}
        bad = lost or any(verdict.result != goals.OK for verdict in self.verdicts.values())
        if bad and len(self.verdicts) + len(waiting) == len(self.wanted):
            self.verdicts |= {who: Verdict(goals.FAILED, words) for who, words in waiting.items()}

    def give_up(self, verdict: Verdict) -> None:
        """Judge everything that is open."""
        self.verdicts = {who: self.verdicts.get(who, verdict) for who in self.wanted}


class Requests:
    """The requests of one run that are not answered yet."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._serial = count()
        self._pending: dict[int, _Pending] = {}
        self._for_the_end: dict[_Name, Client] = {}
        self._change: tuple[change.Difference, bool, _Told] | None = None
        self._rebuilt: tuple[_Told, OrchestraError | None] | None = None

    def handle(self, client: Client, request: Any) -> None:
        """Carry out one request. Raises OrchestraError, which is the answer."""
        op = protocol.check(request)
        given = {key: value for key, value in request.items() if value is not None}
        OPERATIONS[op](self, client, given)

    def look(self) -> None:
        """See who can be answered now; call it whenever something has happened."""
        if self._rebuilt is not None and self._run.state.change is None:  # the machine knows of it
            (told, failed), self._rebuilt = self._rebuilt, None
            told(failed)
        for serial, pending in list(self._pending.items()):
            if pending.look(self._run.state):
                self._done(serial)

    def watch_start(self, tell: Callable[[list[dict[str, Any]]], None]) -> None:
        """Tell once, with one result a replica, when all that starts by itself is ready, has completed, or cannot."""
        self._await(_Pending(_Command(tell), self._all("settled"), self._run.state), {})

    def finish(self, **last: Any) -> None:
        """Answer everybody who still waits: the run is over."""
        self.look()
        for serial, pending in list(self._pending.items()):
            pending.give_up(Verdict(goals.FAILED, "the run has ended"))
            self._done(serial)
        if self._change is not None:
            (_, _, told), self._change = self._change, None
            told(Conflict("the run was ended before it could be changed"))
        for name, client in list(self._for_the_end.items()):
            self._forget_end(name)
            client.answer({"ended": True, **last})

    def rebuild(self) -> None:
        """Carry out the machine's Rebuild."""
        if self._change is None:
            raise RuntimeError("a Rebuild that nobody asked for")
        (found, recreate, told), self._change = self._change, None
        failed: OrchestraError | None = None
        try:
            self._run.rebuild(found, recreate=recreate)
        except OrchestraError as err:
            failed = err
        self._rebuilt = (told, failed)
        self._run.dispatch(on.Rebuilt(failed.problem if failed is not None else ""))

    # -- one method an operation -------------------------------------------------------------------------------------

    def _state(self, client: Client, _request: Mapping[str, Any]) -> None:
        client.answer(self._run.answer())

    def _stop(self, client: Client, request: Mapping[str, Any]) -> None:
        self._await_the_end(client, None)
        self._run.end(bool(request.get("leak")), request.get("timeout"))

    def _stop_processes(self, client: Client, request: Mapping[str, Any]) -> None:
        self._demand(client, request, on.StopAsked, "stop", "stopped")

    def _start(self, client: Client, request: Mapping[str, Any]) -> None:
        self._demand(client, request, on.StartAsked, "start", "up")

    def _restart(self, client: Client, request: Mapping[str, Any]) -> None:
        self._demand(client, request, on.RestartAsked, "restart", "up")

    def _demand(self, client: Client, request: Mapping[str, Any], event: Any, word: str, goal: str) -> None:
        whos = self._targets(request)
        self._must_be_changeable()
        pending = _Pending(client, dict.fromkeys(whos, goal), self._run.state)
        if word == "restart":  # those that are up now do not count
            pending.before = {who: before._replace(anew=True) for who, before in pending.before.items()}
        client.answer({"accepted": True})
        self._run.dispatch(event(tuple(whos), _BY.format(word)))
        self._await(pending, request)

    def _scale(self, client: Client, request: Mapping[str, Any]) -> None:
        wanted: dict[str, int] = request["replicas"]
        processes = self._run.state.graph.processes
        for name, replicas in wanted.items():
            self._known(name)
            if not 1 <= replicas <= REPLICAS_MAX:
                hint = f"From 1 to {REPLICAS_MAX}; `orchestra stop {self._run.plan.instance}.{name}` stops all of them."
                raise UsageError(f"{name} cannot have {replicas} replicas", hint=hint)
        self._must_be_changeable()
        expected = {
            Who(name, number): "up" if number <= replicas else "gone"
            for name, replicas in wanted.items()
            for number in range(1, max(replicas, processes[name].replicas) + 1)
            if number > min(replicas, processes[name].replicas)
        }
        pending = _Pending(client, expected, self._run.state)
        client.answer({"accepted": True})
        plans = tuple(p._replace(replicas=wanted.get(p.name, p.replicas)) for p in self._run.plan.processes)
        self._run.replan(self._run.plan._replace(processes=plans))
        self._run.dispatch(*(on.ScaleAsked(name, n, _BY.format("scale")) for name, n in wanted.items()))
        self._await(pending, request)

    def _signal(self, client: Client, request: Mapping[str, Any]) -> None:
        number = _signal_number(request["signal"])
        pending = _Pending(client, dict.fromkeys(self._targets(request), "signalled"), self._run.state)
        for who in pending.wanted:
            pending.verdicts[who] = self._send_signal(who, number)
        client.answer({"done": True, "results": self._results(pending)})

    def _send_signal(self, who: Who, number: signal.Signals) -> Verdict:
        replica = self._run.state.replicas[who]
        if replica.pid is None or replica.end is not None or replica.phase in (Phase.BACKOFF, Phase.PENDING):
            return Verdict(goals.FAILED, f"it does not run: it is {replica.phase.value}")
        try:
            os.kill(replica.pid, number)  # a child of ours that was not reaped: the number is its own
        except OSError as err:
            return Verdict(goals.FAILED, str(err.strerror))
        label = self._run.state.graph.label(who)
        self._run.say(
            "process.signalled",
            process=who.process,
            replica=who.replica,
            who=label,
            pid=replica.pid,
            signal=number.name,
            by=_BY.format("signal"),
        )
        return Verdict(goals.OK)

    def _wait(self, client: Client, request: Mapping[str, Any]) -> None:
        condition = request.get("for", "exited")
        if "targets" not in request and condition == "exited":
            self._await_the_end(client, request.get("timeout"))
            return
        if "targets" in request:
            wanted = dict.fromkeys(self._targets(request), condition)
        else:
            wanted = self._all("settled" if condition == "ready" else condition)
        pending = _Pending(client, wanted, self._run.state)
        client.answer({"accepted": True})
        self._await(pending, request)

    def _await_the_end(self, client: Client, timeout: float | None) -> None:
        name = ("request", next(self._serial))
        self._for_the_end[name] = client
        client.on_close[name] = partial(self._forget_end, name)
        client.answer({"accepted": True})
        if timeout is not None:
            self._run.reactor.after(name, timeout, partial(self._end_is_late, name))

    def _end_is_late(self, name: _Name) -> None:
        client = self._forget_end(name)
        if client is not None:
            client.answer({"done": True, "results": [], "state": self._run.answer()["state"]})

    def _forget_end(self, name: _Name) -> Client | None:
        self._run.reactor.cancel(name)
        client = self._for_the_end.pop(name, None)
        if client is not None:
            client.on_close.pop(name, None)
        return client

    def _change_plan(self, client: Client, request: Mapping[str, Any]) -> None:
        old, only = self._run.plan, tuple(request.get("only", ()))
        try:
            new = RunPlan.from_json(json.dumps(request["plan"]))
            change.check(new)
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise UsageError("the plan cannot be read", detail=repr(err)) from err
        if (old.instance, old.file) != (new.instance, new.file):
            raise Conflict(f"{old.instance} was started from another file", detail=old.file)
        for name in only:
            if all(process.name != name for process in new.processes):
                raise NotFound(f"the plan has no process `{name}`")
        found = change.difference(old, new, only=only)
        listed = [step._asdict() for step in change.steps(found)]
        if request.get("dry_run"):
            client.answer({"difference": listed})
            return
        if not request.get("recreate"):
            change.refuse_reshaping(found, old)
        self._must_be_changeable()
        if found.is_empty:
            self._run.replan(found.plan)  # what starts from now on gets the environment of the caller
            client.answer({"difference": listed, "accepted": True})
            self._changed(client, request, found, only, None)
            return
        self._run.announce(found)
        self._change = (found, bool(request.get("recreate")), partial(self._changed, client, request, found, only))
        client.answer({"difference": listed, "accepted": True})
        makers = frozenset(item.made_by for item in found.plan.objects if item.made_by)
        by = _BY.format("up")
        self._run.dispatch(on.PlanChanged(found.plan.processes, frozenset(found.restarted), by, makers))

    def _changed(
        self,
        client: Client,
        request: Mapping[str, Any],
        found: change.Difference,
        only: Iterable[str],
        failed: OrchestraError | None,
    ) -> None:
        """The objects fit, or could not be made to: wait for the processes."""
        if failed is not None:
            client.refuse(failed)
            return
        if request.get("leak"):
            self._run.leave_objects()
        state = self._run.state
        asked = [who for name in only for who in state.graph.replicas(name)]
        new = {*found.added, *found.restarted}
        wanted = {
            who: "settled"
            for who, replica in state.replicas.items()
            if not _is_left_out(replica) and (who.process in new or who in asked)
        }
        for name, (before, after) in found.scaled.items():
            wanted |= {Who(name, number): "settled" for number in range(before + 1, after + 1)}
            wanted |= {Who(name, number): "gone" for number in range(after + 1, before + 1)}
        pending = _Pending(client, {**wanted, **dict.fromkeys(asked, "up")}, state)
        self._run.dispatch(on.StartAsked(tuple(asked), _BY.format("up")))
        self._await(pending, request)

    def _wiring(self, client: Client, request: Mapping[str, Any]) -> None:
        target = None
        if "target" in request:
            target = self._who(request["target"])[0]
        uses = {}
        for key, word in request.get("uses", {}).items():
            if all(item.key != key for item in self._run.plan.objects):
                known = ", ".join(item.key for item in self._run.plan.objects)
                hint = f"Objects: {known}." if known else ""
                raise NotFound(f"{self._run.plan.instance} has no object `{key}`", hint=hint)
            try:
                uses[key] = Access(word)
            except ValueError:
                raise UsageError(f"`{word}` is no access", hint="read, write or read-write.") from None
        content, fds = self._run.wiring(target, uses)
        if len(fds) > DESCRIPTORS_MAX:
            for fd in fds:
                os.close(fd)
            raise LaunchFailed(
                f"{len(fds)} descriptors cannot be handed over at once", stage="descriptors", errno=0, path="",
                hint=f"The kernel passes {DESCRIPTORS_MAX} in one message: name fewer objects with --uses.",
            )  # fmt: skip
        client.answer(content, fds)

    # -- what they share ---------------------------------------------------------------------------------------------

    def _must_be_changeable(self) -> None:
        """Raise Conflict when single processes cannot be acted on now."""
        state = self._run.state
        if state.phase is not RunPhase.UP:
            raise Conflict(f"{self._run.plan.instance} {_NOT_NOW[state.phase]}", hint="`orchestra ls` shows its state.")
        if state.change is not None or self._change is not None or self._rebuilt is not None:
            raise Conflict(f"{self._run.plan.instance} is being changed at this moment", hint="Try again.")

    def _all(self, goal: str) -> dict[Who, str]:
        return {who: goal for who, replica in self._run.state.replicas.items() if not _is_left_out(replica)}

    def _targets(self, request: Mapping[str, Any]) -> list[Who]:
        if "targets" not in request:
            return list(self._run.state.replicas)
        return list(dict.fromkeys(who for word in request["targets"] for who in self._who(word)))

    def _who(self, word: str) -> list[Who]:
        """Return the replicas that NAME or NAME.REPLICA means. Raises NotFound."""
        name, dot, number = word.partition(".")
        self._known(name)
        whos = [who for who in self._run.state.replicas if who.process == name]
        if not dot:
            return whos
        found = [who for who in whos if str(who.replica) == number]
        if not found:
            raise NotFound(f"{name} has no replica {number}", hint=f"It has {len(whos)}.")
        return found

    def _known(self, name: str) -> None:
        processes = self._run.state.graph.processes
        if name not in processes:
            from difflib import get_close_matches  # only on the way to an error message

            near = get_close_matches(name, processes, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"Processes: {', '.join(processes)}."
            raise NotFound(f"{self._run.plan.instance} has no process `{name}`", hint=hint)

    def _await(self, pending: _Pending, request: Mapping[str, Any]) -> None:
        serial = next(self._serial)
        self._pending[serial] = pending
        pending.client.on_close[serial] = partial(self._forget, serial)
        if "timeout" in request:
            self._run.reactor.after(("request", serial), request["timeout"], partial(self._late, serial))
        self.look()

    def _late(self, serial: int) -> None:
        self._pending[serial].give_up(Verdict(goals.TIMEOUT, "not within the time given"))
        self._done(serial)

    def _done(self, serial: int) -> None:
        pending = self._pending[serial]
        self._forget(serial)
        pending.client.answer({"done": True, "results": self._results(pending)})

    def _forget(self, serial: int) -> None:
        self._run.reactor.cancel(("request", serial))
        pending = self._pending.pop(serial, None)
        if pending is not None:
            pending.client.on_close.pop(serial, None)

    def _results(self, pending: _Pending) -> list[dict[str, Any]]:
        return [_row(who, self._run.state.replicas.get(who), pending.verdicts[who]) for who in pending.wanted]


class _Command:
    """The command at the other end of the channel."""

    def __init__(self, tell: Callable[[list[dict[str, Any]]], None]) -> None:
        self._tell = tell
        self.on_close: dict[Hashable, Callable[[], object]] = {}

    def answer(self, content: Mapping[str, Any]) -> None:
        self._tell(content["results"])


def _row(who: Who, replica: Replica | None, verdict: Verdict) -> dict[str, Any]:
    code, by_signal = (replica.end if replica is not None else None) or (None, None)
    return {
        "name": who.process,
        "replica": who.replica,
        "result": verdict.result,
        "state": replica.phase.value if replica is not None else None,
        "pid": replica.pid if replica is not None else None,
        "exit_code": code,
        "signal": by_signal,
        "reason": verdict.reason,
    }


def _is_left_out(replica: Replica) -> bool:
    """Whether nobody has asked for a replica: `autostart: false`, or a person stopped it before it began."""
    return replica.phase is Phase.PENDING and not replica.wanted


def _signal_number(word: str) -> signal.Signals:
    name = word.upper()
    try:
        if name.isdecimal():
            return signal.Signals(int(name))
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except (KeyError, ValueError):
        hint = "Write SIGUSR1, USR1 or 10; `kill -l` lists them."
        raise UsageError(f"there is no signal `{word}`", hint=hint) from None


OPERATIONS: dict[str, Callable[[Requests, Client, Mapping[str, Any]], None]] = {
    "state": Requests._state,  # noqa: SLF001 the table of this very class
    "stop": Requests._stop,  # noqa: SLF001
    "stop-processes": Requests._stop_processes,  # noqa: SLF001
    "start": Requests._start,  # noqa: SLF001
    "restart": Requests._restart,  # noqa: SLF001
    "scale": Requests._scale,  # noqa: SLF001
    "signal": Requests._signal,  # noqa: SLF001
    "wait": Requests._wait,  # noqa: SLF001
    "change": Requests._change_plan,  # noqa: SLF001
    "wiring": Requests._wiring,  # noqa: SLF001
}
