"""Any order of events: never two incarnations, never a process without an end on record, always a way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as HypothesisPhase
from hypothesis import strategies as st

from orchestra.runplan import Dependency, ProcessPlan, Ready, Restart, WaitFor
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.draft import IllegalTransition
from orchestra.supervisor.machine import step
from orchestra.supervisor.states import FINAL, Phase, RunPhase, RunState, Urge, Who, counts

CONDITIONS = ("started", "ready", "completed", "ended")
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
QUICK = [HypothesisPhase.explicit, HypothesisPhase.reuse, HypothesisPhase.generate, HypothesisPhase.shrink]
RESTARTS = [Restart(), Restart("on-failure", 2, 10.0), Restart("always", 1, 10.0), Restart("on-failure", 0)]


@st.composite
def topologies(draw: st.DrawFn, *, rich: bool = True) -> list[ProcessPlan]:
    """Return processes with random ties; `rich` ones are restarted, wait, become ready, hang and need a person."""
    plans: list[ProcessPlan] = []
    for index in range(draw(st.integers(0, 5))):
        earlier = [p.name for p in plans]
        services = {p.name for p in plans if p.service}
        names = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
        plan = ProcessPlan(
            f"p{index}",
            (("x",),),
            replicas=draw(st.integers(1, 3)),
            service=draw(st.booleans()),
            success=draw(st.sampled_from([(0,), (0, 1), ("SIGSEGV",)])),
            escalate=draw(st.sampled_from(["stop-all", "stop-dependants", "ignore"])),
            # a service never completes: what waits for that waits for ever, as written
            depends_on=tuple(
                Dependency(
                    n,
                    draw(st.sampled_from(CONDITIONS[:2] if n in services else CONDITIONS)),
                    rich and draw(st.booleans()),
                )
                for n in names
            ),
        )
        if rich:
            plan = plan._replace(
                restart=draw(st.sampled_from(RESTARTS)),
                ready=draw(st.sampled_from([None, None, Ready("notify", timeout=3.0)])),
                wait_for=draw(st.sampled_from([(), (), (WaitFor("jobs", "messages", 1),)])),
                watchdog=draw(st.sampled_from([None, None, 1.0])),
                stop_command=draw(st.sampled_from([(), (), (("stop",),)])),
                autostart=draw(st.sampled_from([True, True, True, False])),
            )
        plans.append(plan)
    return plans


class World:
    """What the loop and the kernel would do with the commands; offers the events that can come next."""

    def __init__(self, plans: list[ProcessPlan], *, makers: frozenset[str] = frozenset()) -> None:
        self.state = RunState.initial(plans, makers=makers)
        self.now = 1.0
        self.to_spawn: list[Who] = []
        self.leaders: set[Who] = set()
        self.rests: set[Who] = set()  # leader gone, not ended yet
        self.unready: set[Who] = set()
        self.commanded: set[Who] = set()
        self.watching: set[str] = set()
        self.checks: list[str] = []
        self.timers: set[on.Timer] = set()
        self.started = self.ended = 0
        self.logged: list[tuple[str, Who | None]] = []
        self.rebuilding = self.finished = False

    def feed(self, event: on.Event) -> None:
        self.state, commands = step(self.state, event)
        for command in commands:
            self.obey(command)
        self.check()

    def obey(self, command: do.Command) -> None:  # noqa: C901 one case a command
        match command:
            case do.Spawn(who):
                assert who not in self.to_spawn, "two launches of one replica at once"
                assert who not in self.leaders | self.rests, "two incarnations of one replica"
                self.to_spawn.append(who)
            case do.StartTimer(timer):
                self.timers.add(timer)
            case do.CancelTimer(timer):
                self.timers.discard(timer)
            case do.Signal(who) | do.Kill(who):
                assert who in self.leaders | self.rests, "a signal for nobody"
            case do.StopCommand(who):
                assert who in self.leaders, "a stop command for nobody"
                self.commanded.add(who)
            case do.WatchReady(who):
                self.unready.add(who)
            case do.ForgetReady(who):
                self.unready.discard(who)
            case do.WatchFor(process):
                assert process not in self.watching
                self.watching.add(process)
            case do.ForgetFor(process):
                self.watching.discard(process)
            case do.Check(process):
                self.checks.append(process)
            case do.Rebuild():
                assert not self.rebuilding
                self.rebuilding = True
            case do.Log(event, who):
                self.logged.append((event, who))
            case do.Sweep():
                assert not self.to_spawn
            case do.Finish():
                assert not self.finished
                self.finished = True

    def check(self) -> None:
        state = self.state
        for who, replica in state.replicas.items():
            if replica.phase in (Phase.FAILED, Phase.SKIPPED):
                assert replica.reason, f"{who} has no reason"
            if replica.phase is Phase.EXITED:
                assert replica.end is not None, f"{who} exited without an end"
            if replica.phase is Phase.READY:
                assert replica.reached == 2
        for kept, found in zip(
            (state.pending, state.busy, state.live, state.parked), counts(state.graph, state.replicas), strict=True
        ):
            assert {n: c for n, c in kept.items() if c} == {n: c for n, c in found.items() if c}
        assert self.watching == state.watching

    def possible(self) -> list[on.Event]:
        """Events that the outside world would bring by itself sooner or later."""
        at = self.now
        events: list[on.Event] = []
        for who in self.to_spawn:
            events += [on.Started(who, 1, at), on.LaunchFailed(who, "why", "exec", "EAGAIN", "/x", at)]
            events.append(on.LaunchFailed(who, "why", "exec", "ENOENT", "/x", at))
            if self.state.replicas[who].doomed:
                events.append(on.Withheld(who))
        for who in sorted(self.leaders):
            replica = self.state.replicas[who]
            if replica.urge or not self.state.graph.processes[who.process].service:
                events += [on.Exited(who, 0, at=at), on.Exited(who, 1, at=at), on.Exited(who, None, "SIGSEGV", at)]
            if self.state.graph.processes[who.process].watchdog:
                events.append(on.Petted(who))
        for who in sorted(self.rests):
            events += [on.Lingering(who), on.Ended(who)]
        events += [on.BecameReady(who) for who in sorted(self.unready)]
        events += [on.NotReady(who, "its socket is gone") for who in sorted(self.unready)]
        events += [on.StopCommandEnded(who, failed) for who in sorted(self.commanded) for failed in ("", "it failed")]
        events += [on.WaitMet(process) for process in sorted(self.watching)]
        events += [on.Checked(process, wrong) for process in self.checks for wrong in ("", "it is missing")]
        if self.rebuilding:
            events += [on.Rebuilt(), on.Rebuilt("no space left")]
        events += [on.TimerFired(timer) for timer in sorted(self.timers, key=str)]
        if self.state.phase is RunPhase.SWEEPING:
            events.append(on.Swept())
        return events

    def happen(self, event: on.Event) -> None:
        self.now += 0.5
        match event:
            case on.Started(who):
                self.to_spawn.remove(who)
                self.leaders.add(who)
                self.started += 1
            case on.LaunchFailed(who) | on.Withheld(who):
                self.to_spawn.remove(who)
            case on.Exited(who):
                self.leaders.remove(who)
                self.rests.add(who)
                self.commanded.discard(who)
            case on.Ended(who):
                self.rests.remove(who)
                self.ended += 1
            case on.BecameReady(who) | on.NotReady(who):
                self.unready.discard(who)
            case on.StopCommandEnded(who):
                self.commanded.discard(who)
            case on.WaitMet(process):
                self.watching.discard(process)
            case on.Checked(process):
                self.checks.remove(process)
            case on.Rebuilt():
                self.rebuilding = False
            case on.TimerFired(timer):
                self.timers.discard(timer)
        self.feed(event)


REQUESTS: list[on.Event] = [
    on.StopRequested("SIGINT", signal=2),
    on.StopRequested("down", timeout=1.0),
    on.StopRequested("the guardian died", failed=True),
    on.KillRequested("SIGINT twice", signal=2),
]


@st.composite
def demands(draw: st.DrawFn, state: RunState) -> on.Event:
    """What a person may ask at any moment, of what there is and of what there is not."""
    names = [*state.graph.processes, "zz"]
    whos = tuple(draw(st.lists(st.builds(Who, st.sampled_from(names), st.integers(1, 4)), min_size=1, max_size=3)))
    name = draw(st.sampled_from(names))
    old = tuple(state.graph.processes.values())
    kept = tuple(
        plan for plan in old if draw(st.integers(0, 3)) or plan.name in {d.process for p in old for d in p.depends_on}
    )
    edited = tuple(plan._replace(replicas=draw(st.integers(1, 3))) for plan in kept)
    added = (ProcessPlan(f"n{len(old)}", (("x",),), depends_on=(Dependency(kept[0].name, "started"),) if kept else ()),)
    restart = frozenset(draw(st.lists(st.sampled_from(names), max_size=2)))
    event: on.Event = draw(
        st.sampled_from(
            [
                on.StopAsked(whos, "orchestra stop"),
                on.StartAsked(whos, "orchestra start"),
                on.RestartAsked(whos, "orchestra restart"),
                on.ScaleAsked(name, draw(st.integers(1, 4)), "orchestra scale"),
                on.PlanChanged(edited + (added if draw(st.booleans()) else ()), restart, "orchestra up"),
            ]
        )
    )
    return event


class Dice:
    """Choices of Hypothesis, 64 at a time: one by one they cost ten times what the machine does."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self._bytes = iter(b"")

    def number(self, count: int) -> int:
        """A number below `count`, which is 256 at most."""
        found = next(self._bytes, None)
        if found is None:
            self._bytes = iter(self._data.draw(st.binary(min_size=64, max_size=64)))
            found = next(self._bytes)
        return found % count

    def one_of(self, events: Sequence[on.Event]) -> on.Event:
        return events[self.number(min(len(events), 256))]


