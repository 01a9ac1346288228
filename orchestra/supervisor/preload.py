"""Functions as processes, the supervisor's side: parents that imported a module, and children made by them.

A parent (`forkserver.py`) is made for each different surroundings in which a module must be imported: interpreter,
module, environment, identity and limits. All functions of the module that agree in these share it. What can only be
known later, or differs between replicas (names of objects, the replica's number, the directory, processors), is given
to the child.

Everything is asynchronous: starts are queued, at most a few are on the way, and the answers come through the reactor.
A batch of starts is served by one short-lived process of the parent, so that a further child costs one fork.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple, Protocol

from orchestra.errors import LaunchFailed, OrchestraError, UsageError
from orchestra.kernel.process import send_signal
from orchestra.logs.encode import how_it_ended
from orchestra.runplan import Attributes, ProcessPlan
from orchestra.supervisor import attributes, diagnose, forkserver, spawn
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.signals import signal_name
from orchestra.supervisor.spawn import Launch
from orchestra.supervisor.states import Who

WINDOW = 16  # starts on their way to one parent: it is never idle, and few descriptors are in flight
ANSWER = 30.0  # seconds after which a parent that does not answer is given up
_TITLE_ROOM = " " * 200  # an argument that only makes room for what `ps` is to show instead
_PROGRAM = forkserver.__file__


class Surroundings(NamedTuple):
    """What must agree for two functions to have the same parent."""

    python: str
    module: str
    environment: tuple[tuple[str, str], ...]
    attributes: Attributes  # processors apart: those are each child's own
    isolation: str


class Hooks(Protocol):
    """What the loop does for us."""

    def opened(self, who: Who) -> AbstractContextManager[Launch]:
        """Yield a replica's launch; its streams are closed again unless `forked` was called inside."""

    def forked(self, who: Who, pid: int) -> None:
        """A child runs its function; its descriptors are about to be closed here."""

    def begun(self, who: Who, pid: int) -> None:
        """They are closed."""

    def refused(self, who: Who, error: LaunchFailed) -> None:
        """There is no child."""

    def streams(self, process: str, key: Hashable) -> AbstractContextManager[tuple[int, int]]:
        """Yield where a parent's own output goes; `read` must be called inside."""

    def read(self, key: Hashable, pid: int) -> None:
        """Begin to read it."""

    def released(self, key: Hashable, pid: int) -> None:
        """A parent is dead and reaped: its number may come to mean somebody else."""

    def say(self, event: str, **fields: Any) -> None:
        """Write an event to the log."""


@dataclass(slots=True)
class _Flight:
    """A start that was sent; the stack holds its descriptors."""

    who: Who
    launch: Launch
    stack: ExitStack
    steps: tuple[attributes.Step, ...]


