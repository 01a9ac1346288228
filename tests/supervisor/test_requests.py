"""Requests against a run without processes: the real machine, and a test that plays the kernel."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra.errors import Conflict, NotFound, OrchestraError, UsageError
from orchestra.kinds import Access, Family, Kind
from orchestra.runplan import ObjectPlan, ProcessPlan, Ready, Restart, RunPlan, WaitFor
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.change import Difference
from orchestra.supervisor.requests import Requests
from orchestra.supervisor.states import BUSY, Phase, RunState, Who
from tests.support.play import Play, plan, spawned

JOBS = ObjectPlan("jobs", Family.SYSV, Kind.QUEUE, capacity=64)


class Timers:
    """A reactor of which nothing but the timers is used, and time is the test's."""

    def __init__(self) -> None:
        self.running: dict[Hashable, Callable[[], None]] = {}

    def after(self, name: Hashable, _seconds: float, callback: Callable[[], None]) -> None:
        self.running[name] = callback

    def cancel(self, name: Hashable) -> None:
        self.running.pop(name, None)

    def fire(self) -> None:
        for name in list(self.running):
            self.running.pop(name)()


class Asking:
    """A client that keeps its answers."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.errors: list[OrchestraError] = []
        self.descriptors: list[int] = []
        self.on_close: dict[Hashable, Callable[[], object]] = {}

    def answer(self, content: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        self.answers.append(dict(content))
        self.descriptors += descriptors

    def refuse(self, error: OrchestraError) -> None:
        self.errors.append(error)

    @property
    def last(self) -> dict[str, Any]:
        return self.answers[-1]

    @property
    def results(self) -> dict[str, str]:
        """What became of each replica; fails while that is open."""
        return {f"{row['name']}.{row['replica']}": row["result"] for row in self.last["results"]}

    @property
    def is_open(self) -> bool:
        return "done" not in self.last and "ended" not in self.last

    def leave(self) -> None:
        for told in list(self.on_close.values()):
            told()


class Bench:
    """A run of some processes that started; what the machine commands is kept for the test to play."""

    def __init__(self, *plans: ProcessPlan, objects: tuple[ObjectPlan, ...] = (), started: bool = True) -> None:
        self.play = Play(*plans)
        if started:
            self.play.start()
        self.plan = RunPlan("t", "t", "/t.yaml", "/", objects, plans)
        self.reactor: Any = Timers()
        self.requests = Requests(self)
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.ends: list[tuple[bool, float | None]] = []
        self.rebuilt: list[Difference] = []
        self.announced: list[Difference] = []
        self.refuse_rebuilding: OrchestraError | None = None
        self.leaves = False
        self.commands: list[do.Command] = []

    @property
    def state(self) -> RunState:
        return self.play.state

    def dispatch(self, *events: on.Event) -> None:
        self.commands += self.play.feed(*events)

    def settle(self) -> list[do.Command]:
        """Let the requests see what has happened, and carry out a Rebuild; return the commands since the last time."""
        found, self.commands = self.commands, []
        if any(isinstance(command, do.Rebuild) for command in found):
            self.requests.rebuild()
        self.requests.look()
        return found

    def answer(self) -> dict[str, Any]:
        return {"state": self.state.phase.value}

    def end(self, leak: bool, timeout: float | None) -> None:
        self.ends.append((leak, timeout))

    def say(self, event: str, **fields: Any) -> None:
        self.said.append((event, fields))

    def replan(self, plan: RunPlan) -> None:
        self.plan = plan

    def leave_objects(self) -> None:
        self.leaves = True

    def announce(self, found: Difference) -> None:
        self.announced.append(found)

    def rebuild(self, found: Difference, *, recreate: bool) -> None:
        if self.refuse_rebuilding is not None:
            raise self.refuse_rebuilding
        self.rebuilt.append(found)
        self.plan = found.plan

    def wiring(self, target: Who | None, uses: Mapping[str, Access]) -> tuple[dict[str, Any], list[int]]:
        return {"target": target, "uses": uses}, []

    def ask(self, op: str, **fields: Any) -> Asking:
        client = Asking()
        self.requests.handle(client, {"v": 1, "op": op, **fields})  # type: ignore[arg-type]
        return client

    def dies(self, name: str, replica: int = 1, code: int | None = None, by: str | None = "SIGTERM") -> None:
        who = Who(name, replica)
        self.dispatch(on.Exited(who, code, by), on.Ended(who))
        self.requests.look()

    def starts(self, name: str, replica: int = 1) -> None:
        self.dispatch(on.Started(Who(name, replica), self.play.next_pid()))
        self.requests.look()


def as_json(plan: RunPlan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan.to_json())
    return found


def test_stop_start_and_restart_answer_when_it_has_come_about() -> None:
    bench = Bench(plan("a", replicas=2), plan("b", "a"))
    asked = bench.ask("stop-processes", targets=["a.2"])
    assert asked.answers == [{"accepted": True}]
    bench.dies("a", 2)
    assert asked.results == {"a.2": "ok"}
    (row,) = asked.last["results"]
    assert (row["state"], row["signal"], row["exit_code"], row["reason"]) == ("exited", "SIGTERM", None, "")
    again = bench.ask("start", targets=["a"])
    assert again.is_open
    bench.starts("a", 2)
    assert again.results == {"a.1": "ok", "a.2": "ok"}
    restart = bench.ask("restart", targets=["b"])
    bench.dies("b")
    assert restart.is_open
    bench.starts("b")
    assert restart.results == {"b.1": "ok"}
    assert bench.reactor.running == {}


def test_all_of_the_run_where_no_target_is_named() -> None:
    bench = Bench(plan("a", replicas=2), plan("b"))
    asked = bench.ask("stop-processes")
    for name, replica in (("a", 1), ("a", 2), ("b", 1)):
        bench.dies(name, replica)
    assert asked.results == {"a.1": "ok", "a.2": "ok", "b.1": "ok"}
    assert bench.state.phase.value == "up"


def test_time_that_runs_out_is_an_answer_and_changes_nothing() -> None:
    bench = Bench(plan("a", ready=Ready("notify")), plan("b"))
    bench.dispatch(on.BecameReady(Who("a", 1)))
    asked = bench.ask("restart", targets=["a", "b"], timeout=3)
    bench.dies("b")
    bench.starts("b")
    assert asked.is_open
    bench.reactor.fire()
    assert asked.results == {"a.1": "timeout", "b.1": "ok"}
    bench.dies("a")
    assert len(asked.answers) == 2


def test_a_client_that_leaves_is_forgotten() -> None:
    bench = Bench(plan("a"))
    for op in ("stop-processes", "wait"):
        asked = bench.ask(op, timeout=9)
        assert bench.reactor.running
        asked.leave()
        assert (asked.on_close, bench.reactor.running) == ({}, {})
    bench.requests.finish(exit_code=0)


@pytest.mark.parametrize("op", ["stop-processes", "start", "restart"])
@pytest.mark.parametrize(
    ("target", "words"),
    [("nobody", "no process `nobody`"), ("wroker", "no process `wroker`"), ("worker.9", "no replica 9")],
)
def test_who_is_not_there(op: str, target: str, words: str) -> None:
    bench = Bench(plan("worker", replicas=2))
    with pytest.raises(NotFound, match=words) as caught:
        bench.ask(op, targets=[target])
    assert caught.value.hint
    assert not bench.commands


def test_nothing_is_acted_on_while_the_run_comes_up_goes_down_or_changes() -> None:
    for bench, words in (
        (Bench(plan("a"), started=False), "making its objects"),
        (_stopping(), "going down"),
        (_changing(), "being changed"),
    ):
        for op, fields in (("stop-processes", {}), ("start", {}), ("restart", {}), ("scale", {"replicas": {"a": 2}})):
            with pytest.raises(Conflict, match=words):
                bench.ask(op, **fields)


def _stopping() -> Bench:
    bench = Bench(plan("a"))
    bench.dispatch(on.StopRequested("test"))
    return bench


def _changing() -> Bench:
    bench = Bench(plan("a"))
    bench.ask("change", plan=as_json(bench.plan._replace(processes=(plan("a", stdin="inherit"),))))
    return bench


def test_scale_counts_those_that_come_and_those_that_go() -> None:
    bench = Bench(plan("a", replicas=2), plan("b", replicas=3))
    asked = bench.ask("scale", replicas={"a": 4, "b": 1})
    assert spawned(bench.commands) == ["a", "a"]
    assert [p.replicas for p in bench.plan.processes] == [4, 1]
    for replica in (3, 4):
        bench.starts("a", replica)
    for replica in (2, 3):
        bench.dies("b", replica)
    assert asked.results == {"a.3": "ok", "a.4": "ok", "b.2": "ok", "b.3": "ok"}
    assert bench.ask("scale", replicas={"a": 4}).results == {}
    for wrong in (0, -1, 10_001):
        with pytest.raises(UsageError, match="cannot have"):
            bench.ask("scale", replicas={"a": wrong})
    with pytest.raises(NotFound):
        bench.ask("scale", replicas={"c": 1})


def test_a_signal_goes_to_the_leader_and_to_nobody_who_has_ended() -> None:
    bench = Bench(plan("a", replicas=2))
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    bench.play.pid = os.getpid() - 1
    try:
        bench.ask("stop-processes", targets=["a"])
        bench.dies("a", 1)
        bench.dies("a", 2)
        bench.ask("start", targets=["a.1"])
        bench.starts("a", 1)  # this very process
        for word in ("SIGUSR1", "usr1", str(int(signal.SIGUSR1))):
            asked = bench.ask("signal", signal=word, targets=["a"])
            assert asked.results == {"a.1": "ok", "a.2": "failed"}
        assert "does not run" in asked.last["results"][1]["reason"]
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1] * 3
    assert bench.said[0][0] == "process.signalled"
    for wrong in ("SIGNOTHING", "0", "999", ""):
        with pytest.raises(UsageError, match="there is no signal"):
            bench.ask("signal", signal=wrong)


def test_wait() -> None:
    bench = Bench(plan("a"), plan("b", "a", condition="completed"), plan("late", autostart=False))
    done = bench.ask("wait", targets=["a"], **{"for": "completed"})
    ready = bench.ask("wait", **{"for": "ready"})
    end, late = bench.ask("wait"), bench.ask("wait", timeout=1)
    assert all(asked.is_open for asked in (done, ready, end, late))
    bench.dies("a", code=0, by=None)
    assert done.results == {"a.1": "ok"}
    assert ready.is_open
    bench.starts("b")
    assert ready.results == {"a.1": "ok", "b.1": "ok"}  # nobody asked for `late`
    bench.reactor.fire()
    assert (late.is_open, late.last["results"]) == (False, [])
    bench.requests.finish(exit_code=3, state="failed")
    assert end.last == {"ended": True, "exit_code": 3, "state": "failed"}
    assert "ended" not in late.last


def test_the_end_answers_everybody() -> None:
    bench = Bench(plan("a"), plan("b"))
    stopping, stopped = bench.ask("stop-processes", targets=["a"]), bench.ask("stop", leak=True, timeout=2)
    changing = Asking()
    bench.dispatch(on.StopRequested("test"))
    assert bench.ends == [(True, 2)]
    bench.requests.finish(exit_code=0)
    assert stopping.last["results"][0]["reason"] == "the run has ended"
    assert stopped.last["ended"]
    assert changing.answers == []


def test_the_command_hears_once_that_everything_is_ready() -> None:
    bench = Bench(plan("a", ready=Ready("notify")), plan("b", escalate="ignore"))
    heard: list[list[dict[str, Any]]] = []
    bench.requests.watch_start(heard.append)
    bench.dies("b", code=1, by=None)
    assert heard == []
    bench.dispatch(on.BecameReady(Who("a", 1)))
    bench.requests.look()
    bench.requests.look()
    assert [[row["result"] for row in rows] for rows in heard] == [["ok", "failed"]]


def test_what_waits_for_others_is_not_waited_for_in_vain() -> None:
    full = (WaitFor("jobs", "messages", 1),)
    bench = Bench(plan("a"), plan("b", escalate="ignore"), plan("c", wait_for=full))
    heard: list[list[dict[str, Any]]] = []
    bench.requests.watch_start(heard.append)
    assert heard == []
    bench.dies("b", code=1, by=None)
    assert [(row["name"], row["reason"]) for row in heard[0] if row["result"] == "failed"][1:] == [
        ("c", "waits for jobs: messages 1 or more")
    ]


# -- edited plans ----------------------------------------------------------------------------------------------------


def edited(bench: Bench, *plans: ProcessPlan, objects: tuple[ObjectPlan, ...] | None = None, **fields: Any) -> Asking:
    new = bench.plan._replace(processes=plans, objects=bench.plan.objects if objects is None else objects)
    return bench.ask("change", plan=as_json(new), **fields)


def test_a_change_restarts_what_differs_and_answers_when_that_is_up() -> None:
    bench = Bench(plan("a"), plan("b"), plan("c"))
    asked = edited(bench, plan("a", stdin="inherit"), plan("b"), plan("d"))
    assert [(step["action"], step["process"]) for step in asked.answers[0]["difference"]] == [
        ("stop", "c"), ("restart", "a"), ("start", "d"),
    ]  # fmt: skip
    assert len(bench.announced) == 1
    for name in ("a", "c"):
        bench.dies(name)
    assert not bench.rebuilt
    bench.settle()
    assert len(bench.rebuilt) == 1
    assert asked.is_open
    assert bench.state.replicas[Who("b", 1)].launches == 1
    for name in ("a", "d"):
        bench.starts(name)
    assert asked.results == {"a.1": "ok", "d.1": "ok"}
    assert [process.name for process in bench.plan.processes] == ["a", "b", "d"]


def test_nothing_differs() -> None:
    bench = Bench(plan("a"))
    asked = edited(bench, plan("a"))
    assert asked.last == {"done": True, "results": []}
    assert asked.answers[0]["difference"] == []
    assert (bench.announced, bench.rebuilt) == ([], [])


def test_another_shape_is_refused_and_made_anew_on_request() -> None:
    bench = Bench(plan("a"), objects=(JOBS,))
    larger = (JOBS._replace(capacity=128),)
    with pytest.raises(Conflict, match="nothing was changed"):
        edited(bench, plan("a"), objects=larger)
    assert not bench.announced
    looked = edited(bench, plan("a"), objects=larger, dry_run=True)
    assert [step["action"] for step in looked.last["difference"]] == ["recreate"]
    assert not bench.announced
    edited(bench, plan("a"), objects=larger, recreate=True, leak=True)
    bench.settle()
    assert bench.plan.objects == larger
    assert bench.leaves


def test_a_change_that_cannot_be_made_is_refused_and_undone() -> None:
    bench = Bench(plan("a"))
    asked = edited(bench, plan("a", stdin="inherit"))
    bench.refuse_rebuilding = Conflict("the name is taken")
    bench.dies("a")
    bench.settle()
    assert asked.errors == [bench.refuse_rebuilding]
    bench.starts("a")
    assert bench.state.replicas[Who("a", 1)].phase is Phase.RUNNING
    assert edited(bench, plan("a")).last["done"]  # and the next change may come


def test_a_run_that_ends_on_the_way() -> None:
    bench = Bench(plan("a"), plan("b"))
    asked = edited(bench, plan("a", stdin="inherit"), plan("b"))
    bench.dispatch(on.StopRequested("test"))
    bench.requests.finish(exit_code=0)
    assert "ended before it could be changed" in asked.errors[0].problem


def test_a_part_of_the_file_is_started() -> None:
    bench = Bench(plan("a"), plan("b"))
    bench.ask("stop-processes", targets=["b"])
    bench.dies("b")
    asked = edited(bench, plan("b"), only=["b"])
    bench.starts("b")
    assert asked.results == {"b.1": "ok"}
    with pytest.raises(NotFound):
        edited(bench, plan("b"), only=["c"])


def test_plans_that_cannot_be_taken() -> None:
    bench = Bench(plan("a"))
    for wrong in ({}, {"version": 1}, {**as_json(bench.plan), "processes": [1]}):
        with pytest.raises(UsageError, match="cannot be read"):
            bench.ask("change", plan=wrong)
    for other in ({"instance": "u"}, {"file": "/u.yaml"}):
        with pytest.raises(Conflict, match="another file"):
            bench.ask("change", plan={**as_json(bench.plan), **other})


# -- wirings ---------------------------------------------------------------------------------------------------------


def test_a_wiring_is_of_one_replica_or_of_objects_alone() -> None:
    bench = Bench(plan("a", replicas=2), objects=(JOBS,))
    assert bench.ask("wiring", target="a.2").last["target"] == Who("a", 2)
    assert bench.ask("wiring", target="a").last["target"] == Who("a", 1)
    assert bench.ask("wiring", uses={"jobs": "read"}).last == {"target": None, "uses": {"jobs": Access.READ}}
    with pytest.raises(NotFound, match="no object `job`"):
        bench.ask("wiring", uses={"job": "read"})
    with pytest.raises(UsageError, match="no access"):
        bench.ask("wiring", uses={"jobs": "rw"})


def test_more_descriptors_than_one_message_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(plan("a"))
    ends = os.pipe()
    monkeypatch.setattr("orchestra.supervisor.requests.DESCRIPTORS_MAX", 1)
    monkeypatch.setattr(bench, "wiring", lambda *_: ({}, list(ends)))
    with pytest.raises(OrchestraError, match="2 descriptors"):
        bench.ask("wiring", target="a")
    for fd in ends:
        with pytest.raises(OSError):
            os.fstat(fd)


# -- any order of requests and events --------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
REQUESTS = st.one_of(
    st.builds(
        lambda op, name, late: (op, {"targets": [name], **({"timeout": 1} if late else {})}),
        st.sampled_from(["stop-processes", "start", "restart", "wait"]), st.sampled_from(NAMES), st.booleans(),
    ),
    st.builds(lambda name, n: ("scale", {"replicas": {name: n}}), st.sampled_from(NAMES), st.integers(1, 3)),
    st.builds(
        lambda word: ("wait", {"for": word}), st.sampled_from(["started", "ready", "completed", "exited"])
    ),
    st.builds(lambda names: ("change", {"names": names}), st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()))),
)  # fmt: skip
HAPPENS = st.sampled_from(["starts", "ends", "fails", "late", "leaves", "fires"])


class Kernel:
    """What happens to the processes of a bench, one thing at a time, as a test chooses."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.to_start: list[Who] = []
        self.timers: dict[on.Timer, None] = {}

    def take(self) -> None:
        """Obey the commands of the machine, as the loop does."""
        while self.bench.commands:
            commands, self.bench.commands = self.bench.commands, []
            for command in commands:
                match command:
                    case do.Spawn(who):
                        self.to_start.append(who)
                    case do.StartTimer(timer):
                        self.timers[timer] = None
                    case do.CancelTimer(timer):
                        self.timers.pop(timer, None)
                    case do.Rebuild():
                        self.bench.requests.rebuild()
        self.bench.requests.look()

    def happen(self, what: str, number: int) -> None:
        bench, state = self.bench, self.bench.state
        alive = [who for who, r in state.replicas.items() if r.pid is not None and r.end is None and r.phase in BUSY]
        if what == "starts" and self.to_start:
            who = self.to_start.pop(0)
            replica = state.replicas.get(who)
            doomed = replica is None or replica.doomed
            bench.dispatch(on.Withheld(who) if doomed else on.Started(who, bench.play.next_pid()))
        elif what in ("ends", "fails") and alive:
            who = alive[number % len(alive)]
            bench.dispatch(on.Exited(who, int(what == "fails")), on.Ended(who))
        elif what == "late":
            bench.reactor.fire()
        elif what == "fires" and self.timers:
            timer = list(self.timers)[number % len(self.timers)]
            del self.timers[timer]
            bench.dispatch(on.TimerFired(timer))
        self.take()