def _play(world: World, data: st.DataObject, steps: int, *, requests: bool = True) -> None:
    choose = Dice(data)
    for _ in range(steps):
        possible = world.possible()
        dice = choose.number(25)
        if world.finished:
            return
        if dice == 0 and requests:
            world.feed(choose.one_of(REQUESTS))
        elif dice <= 4 or not possible:
            world.feed(data.draw(demands(world.state)))
        else:
            world.happen(choose.one_of(possible))


@settings(max_examples=300, deadline=None, phases=QUICK, suppress_health_check=SLOW)
@given(topologies(), st.data())
def test_any_interleaving_ends_with_everything_on_record(plans: list[ProcessPlan], data: st.DataObject) -> None:
    names = [p.name for p in plans if p.replicas == 1]
    makers = frozenset(data.draw(st.lists(st.sampled_from(names), max_size=2))) if names else frozenset()
    world = World(plans, makers=makers)
    world.feed(data.draw(st.sampled_from([on.Begin(), on.Begin(), on.Begin(), *REQUESTS])))
    _play(world, data, data.draw(st.integers(0, 60)))
    _let_it_end(world)


def _let_it_end(world: World) -> None:
    """From any state, a stop and what must follow lead to the end; SIGKILL works, except where it was given up."""
    if not world.finished:
        world.feed(on.StopRequested("SIGTERM", signal=15))
    for _ in range(1000):
        if world.finished:
            break
        helpless = on.Lingering | on.LaunchFailed | on.Petted
        possible = [e for e in world.possible() if not isinstance(e, helpless)]
        assert possible, f"no way out of {world.state}"
        world.happen(possible[0])
    assert world.finished
    for who, replica in world.state.replicas.items():
        assert replica.phase in FINAL, who
    abandoned = sum(1 for who in world.leaders | world.rests)
    assert world.started == world.ended + abandoned
    exits = sum(1 for event, _ in world.logged if event == "process.exited")
    assert world.started == sum(1 for event, _ in world.logged if event == "process.started")
    assert exits + sum(r.phase is Phase.FAILED and r.urge is Urge.KILLED for r in world.state.replicas.values()) >= (
        world.started - abandoned - _ended_after_all(world)
    )


