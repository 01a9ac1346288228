"""Any order of events: never two incarnations, never a process without an end on record, always a way out."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestra.runplan import Dependency, ProcessPlan
from orchestra.supervisor import commands as do
from orchestra.supervisor import events as on
from orchestra.supervisor.machine import IllegalTransition, step
from orchestra.supervisor.states import FINAL, Phase, RunPhase, RunState, Who

CONDITIONS = ("started", "ready", "completed", "ended")


@st.composite
def topologies(draw: st.DrawFn) -> list[ProcessPlan]:
    plans: list[ProcessPlan] = []
    for index in range(draw(st.integers(0, 6))):
        earlier = [p.name for p in plans]
        services = {p.name for p in plans if p.service}
        names = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
        plans.append(
            ProcessPlan(
                f"p{index}",
                (("x",),),
                replicas=draw(st.integers(0, 3)),
                service=draw(st.booleans()),
                success=draw(st.sampled_from([(0,), (0, 1), ("SIGSEGV",)])),
                escalate=draw(st.sampled_from(["stop-all", "stop-dependants", "ignore"])),
                # a service never completes: what waits for that waits for ever, as written
                depends_on=tuple(
                    Dependency(n, draw(st.sampled_from(CONDITIONS[:2] if n in services else CONDITIONS))) for n in names
                ),
            )
        )
    return plans


class World:
    """What the loop and the kernel would do with the commands; offers the events that can come next."""

    def __init__(self, plans: list[ProcessPlan]) -> None:
        self.state = RunState.initial(plans)
        self.to_spawn: list[Who] = []
        self.leaders: dict[Who, int] = {}
        self.rests: set[Who] = set()  # leader gone, not ended yet
        self.timers: set[on.Timer] = set()
        self.ended: list[Who] = []
        self.sweeping = False
        self.finished = False
        self.spawned: set[Who] = set()
        self.signalled_while: list[tuple[Who, set[Who]]] = []

    def feed(self, event: on.Event) -> None:
        self.state, commands = step(self.state, event)
        for command in commands:
            self.obey(command)
        self.check()

    def obey(self, command: do.Command) -> None:
        match command:
            case do.Spawn(who):
                assert who not in self.spawned, "two incarnations of one replica"
                self.spawned.add(who)
                self.to_spawn.append(who)
            case do.StartTimer(timer):
                self.timers.add(timer)
            case do.CancelTimer(timer):
                self.timers.discard(timer)
            case do.Signal(who) | do.Kill(who):
                assert who in self.leaders or who in self.rests or self.state.replicas[who].end is not None
            case do.Sweep():
                assert not self.to_spawn
                self.sweeping = True
            case do.Finish():
                assert not self.finished
                self.finished = True

    def check(self) -> None:
        state = self.state
        for who, replica in state.replicas.items():
            if replica.phase in (Phase.FAILED, Phase.SKIPPED):
                assert replica.reason, f"{who} has no reason"
            if replica.phase is Phase.EXITED:
                assert replica.end is not None
        for name, count in state.live.items():
            assert count == sum(state.replicas[w].phase not in FINAL for w in state.graph.replicas(name))
        for name in state.waiting:
            assert all(state.replicas[w].phase is Phase.PENDING for w in state.graph.replicas(name))

    def possible(self) -> list[on.Event]:
        """Events that the outside world would bring by itself sooner or later."""
        events: list[on.Event] = []
        for who in self.to_spawn:
            events += [on.Started(who, 1), on.LaunchFailed(who, "why", "exec", "ENOENT", "/x")]
            if self.state.replicas[who].doomed:
                events.append(on.Withheld(who))
        for who in self.leaders:
            if self.state.replicas[who].urge or not self.state.graph.processes[who.process].service:
                events += [on.Exited(who, 0), on.Exited(who, 1), on.Exited(who, None, "SIGSEGV")]
        for who in sorted(self.rests):
            events += [on.Lingering(who), on.Ended(who)]
        events += [on.TimerFired(timer) for timer in sorted(self.timers, key=str)]
        if self.state.phase is RunPhase.SWEEPING:
            events.append(on.Swept())
        return events

    def happen(self, event: on.Event) -> None:
        match event:
            case on.Started(who):
                self.to_spawn.remove(who)
                self.leaders[who] = 1
            case on.LaunchFailed(who) | on.Withheld(who):
                self.to_spawn.remove(who)
            case on.Exited(who):
                del self.leaders[who]
                self.rests.add(who)
            case on.Ended(who):
                self.rests.remove(who)
                self.ended.append(who)
            case on.TimerFired(timer):
                self.timers.discard(timer)
        self.feed(event)


REQUESTS: list[on.Event] = [
    on.StopRequested("SIGINT", signal=2),
    on.StopRequested("down", timeout=1.0),
    on.StopRequested("the guardian died", failed=True),
    on.KillRequested("SIGINT twice", signal=2),
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(topologies(), st.data())
def test_any_interleaving_ends_with_everything_on_record(plans: list[ProcessPlan], data: st.DataObject) -> None:
    world = World(plans)
    if data.draw(st.booleans()):
        world.feed(on.Begin())
    else:
        world.feed(data.draw(st.sampled_from(REQUESTS)))
    for _ in range(data.draw(st.integers(0, 60))):
        possible = world.possible()
        if not possible or world.finished:
            break
        if data.draw(st.integers(0, 20)) == 0:
            possible = REQUESTS
        event = data.draw(st.sampled_from(possible))
        (world.feed if event in REQUESTS else world.happen)(event)
    _let_it_end(world)


def _let_it_end(world: World) -> None:
    """From any state, a stop and what must follow lead to the end; SIGKILL works, except where it was given up."""
    if not world.finished:
        world.feed(on.StopRequested("SIGTERM", signal=15))
    for _ in range(500):
        if world.finished:
            break
        possible = [e for e in world.possible() if not isinstance(e, on.Lingering | on.LaunchFailed)]
        assert possible, f"no way out of {world.state}"
        world.happen(possible[0])
    assert world.finished
    for who, replica in world.state.replicas.items():
        assert replica.phase in FINAL
        if who in world.ended and replica.urge < 2:
            assert replica.end is not None


@settings(max_examples=200, deadline=None)
@given(topologies(), st.data())
def test_a_run_in_which_processes_end_by_themselves_ends_unless_all_are_services(
    plans: list[ProcessPlan], data: st.DataObject
) -> None:
    world = World(plans)
    world.feed(on.Begin())
    while not world.finished:
        possible = [e for e in world.possible() if not isinstance(e, on.Lingering | on.TimerFired)]
        if not possible:
            break
        world.happen(data.draw(st.sampled_from(possible)))
    if not world.finished:
        assert all(p.service for p in plans), "a worker would have ended the run"
        assert any(world.state.live.values())


@settings(max_examples=200, deadline=None)
@given(topologies(), st.data())
def test_nobody_is_asked_to_stop_while_a_dependant_lives(plans: list[ProcessPlan], data: st.DataObject) -> None:
    world = World(plans)
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
        world.happen(data.draw(st.sampled_from(possible)))


EVENTS = st.one_of(
    st.sampled_from([on.Begin(), on.Swept(), *REQUESTS]),
    st.builds(on.Started, st.builds(Who, st.sampled_from(["p0", "p1", "zz"]), st.integers(1, 2)), st.just(4)),
    st.builds(on.Exited, st.builds(Who, st.sampled_from(["p0", "p1"]), st.integers(1, 2)), st.integers(0, 1)),
    st.builds(on.Ended, st.builds(Who, st.sampled_from(["p0", "p1"]), st.integers(1, 2))),
    st.builds(on.Lingering, st.builds(Who, st.sampled_from(["p0", "p1"]), st.integers(1, 2))),
    st.builds(on.Withheld, st.builds(Who, st.sampled_from(["p0", "p1"]), st.integers(1, 2))),
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