@given(st.lists(st.one_of(REQUESTS, st.tuples(HAPPENS, st.integers(0, 9))), max_size=40))
@settings(deadline=None)
def test_whoever_asks_is_answered_in_the_end(history: list[Any]) -> None:
    bench = Bench(
        plan("a", escalate="ignore", restart=Restart("always")), plan("b", "a", escalate="ignore"),
        plan("c", service=True, escalate="ignore"),
    )  # fmt: skip
    kernel = Kernel(bench)
    clients: list[Asking] = []
    for item, detail in history:
        if not isinstance(detail, dict):
            if item == "leaves" and clients:
                clients.pop(detail % len(clients)).leave()
            kernel.happen(item, detail)
            continue
        fields = detail
        if item == "change":
            kept = {
                name: plan(name, escalate="ignore", stdin="file" if other else "null")
                for name, other in detail["names"]
            }
            fields = {"plan": as_json(bench.plan._replace(processes=tuple(kept.values())))}
        with suppress(OrchestraError):
            clients.append(bench.ask(item, **fields))
        kernel.take()
    bench.dispatch(on.StopRequested("the test is over"))
    kernel.take()
    bench.requests.finish(exit_code=0)
    for client in clients:
        assert client.errors or not client.is_open
        assert client.on_close == {}
        assert len(client.answers) <= 2
    assert not [name for name in bench.reactor.running if isinstance(name, tuple) and name[0] == "request"]