def _ended_after_all(world: World) -> int:
    """Replicas that were given up and ended later: their failure is their record."""
    return sum(1 for event, _ in world.logged if event == "process.failed")


@settings(max_examples=150, deadline=None, phases=QUICK, suppress_health_check=SLOW)
@given(topologies(rich=False), st.data())
def test_a_run_in_which_processes_end_by_themselves_ends_unless_all_are_services(
    plans: list[ProcessPlan], data: st.DataObject
) -> None:
    world, choose = World(plans), Dice(data)
    world.feed(on.Begin())
    while not world.finished:
        possible = [e for e in world.possible() if not isinstance(e, on.Lingering | on.TimerFired)]
        if not possible:
            break
        world.happen(choose.one_of(possible))
    if not world.finished:
        assert all(p.service for p in plans), "a worker would have ended the run"
        assert any(world.state.live.values())


@settings(max_examples=150, deadline=None, phases=QUICK, suppress_health_check=SLOW)
@given(topologies(), st.data())
def test_what_a_person_stopped_stays_down_and_the_run_up(plans: list[ProcessPlan], data: st.DataObject) -> None:
    world = World([replace_autostart(plan) for plan in plans])
    world.feed(on.Begin())
    _play(world, data, data.draw(st.integers(0, 30)), requests=False)
    state = world.state
    if state.phase is not RunPhase.UP or state.change is not None or not state.replicas:
        return
    who = data.draw(st.sampled_from(sorted(state.replicas)))
    was = state.replicas[who]
    world.feed(on.StopAsked((who,), "orchestra stop"))
    choose = Dice(data)
    for _ in range(40):
        possible = [e for e in world.possible() if not isinstance(e, on.Lingering)]
        if not possible:
            break
        world.happen(choose.one_of(possible))
        if world.state.phase is not RunPhase.UP or who not in world.state.replicas:
            return  # somebody's failure ended it, or the replica was on its way out already
        replica = world.state.replicas[who]
        if was.phase not in FINAL and not (was.phase is Phase.PENDING and not was.wanted):
            assert replica.phase in (Phase.STARTING, Phase.RUNNING, Phase.READY, Phase.STOPPING, *FINAL) or (
                replica.phase is Phase.PENDING and not replica.wanted
            )
            assert not (replica.phase is Phase.STARTING and not replica.doomed and not was.is_being_launched)


