"""The supervisor: turns what happens into events, and the machine's commands into deeds. One thread, one loop."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from orchestra.errors import LedgerError, OrchestraError, StateError
from orchestra.kernel.locked import LockedSegments
from orchestra.kernel.process import set_comm, set_subreaper, start_time
from orchestra.kinds import Access, Family
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import ObjectState, RunRow
from orchestra.logs.encode import event_record
from orchestra.logs.sink import LogFile
from orchestra.objects import LiveObject, announce_recorded, boxes, reuse_or_create
from orchestra.objects.newcomers import Key, key_of_identity
from orchestra.runplan import ObjectPlan, RunPlan
from orchestra.statedir import StateDir
from orchestra.supervisor import commands as do
from orchestra.supervisor import diagnose, limits, teardown
from orchestra.supervisor import events as on
from orchestra.supervisor.books import Books
from orchestra.supervisor.channel import Channel
from orchestra.supervisor.control_server import ControlServer
from orchestra.supervisor.kin import Kin
from orchestra.supervisor.launcher import Launcher
from orchestra.supervisor.living import LiveRun
from orchestra.supervisor.machine import step
from orchestra.supervisor.output import Outputs
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.requests import Requests
from orchestra.supervisor.signals import STOP_SIGNALS, signal_name
from orchestra.supervisor.starting import waits_for
from orchestra.supervisor.states import FINAL, Phase, Replica, RunPhase, RunState, Who
from orchestra.supervisor.undeclared import Undeclared
from orchestra.supervisor.watchers import Watchers, processes_left
from orchestra.supervisor.wiring import PipeEnds, Wire, open_for, wires

RETRY = 1.0  # seconds between two tries to write a log or a ledger that refused
# How long a call waits while somebody else writes the ledger: processes must not wait for it, objects may.
PATIENCE_RUNNING, PATIENCE_ENDING = 0.1, 5.0  # seconds
LAST_GRACE = 0.4  # seconds for everything, once the guardian is dead: nobody would end them should we die as well
# What `ps` and the ledger call a phase while the run is not over.
_WORDS = {
    RunPhase.STARTING: "starting",
    RunPhase.UP: "up",
    RunPhase.STOPPING: "stopping",
    RunPhase.SWEEPING: "stopping",
    RunPhase.HOLDING: "up",
    RunPhase.OVER: "stopping",  # the objects are still being dealt with
}


@dataclass(frozen=True, slots=True)
class Job:
    """What the guardian hands to the supervisor."""

    run: RunRow
    plan: RunPlan
    places: StateDir
    detach: bool
    leak: bool
    hold: bool = False  # in the foreground: keep the objects after the processes have ended, until a person asks
    wait: bool = False  # tell the command when everything is ready
    recreate: bool = False  # kept objects of another shape are made anew
    stdin: int | None = None  # the command's own, for the process that inherits it


class Supervisor:
    """One run, from the creation of its objects to their end."""

    def __init__(self, job: Job, channel: Channel, ledger: Ledger, log: LogFile) -> None:
        self.job, self.plan, self.channel, self.ledger, self.log = job, job.plan, channel, ledger, log
        self.leak = job.leak
        self.reactor = Reactor()
        self.books = Books(ledger, job.run, self.say)
        self.kin = Kin()
        makers = {item.made_by for item in job.plan.objects if item.made_by}
        self.state = RunState.initial(job.plan.processes, makers=makers, hold=job.hold)
        raw = job.places.run_folder(job.run.run) / "raw" if job.plan.log.raw else None
        streams = 2 * len(self.state.replicas)
        self.outputs = Outputs(self.reactor, log, job.run.run, streams, self._stream_ended, raw)
        self.things: dict[str, LiveObject] = {}
        self.locked = LockedSegments()
        self.unsettled: set[Who] = set()  # their leaders are reaped, they have not ended yet
        self.inbox: deque[on.Event] = deque()
        self.control: ControlServer | None = None
        self.requests = Requests(LiveRun(self))
        self.stdin = job.stdin
        self.patience = PATIENCE_ENDING
        self.pipe_ends: PipeEnds | None = None
        self.wires: dict[str, Wire] = {}
        self.interrupts = 0
        self.stepping = self.announced = self.finished = False
        self.asked_to_stop = False  # by anybody, as opposed to an end that came by itself
        self.stopped_by: str | None = None
        self.sweep_signal = signal.SIGTERM
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.open_files: tuple[int, int] | None = None
        self.began = time.monotonic()
        self.watchers = Watchers(self)
        self.launcher = Launcher(self)
        self.undeclared = Undeclared(job.plan, job.run, self._declared)

    # -- the course of a run -----------------------------------------------------------------------------------------

    def run(self, guardian: int) -> int:
        """Supervise the run to its end and return its exit code. `guardian` is a pidfd of the guardian."""
        self._listen(guardian)
        try:
            self._set_up()
        except OrchestraError as err:
            return self._give_up(err)
        if self._is_wanted():
            self.dispatch(on.Begin())
            if self.job.wait:
                self.requests.watch_start(self._tell_ready)
        while not self.finished:
            self.launcher.launch_some()
            self._publish()
            if not self.finished:
                self.reactor.turn(wait=not self.launcher.is_busy, awake=self.kin.look_again)
        return self._end()

    def _listen(self, guardian: int) -> None:
        self.reactor.signals((*STOP_SIGNALS, signal.SIGCHLD), self._signalled)
        self.reactor.watch(guardian, partial(self._guardian_died, guardian))
        self.reactor.watch(self.channel.fileno(), self._channel_ready)
        pid = os.getpid()
        run = self.job.run
        self.say("run.started", instance=run.instance, topology=run.topology, file=run.file, pid=pid)
        self.books.change(supervisor_pid=pid, supervisor_start=start_time(pid))
        for who, replica in self.state.replicas.items():
            self.books.note(who, replica)
        self._channel_ready()  # what the guardian read along with the plan

    def _set_up(self) -> None:
        """Everything before the first process: socket, modules, objects, wiring. Stops once the run is to stop.

        Raises OrchestraError.
        """
        if not self._is_wanted():
            return
        self.make_room()
        path = self.job.places.socket(self.plan.instance)
        self.control = ControlServer(self.reactor, path, self.requests.handle)
        self.books.change(socket=os.fspath(path))
        self.launcher.import_modules(self._publish)
        for plan in sorted(self.plan.objects, key=lambda plan: not plan.made_by):  # a conflict of those costs nothing
            if not self._is_wanted():
                return
            self.things[plan.key] = self.make(plan, recreate=self.job.recreate)
        self.rewire()
        self.pipe_ends = PipeEnds(self.plan, self.things)
        self.undeclared.watch(self.reactor)
        self.patience = PATIENCE_RUNNING
        self.ledger.patience(self.patience)

    def make(self, plan: ObjectPlan, *, recreate: bool) -> LiveObject:
        """Create an object, or use again what is there, and say so. Raises OrchestraError.

        With `recreate` a kept one of another shape is made anew. One that a program makes is only put on record, and
        must not be there yet.
        """
        folder = self.job.places.run_folder(self.job.run.run)
        try:
            if plan.made_by:
                return announce_recorded(self.ledger, plan, self.job.run, folder=folder)
            thing = reuse_or_create(self.ledger, plan, self.job.run, folder=folder, recreate=recreate)
            if plan.lock and plan.family is not Family.SYSV:  # those have a lock of their own
                self._keep_in_memory(thing)
        except OrchestraError as err:
            self.say(
                "object.failed",
                object=plan.key,
                family=plan.family.value,
                kind=plan.kind.value,
                reason=err.problem,
                detail=err.detail or None,
            )
            raise
        borrowed = thing.row.state is ObjectState.BORROWED
        event = "object.borrowed" if borrowed else "object.reused" if thing.reused else "object.created"
        self.say(event, **teardown.describe(thing.row))
        return thing

    def _keep_in_memory(self, thing: LiveObject) -> None:
        fd = open_for(thing, Access.READ_WRITE)
        try:
            self.locked.keep(thing.plan.key, thing.handle.ref, fd)
        finally:
            os.close(fd)

    def rewire(self) -> None:
        """Wire every process to the objects as they are now."""
        self.wires = wires(self.plan, self.job.run.run, self.things, stdin=self.stdin)

    def make_room(self) -> None:
        """Raise our limit on open files as far as the replicas and objects of the plan need it."""
        needed = sum(limits.descriptors_of(process, raw=self.plan.log.raw) for process in self.plan.processes)
        before = limits.raise_open_files(needed, len(self.plan.objects))
        self.open_files = self.open_files or before

    def namespaces(self, who: Who | None) -> int | None:
        """Return the pid whose namespaces a replica runs in, None for those of the host."""
        if who is not None and self.state.graph.processes[who.process].isolation == "private":
            replica = self.state.replicas[who]
            if replica.pid is not None and replica.end is None:
                return replica.pid
        return None if self.job.run.box_pid is None else os.getpid()  # the box may have been killed

    def _is_wanted(self) -> bool:
        """Look what has happened meanwhile: making objects takes as long as filling them does."""
        if not self.finished:
            self.reactor.turn(wait=False)
        return not self.finished

    def _give_up(self, err: OrchestraError) -> int:
        """End a run that could not be set up: nothing it made stays, the command is told why."""
        self.launcher.close()
        self._close_objects()
        reused = frozenset(thing.row.recorded for thing in self.things.values() if thing.reused)
        result = teardown.undo(self.ledger, self.job.run.run, reused=reused, say=self.say)
        for who, replica in self.state.replicas.items():
            self.books.note(who, replace(replica, phase=Phase.SKIPPED, reason=f"the start failed: {err.problem}"))
        self.say("run.ended", state="failed", exit_code=err.exit_code)
        self.books.change(
            state="failed", ended_at=time.time(), exit_code=err.exit_code, finished=self._is_finished(result)
        )
        self._last_words()
        self.channel.send({"event": "error", "error": err.to_wire(), "exit_code": err.exit_code})
        self._answer_waiting(exit_code=err.exit_code)
        return err.exit_code

    def _end(self) -> int:
        """Tear down, or leave the objects of a detached run to `down`; write the last words."""
        self.watchers.close()
        self.outputs.close()
        self.ledger.patience(PATIENCE_ENDING)
        survivors = processes_left(self.kin)
        failed, code = self.state.has_failed, self.state.exit_code
        result = teardown.Result(complete=False)
        self._close_objects()
        if self.asked_to_stop or self.leak or not self.job.detach:
            result = teardown.apply_on_down(self.ledger, self.job.run.run, failed=failed, leak=self.leak, say=self.say)
            if not result.complete:
                failed, code = True, code or 1
        undeclared = self.undeclared.settle(self.ledger, self.say, leak=self.leak)
        if survivors or undeclared.reasons:
            failed, code = True, code or 1
        word = "failed" if failed else "down"
        failures = [
            {"process": who.process, "replica": who.replica, "reason": reason} for who, reason in self.state.failures
        ]
        hints = {self._hint(who) for who, _ in self.state.failures} - {""}
        failures += [{"process": "", "replica": 0, "reason": reason} for reason in undeclared.reasons]
        seconds = round(time.monotonic() - self.began, 3)
        self.say("run.ended", state=word, exit_code=code, seconds=seconds, failed=failures or None)
        finished = self._is_finished(result)
        self.books.change(state=word, ended_at=time.time(), exit_code=code, finished=finished, leak=self.leak)
        self._last_words()
        self.channel.send(
            {
                "event": "ended",
                "exit_code": code,
                "state": word,
                "failed": failures,
                "stopped_by": self.stopped_by,
                "objects_left": result.left,
                "processes_left": survivors,
                "hints": sorted(hints),
                "lines_lost": self.log.lost_lines,
            }
        )
        self._answer_waiting(exit_code=code, state=word, objects_left=result.left, processes_left=survivors)
        return code

    def _is_finished(self, result: teardown.Result) -> bool:
        """Whether nobody has to come back to this run: its private namespace, too, ends before that is on record."""
        if not result.finished:
            return False
        try:
            if boxes.release(self.ledger, self.job.run):
                for row in boxes.settle_ended(self.ledger, self.job.run):  # kept in vain: somebody has killed the box
                    self.say("object.gone", **teardown.describe(row))
        except LedgerError:
            return False
        return True

    def _answer_waiting(self, **answer: Any) -> None:
        self.requests.finish(**answer)
        if self.control is not None:
            self.control.finish()

    def _declared(self) -> set[Key]:
        identities = (thing.row.identity for thing in self.things.values())
        return {key_of_identity(identity) for identity in identities if identity is not None}

    def _close_objects(self) -> None:
        """Let go of the objects that live by our descriptors only, or are locked by us."""
        self.locked.close()
        if self.pipe_ends is not None:
            self.pipe_ends.close()
        for thing in self.things.values():
            if thing.plan.family is Family.MEMFD or self.pipe_ends is None:
                for fd in thing.handle.fds:
                    os.close(fd)

    def _last_words(self) -> None:
        self.books.flush()
        self.log.close()
        self.channel.tick()

    # -- the machine -------------------------------------------------------------------------------------------------

    def dispatch(self, *events: on.Event) -> None:
        """Feed events to the machine and carry out its commands, in order; also when called from a command."""
        self.inbox.extend(events)
        if self.stepping:
            return
        self.stepping = True
        while self.inbox:
            before = self.state.phase
            self.state, commands = step(self.state, self.inbox.popleft())
            if self.state.phase is RunPhase.STOPPING is not before:
                self.undeclared.look()
            # Signals first: the last of a hundred need not wait for the log lines of all the others.
            for command in sorted(commands, key=_can_wait):
                self._obey(command)
            if self.announced and self.state.phase is not before:
                self.books.change(state=_WORDS[self.state.phase])
        self.stepping = False

    def _obey(self, command: do.Command) -> None:
        match command:
            case do.Log(event, who, data):
                self._log(event, who, dict(data))
            case do.Record(who):
                self._record(who)
            case do.Drop(who, replica):
                self.books.note(who, replica)
                self.books.drop(who)
            case do.Spawn(who):
                self.launcher.add(who)
            case do.Signal(who, number):
                self.kin.signal(who, number)
            case do.Kill(who):
                self.kin.signal(who, signal.SIGKILL)
            case do.StartTimer(timer, seconds, jitter):
                seconds *= 1 + jitter * random.uniform(-1, 1)
                self.reactor.after(timer, seconds, partial(self._timer, timer))
            case do.CancelTimer(timer):
                self.reactor.cancel(timer)
            case do.Sweep(hard):
                self.launcher.close()
                self.sweep_signal = signal.SIGKILL if hard else signal.SIGTERM
                self._sweep()
            case do.Rebuild():
                self.requests.rebuild()
            case do.Finish():
                self.finished = True
            case _:
                self.watchers.obey(command)

    def _log(self, event: str, who: Who | None, data: dict[str, Any]) -> None:
        if isinstance(data.get("signal"), int):
            data["signal"] = signal_name(data["signal"])
        if who is None:
            self.say(event, **data)
        elif event == "process.failed":
            label = self.state.graph.label(who)
            hint = self._hint(who) or None
            self.say(event, process=who.process, replica=who.replica, who=label, hint=hint, **data)
        else:
            self.say(event, process=who.process, replica=who.replica, who=self.state.graph.label(who), **data)

    def _hint(self, who: Who) -> str:
        """Return what helps a person to understand a failure."""
        replica, plan = self.state.replicas.get(who), self.state.graph.processes.get(who.process)
        if replica is None or plan is None or replica.end is None:
            return ""
        return diagnose.lost_output(replica.end.signal, plan.output)

    def say(self, event: str, **fields: Any) -> None:
        """Write an event of the catalogue to the log."""
        self.log.write(event_record(event, run=self.job.run.run, **fields))

    def _record(self, who: Who) -> None:
        """Take a replica's new state: its row, and the pipe ends that only it still needed."""
        replica = self.state.replicas.get(who)
        if replica is None:
            return  # it was dropped in the same step, and the command for that follows
        self.books.note(who, replica)
        self.watchers.recorded(who)
        if replica.pid is not None:
            self.undeclared.knows(replica.pid, self.state.graph.label(who))
        if self.pipe_ends is not None and who.process in self.pipe_ends.users:
            self.pipe_ends.needed_by(self._startable())

    def _startable(self) -> set[str]:
        """Return the processes of which a replica may still be started by itself: now, later, or again."""
        return {who.process for who, replica in self.state.replicas.items() if self._may_start(who, replica)}

    def _may_start(self, who: Who, replica: Replica) -> bool:
        if replica.phase in (Phase.PENDING, Phase.BACKOFF) or (replica.phase is Phase.STARTING and replica.pid is None):
            return True
        if replica.phase in FINAL or replica.doomed:
            return False
        plan = self.state.graph.processes[who.process]
        return plan.restart.policy != "never" or any(dependency.restart for dependency in plan.depends_on)

    # -- what happens ------------------------------------------------------------------------------------------------

    def _signalled(self, numbers: bytes) -> None:
        reaped = False
        for number in numbers:
            if number == signal.SIGCHLD:
                if not reaped:  # one look finds all that have ended
                    self._reap()
                reaped = True
            elif number == signal.SIGHUP and self.job.detach:  # no terminal to lose: somebody has renamed the log
                self.log.reopen()
            elif number in STOP_SIGNALS:
                self.interrupts += number == signal.SIGINT
                self._ask(signal_name(number), number, kill=number == signal.SIGINT and self.interrupts > 1)

    def _reap(self) -> None:
        self.watchers.children_changed()
        at = time.monotonic()
        for death in self.kin.reap():
            self.undeclared.knows(death.pid, self.state.graph.label(death.who) if isinstance(death.who, Who) else "")
            if isinstance(death.who, Who):
                self.watchers.last_words(death.who)
                self.unsettled.add(death.who)
                self.dispatch(on.Exited(death.who, death.code, death.signal, at))
            elif death.who is not None and not self.launcher.reaped(death):
                self.watchers.reaped(death)
        self._settle()
        if self.state.phase is RunPhase.SWEEPING:
            self._sweep()

    def _settle(self) -> None:
        """Find out which replicas without a leader have ended, and which still have members in their session."""
        self.watchers.errands.settle()
        if not self.unsettled:
            return
        lingering = self.kin.lingering(self.unsettled)
        for who in sorted(self.unsettled):
            if who in lingering:
                self.dispatch(on.Lingering(who))
                continue
            self.unsettled.discard(who)
            self.kin.forget(who)
            self.watchers.ended(who)
            self.outputs.drain(who)  # all who wrote there are dead: what is in the pipe now is all there is
            self.dispatch(on.Ended(who))

    def _stream_ended(self, key: Hashable) -> None:
        if key in self.unsettled:
            self._settle()

    def _timer(self, timer: on.Timer) -> None:
        self._settle()
        if timer.kind == "ready" and timer.who is not None:
            self.dispatch(on.NotReady(timer.who, self.watchers.why_not_ready(timer.who)))
        else:
            self.dispatch(on.TimerFired(timer))

    def _sweep(self) -> None:
        if self.kin.is_empty:
            self.dispatch(on.Swept())
            return
        for stat in self.kin.sweep(self.sweep_signal):
            self.say("descendant.killed", pid=stat.pid, command=stat.command)

    def _channel_ready(self) -> None:
        messages, ended = self.channel.receive()
        for message in messages:
            op = message.get("op") if message else None
            if message is not None and op == "stop":
                name = str(message.get("signal"))
                self._ask(name, getattr(signal, name, None) if name.startswith("SIG") else None)
            elif op == "kill":
                self._ask("SIGINT, twice", signal.SIGINT, kill=True)
        if ended:
            self.reactor.forget(self.channel.fileno())
            if not self.job.detach:
                self._ask("SIGHUP", signal.SIGHUP)

    def end(self, leak: bool, timeout: float | None) -> None:
        """Stop the run because somebody asked for it over the control socket."""
        self.leak = self.leak or leak
        self._ask("orchestra down", timeout=timeout, leak=leak)

    def _guardian_died(self, pidfd: int) -> None:
        self.reactor.forget(pidfd)
        self.say("guardian.died", pid=self.job.run.guardian_pid)
        self._ask("the guardian died", failed=True, timeout=LAST_GRACE)

    def _ask(
        self,
        by: str,
        number: int | None = None,
        *,
        kill: bool = False,
        timeout: float | None = None,
        leak: bool = False,
        failed: bool = False,
    ) -> None:
        """Stop the run, or kill everything in it, because somebody wants it."""
        self.say("run.stop_requested", by=by, leak=leak or None)
        self.asked_to_stop = True
        if self.state.cause is None and self.state.phase is not RunPhase.HOLDING:
            self.stopped_by = by
        if kill:
            self.dispatch(on.KillRequested(by, signal=number))
        else:
            self.dispatch(on.StopRequested(by, signal=number, timeout=timeout, failed=failed))

    # -- what others see -----------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Let others see what happened since the last time: log, ledger, the waiting command, who asked for it."""
        self.requests.look()
        if self.log.flush():
            self.channel.tick()
        if self.launcher.is_busy:
            return
        if not self.announced and self.state.phase is not RunPhase.STARTING:
            self.announced = True
            self.books.change(state=_WORDS[self.state.phase])
            self.books.flush(processes=False)
            self.channel.send({"event": "up"})
        behind = not self.books.flush()
        if behind or self.log.pending:
            self.reactor.after("retry", RETRY, lambda: None)

    def _tell_ready(self, results: list[dict[str, Any]]) -> None:
        if self.state.phase not in (RunPhase.UP, RunPhase.HOLDING):
            return  # the end is near, and how it came about will be said then
        failed = [result for result in results if result["result"] != "ok"]
        self._publish()  # first what it was that made it so
        self.channel.send({"event": "ready", "failed": failed})

    def _rows(self) -> list[dict[str, Any]]:
        """Return the rows of `ps` in the order of the file; last what is still ending, and not in it any more."""
        state, place = self.state, {name: number for number, name in enumerate(self.state.graph.processes)}
        rows = sorted(self.books.processes(), key=lambda row: (place.get(row["name"], len(place)), row["replica"]))
        return [{**row, "reason": row["reason"] or waits_for(state, row["name"], row["replica"])} for row in rows]

    def answer(self) -> dict[str, Any]:
        """Return what the control socket says about the run."""
        run = self.books.run
        return {
            "instance": run.instance,
            "run": run.run,
            "state": _WORDS[self.state.phase],
            "pid": os.getpid(),
            "guardian": run.guardian_pid,
            "topology": run.topology,
            "file": run.file,
            "log": run.log,
            "detached": run.detached,
            "started_at": run.started_at,
            "processes": self._rows(),
        }


def _can_wait(command: do.Command) -> bool:
    return not isinstance(command, do.Signal | do.Kill)


def supervise(job: Job, channel: Channel, guardian: int) -> int:
    """Run the whole life of a supervisor in this process; return the exit code of the run.

    Raises OrchestraError when ledger or log cannot be opened: then nothing was made.
    """
    set_comm("orchestra-sup")
    set_subreaper()
    ledger = Ledger.open(job.places.ledger)
    path = job.places.log(job.run.run)
    try:
        kept = job.plan.log
        log = LogFile(path, run=job.run.run, rotate_size=kept.rotate_size, keep=kept.keep)
    except OSError as err:
        raise StateError(f"cannot write the log {path}: {err.strerror}") from err
    code = Supervisor(job, channel, ledger, log).run(guardian)
    with contextlib.suppress(LedgerError):  # what could not be written was said in the log
        ledger.close()
    return code