@dataclass(slots=True, eq=False)
class _Parent:
    """One parent. It imports, then serves, until it is closed or dies."""

    key: Surroundings
    process: str  # the first that needed it, for its own output
    pid: int
    pidfd: int
    socket: socket.socket
    environment: dict[str, str]
    began: float
    is_ready: bool = False
    failed: OrchestraError | None = None
    waiting: deque[Who] = field(default_factory=deque)
    flights: dict[int, _Flight] = field(default_factory=dict)
    in_batch: bool = False
    end: str = ""  # how it ended, once that is known
    is_over: bool = False
    sources: dict[str, int] = field(default_factory=dict)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for it."""
        return not self.waiting and not self.flights

    @property
    def is_outdated(self) -> bool:
        """Whether a file that it imported has changed since."""
        return any(_changed_at(path) != then for path, then in self.sources.items())


class Preloads:
    """All parents of a run.

    `environment` gives the environment and the reserved numbers of a process, see `wiring.preloading`.
    """

    def __init__(
        self,
        reactor: Reactor,
        hooks: Hooks,
        folder: str,
        environment: Callable[[ProcessPlan], tuple[dict[str, str], list[int]]],
        *,
        python: str,
        null: int,
    ) -> None:
        self.open_files: tuple[int, int] | None = None
        self._reactor, self._hooks, self._folder = reactor, hooks, folder
        self._environment, self._python, self._null = environment, python, null
        self._parents: dict[Surroundings, _Parent] = {}
        self._retired: list[_Parent] = []
        self._plans: dict[str, ProcessPlan] = {}
        self._keys: dict[str, Surroundings] = {}
        self._serial = count(1)

    # -- before anything starts --------------------------------------------------------------------------------------

    def prepare(self, plans: Iterable[ProcessPlan]) -> None:
        """Begin to import what these processes need, all at once; `is_importing` tells for how long.

        Raises LaunchFailed when an interpreter cannot be started. May be called again with other plans.
        """
        self._plans = {plan.name: plan for plan in plans if plan.function}
        self._keys = {name: self._key(plan) for name, plan in self._plans.items()}
        for name, key in self._keys.items():
            if key not in self._parents:
                self._parents[key] = self._make(name, key, late=False)

    def reaped(self, pid: int, code: int | None, by_signal: str | None) -> None:
        """Somebody else has reaped a parent; its socket will tell us too."""
        for parent in [*self._parents.values(), *self._retired]:
            if parent.pid == pid:
                parent.end = how_it_ended(code, by_signal)

    @property
    def is_importing(self) -> bool:
        """Whether a parent has not yet said what came of its import."""
        return any(not parent.is_ready and parent.failed is None for parent in self._parents.values())

    @property
    def problem(self) -> OrchestraError | None:
        """Why one of them cannot serve, if so."""
        return next((parent.failed for parent in self._parents.values() if parent.failed is not None), None)

    # -- starts ------------------------------------------------------------------------------------------------------

    def start(self, who: Who, plan: ProcessPlan) -> None:
        """Have a replica's function called in a new child; answered through the hooks, sooner or later."""
        if self._plans.get(plan.name) is not plan:
            self._plans[plan.name], self._keys[plan.name] = plan, self._key(plan)
        key = self._keys[plan.name]
        parent = self._parents.get(key)
        if parent is not None and parent.is_ready and parent.is_outdated:
            self._hooks.say("module.changed", module=key.module)
            self._retire(parent)
            parent = None
        if parent is None or parent.failed is not None:
            try:
                parent = self._parents[key] = self._make(who.process, key, late=True)
            except LaunchFailed as err:
                self._hooks.refused(who, err)
                return
        parent.waiting.append(who)
        self._pump(parent)

    def withdraw(self, unwanted: Callable[[Who], bool]) -> list[Who]:
        """Take back the starts that nobody wants any more and that were not sent; return whose they were."""
        found: list[Who] = []
        for parent in self._parents.values():
            if parent.waiting:
                found += [who for who in parent.waiting if unwanted(who)]
                parent.waiting = deque(who for who in parent.waiting if not unwanted(who))
        return found

    def close(self) -> None:
        """End every parent, and wait until they are gone."""
        for parent in [*self._parents.values(), *self._retired]:
            self._end(parent)
        self._parents.clear()
        self._retired.clear()

    # -- parents -----------------------------------------------------------------------------------------------------

    def _key(self, plan: ProcessPlan) -> Surroundings:
        environment, _ = self._environment(plan)
        module = plan.function.partition(":")[0]
        own = plan.attributes._replace(cpu_affinity=())
        return Surroundings(
            plan.python or self._python, module, tuple(sorted(environment.items())), own, plan.isolation
        )

    def _make(self, process: str, key: Surroundings, *, late: bool) -> _Parent:
        """Start a parent and give it its order; a `late` one writes out the traceback. Raises LaunchFailed."""
        reserved = {number for name, other in self._keys.items() if other == key for number in self._numbers(name)}
        names = [self._plans[name].function.partition(":")[2] for name, other in self._keys.items() if other == key]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = next(number for number in count(3) if number not in reserved)
        environment = dict(key.environment)
        with theirs:
            try:
                with self._hooks.streams(process, key) as (stdout, stderr):
                    launch = Launch(
                        [key.python, _PROGRAM, str(number), _TITLE_ROOM],
                        self._folder, environment, self._null, stdout, stderr,
                        extra_fds={number: theirs.fileno()}, attributes=key.attributes,
                        isolated=key.isolation == "private",
                    )  # fmt: skip
                    pid = spawn.launch(launch, open_files=self.open_files)
                    self._hooks.read(key, pid)
            except LaunchFailed as err:
                ours.close()
                if err.stage == "exec":
                    err.hint = f"{err.hint} `python:` names another interpreter.".lstrip()
                raise
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        parent = _Parent(key, process, pid, os.pidfd_open(pid), ours, environment, time.monotonic())
        self._reactor.watch(ours.fileno(), lambda: self._answered(parent))
        order = {
            "module": key.module, "names": names, "folder": self._folder, "reserved": sorted(reserved),
            "title": f"orchestra: parent of {key.module}", "label": "orchestra-fn", "late": late,
        }  # fmt: skip
        _send(parent.socket, order, [])
        return parent

    def _numbers(self, process: str) -> list[int]:
        return self._environment(self._plans[process])[1]

    def _retire(self, parent: _Parent) -> None:
        """Let a parent finish what it has begun; nothing new goes to it."""
        del self._parents[parent.key]
        if parent.is_idle:
            self._end(parent)
        else:
            self._retired.append(parent)

    def _end(self, parent: _Parent) -> None:
        """End a parent, or let go of one that is dead."""
        if parent.is_over:
            return
        parent.is_over = True
        self._reactor.forget(parent.socket.fileno())
        self._reactor.cancel(parent)
        parent.socket.close()
        send_signal(parent.pidfd, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(parent.pid, 0)
        os.close(parent.pidfd)
        self._hooks.released(parent.key, parent.pid)
        for flight in parent.flights.values():
            flight.stack.close()

    # -- what goes to and fro ----------------------------------------------------------------------------------------

    def _pump(self, parent: _Parent) -> None:
        """Send as many starts as may be on the way; end the batch when nobody waits."""
        while parent.is_ready and parent.waiting and len(parent.flights) < WINDOW:
            if not self._send_start(parent, parent.waiting.popleft()):
                break
        if parent.in_batch and parent.is_idle:
            parent.in_batch = False
            _send(parent.socket, {"end": True}, [])
        if parent.flights:
            self._reactor.after(parent, ANSWER, lambda: self._is_mute(parent))
        else:
            self._reactor.cancel(parent)
        if parent in self._retired and parent.is_idle:
            self._retired.remove(parent)
            self._end(parent)

    def _send_start(self, parent: _Parent, who: Who) -> bool:
        """Send one start; False when the parent takes no more just now."""
        stack = ExitStack()
        number = next(self._serial)
        try:
            launch = stack.enter_context(self._hooks.opened(who))
            steps = tuple(attributes.affinity(launch.attributes, launch.replica))
            packet, descriptors = _packet(number, launch, steps, parent.environment)
            _send(parent.socket, packet, descriptors)
        except BlockingIOError:
            stack.close()
            parent.waiting.appendleft(who)
            return False
        except LaunchFailed as err:
            stack.close()
            self._hooks.refused(who, err)
            return True
        except OSError as err:
            stack.close()
            self._hooks.refused(who, diagnose.stage_failed("descriptors", "", err.errno or 0))
            return True
        parent.flights[number] = _Flight(who, launch, stack, steps)
        parent.in_batch = True
        return True

    def _answered(self, parent: _Parent) -> None:
        while True:
            try:
                data = parent.socket.recv(forkserver.PACKET)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._died_away(parent)
                return
            self._take(parent, json.loads(data))
        self._pump(parent)

    def _take(self, parent: _Parent, answer: dict[str, Any]) -> None:
        match answer:
            case {"ready": True, "sources": sources}:
                parent.is_ready, parent.sources = True, sources
                seconds = round(time.monotonic() - parent.began, 3)
                self._hooks.say("module.imported", module=parent.key.module, pid=parent.pid, seconds=seconds)
            case {"failed": stage, **words}:
                self._give_up(parent, _import_failed(parent.key.module, stage, words))
            case {"n": number, "pid": pid} if number in parent.flights:
                flight = parent.flights.pop(number)
                with flight.stack:
                    self._hooks.forked(flight.who, pid)
                self._hooks.begun(flight.who, pid)
            case {"n": number, "stage": stage, "errno": code} if number in parent.flights:
                flight = parent.flights.pop(number)
                self._refuse(flight, _start_failed(answer, stage, code, parent.key.module, flight))
            case {"broken": _}:
                self._drop_flights(parent, "what made its children was ended")

    def _refuse(self, flight: _Flight, error: LaunchFailed) -> None:
        flight.stack.close()
        self._hooks.refused(flight.who, error)

    def _drop_flights(self, parent: _Parent, reason: str) -> None:
        flights, parent.flights, parent.in_batch = list(parent.flights.values()), {}, False
        for flight in flights:
            self._refuse(flight, _no_parent(parent.key.module, reason))

    def _give_up(self, parent: _Parent, error: OrchestraError) -> None:
        """The import came to nothing: nobody who waits is started."""
        parent.failed = error
        self._hooks.say("module.failed", module=parent.key.module, reason=error.problem, traceback=error.detail or None)
        failure = LaunchFailed(
            error.problem, stage="import", errno=0, path=parent.key.module, detail=error.detail, hint=error.hint
        )
        waiting, parent.waiting = list(parent.waiting), deque()
        for who in waiting:
            self._hooks.refused(who, failure)

    def _is_mute(self, parent: _Parent) -> None:
        send_signal(parent.pidfd, signal.SIGKILL)  # its end is the answer

    def _died_away(self, parent: _Parent) -> None:
        """A parent's socket has ended: it is dead, or as good as that. Its children live on: they are ours."""
        key = parent.key
        if parent in self._retired:
            self._retired.remove(parent)
        if parent.failed is not None:  # it said why, and left
            self._end(parent)
            return
        how = self._how_it_ended(parent)
        problem = f"the parent of {key.module} {how}"
        self._drop_flights(parent, how)
        waiting = list(parent.waiting)
        parent.waiting.clear()
        if parent.is_ready:
            self._hooks.say("module.parent_died", module=key.module, pid=parent.pid, reason=how)
            if self._parents.get(key) is parent:
                del self._parents[key]
            self._end(parent)
            for who in waiting:
                self.start(who, self._plans[who.process])
            return
        parent.waiting.extend(waiting)
        hint = "What it wrote is in the log." if how else ""
        self._give_up(parent, OrchestraError(f"{problem} while it was importing", hint=hint))
        self._end(parent)

    def _how_it_ended(self, parent: _Parent) -> str:
        if not parent.end:
            send_signal(parent.pidfd, signal.SIGKILL)  # should it live on without its socket
            try:
                found = os.waitid(os.P_PID, parent.pid, os.WEXITED | os.WNOWAIT)
            except ChildProcessError:  # reaped, and we are yet to hear of it
                return "has ended"
            assert found is not None
            by_signal = found.si_code != os.CLD_EXITED
            name = signal_name(found.si_status) if by_signal else None
            parent.end = how_it_ended(None if by_signal else found.si_status, name)
        return parent.end


def _packet(
    number: int, launch: Launch, steps: Iterable[attributes.Step], known: dict[str, str]
) -> tuple[dict[str, Any], list[int]]:
    """Return a start as JSON data, and its descriptors. Of the environment only what the parent has not."""
    places = launch.places()
    module, _, name = launch.function.partition(":")
    wanted = launch.environment
    packet = {
        "n": number, "module": module, "name": name, "arguments": _plain(launch.arguments),
        "label": launch.argv[0], "title": " ".join(launch.argv), "directory": launch.directory,
        "places": list(places), "terminal": launch.terminal, "steps": [step.plain for step in steps],
        "listen": bool(launch.passed), "stdin": launch.reads_input,
        "set": {name: value for name, value in wanted.items() if known.get(name) != value},
        "unset": [name for name in known if name not in wanted],
    }  # fmt: skip
    return packet, list(places.values())


def _plain(value: Any) -> Any:
    """Return JSON data from what a plan holds, which may be read-only mappings and tuples."""
    if hasattr(value, "items"):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _send(line: socket.socket, packet: dict[str, Any], descriptors: list[int]) -> None:
    """Send one packet whole. Raises OSError; a parent that is gone is noticed elsewhere."""
    body = json.dumps(packet, separators=(",", ":")).encode()
    spilled = -1
    try:
        if len(body) > forkserver.PACKET // 2:
            spilled = os.memfd_create("orchestra-start", os.MFD_CLOEXEC)
            with open(spilled, "wb", closefd=False) as file:
                file.write(body)
            body, descriptors = b'{"file":true}', [spilled, *descriptors]
        socket.send_fds(line, [body], descriptors)
    except OSError as err:
        if err.errno not in (errno.EPIPE, errno.ECONNRESET):
            raise
    finally:
        if spilled >= 0:
            os.close(spilled)


def _changed_at(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _import_failed(module: str, stage: str, words: dict[str, Any]) -> OrchestraError:
    """Return the error of an import: a name that leads nowhere is the file's fault, the rest the module's."""
    problem, detail, hint = str(words["problem"]), str(words["detail"]).rstrip("\n"), str(words["hint"])
    if stage == "function":
        return UsageError(problem, detail=detail, hint=hint)
    if stage == "threads":
        hint = (
            "Start threads in the function. Libraries for numbers start theirs when imported, unless "
            "OPENBLAS_NUM_THREADS=1 or OMP_NUM_THREADS=1 stands in `environment`."
        )
    return LaunchFailed(problem, stage=stage, errno=0, path=module, detail=detail, hint=hint)


def _start_failed(answer: dict[str, Any], stage: str | int, code: int, module: str, flight: _Flight) -> LaunchFailed:
    if stage == "threads":
        words = f"the parent of {module} has {answer['threads']} threads by now, which a fork would lose"
        return LaunchFailed(words, stage="threads", errno=code, path=module)
    if isinstance(stage, int):
        return diagnose.step_failed(flight.steps[stage], code, flight.launch.directory)
    return diagnose.stage_failed(stage, flight.launch.directory if stage == "chdir" else "", code)


def _no_parent(module: str, reason: str) -> LaunchFailed:
    return LaunchFailed(f"the parent of {module} {reason}", stage="fork", errno=errno.ECHILD, path=module)