def replace_autostart(plan: ProcessPlan) -> ProcessPlan:
    return plan._replace(autostart=True, escalate="ignore")


@settings(max_examples=150, deadline=None, phases=QUICK, suppress_health_check=SLOW)
@given(topologies(rich=False), st.data())
def test_nobody_is_asked_to_stop_while_a_dependant_lives(plans: list[ProcessPlan], data: st.DataObject) -> None:
    world, choose = World(plans), Dice(data)
    world.feed(on.Begin())
    while world.to_spawn:
        world.happen(on.Started(world.to_spawn[0], 1))
    before = world.state
    world.feed(on.StopRequested("down"))
    while not world.finished:
        for who, replica in world.state.replicas.items():
            if replica.phase is Phase.STOPPING and before.replicas[who].phase is Phase.RUNNING and not replica.end:
                for name in world.state.graph.dependants[who.process]:
                    assert world.state.live[name] == 0, f"{who} was asked before {name} had ended"
        before = world.state
        possible = [e for e in world.possible() if isinstance(e, on.Exited | on.Ended | on.Swept | on.Started)]
        world.happen(choose.one_of(possible))


WHOS = st.builds(Who, st.sampled_from(["p0", "p1", "zz"]), st.integers(1, 2))
EVENTS = st.one_of(
    st.sampled_from([on.Begin(), on.Swept(), on.Rebuilt(), on.WaitMet("p0"), on.Checked("p1"), *REQUESTS]),
    st.builds(on.Started, WHOS, st.just(4)),
    st.builds(on.Exited, WHOS, st.integers(0, 1)),
    st.builds(on.Ended, WHOS),
    st.builds(on.Lingering, WHOS),
    st.builds(on.Withheld, WHOS),
    st.builds(on.BecameReady, WHOS),
    st.builds(on.NotReady, WHOS, st.just("why")),
    st.builds(on.Petted, WHOS),
    st.builds(on.StopCommandEnded, WHOS),
    st.builds(on.StopAsked, st.tuples(WHOS), st.just("x")),
    st.builds(on.StartAsked, st.tuples(WHOS), st.just("x")),
    st.builds(on.RestartAsked, st.tuples(WHOS), st.just("x")),
    st.builds(on.ScaleAsked, st.sampled_from(["p0", "zz"]), st.integers(-1, 3), st.just("x")),
)


@settings(max_examples=300, deadline=None)
@given(topologies(), st.lists(EVENTS, max_size=30))
def test_nonsense_raises_nothing_but_illegal_transition(plans: list[ProcessPlan], events: list[on.Event]) -> None:
    state = RunState.initial(plans)
    for event in events:
        try:
            state, _ = step(state, event)
        except IllegalTransition:
            continue
    assert replace(state) == state
