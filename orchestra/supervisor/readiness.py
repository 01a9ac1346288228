"""How replicas say that they are ready, and that they are still well.

What a replica needs for that (a socket, the end of a pipe) exists before it is launched: it may speak at once. Whether
somebody listens is another matter: the machine says from when to when (`watch`, `forget`).

What a process said before it ended counts, also when we learn of the end first: `last_words` looks before the end is
reported.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from orchestra.runplan import ProcessPlan, Ready
from orchestra.supervisor import diagnose, notify
from orchestra.supervisor import events as on
from orchestra.supervisor.conditions import Alarms, Things, look_at
from orchestra.supervisor.errands import Errand, Errands, Order
from orchestra.supervisor.knock import Knock
from orchestra.supervisor.notify import NotifySocket
from orchestra.supervisor.output import Outputs, Tap
from orchestra.supervisor.pattern import Pattern, TookTooLong
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.schedule import Schedule
from orchestra.supervisor.states import Who

PROBE_LIMIT = 10.0  # seconds that one probe may take
_EXIT_GAP = 0.1  # seconds in which the end of a process follows on the end of its pipe
_LINE_MAX = 64 * 1024  # bytes of an unfinished line that are kept
_STATUS_MAX = 500  # characters

Say = Callable[..., None]


@dataclass(slots=True)
class Gear:
    """What one launch gets for it."""

    environment: dict[str, str] = field(default_factory=dict)
    descriptors: dict[int, int] = field(default_factory=dict)  # number in the child -> descriptor of ours
    tap: Tap | None = None


class Way(Protocol):
    """One way to be ready, of one incarnation of a replica."""

    def start(self) -> None:
        """Begin to find out."""

    def look(self) -> None:
        """Look now at what may have been said."""

    def stop(self) -> None:
        """Stop finding out; nothing is told any more."""

    def why_not(self) -> str:
        """Return what is missing, in words, or ""."""


@dataclass(slots=True)
class _Ward:
    """One incarnation of a replica."""

    who: Who
    plan: ProcessPlan
    pid: int = 0
    socket: NotifySocket | None = None
    way: Way | None = None
    is_watched: bool = False
    status: str = ""


class Readiness:
    """All replicas of a run. `tell` reports events to the machine; `say` writes to the log."""

    def __init__(
        self,
        reactor: Reactor,
        outputs: Outputs,
        errands: Errands,
        things: Things,
        folder: Path,
        *,
        tell: Callable[[on.Event], None],
        say: Callable[[str, Who, dict[str, object]], None],
        path: Callable[[Who], str],
    ) -> None:
        """`folder` is the run's own; `path` resolves the path of `ready: unix` for a replica."""
        self._reactor, self._outputs, self._errands, self._things = reactor, outputs, errands, things
        self._folder, self._tell, self._say, self._path = folder, tell, say, path
        self._wards: dict[Who, _Ward] = {}

    # -- one incarnation ---------------------------------------------------------------------------------------------

    @contextmanager
    def gear(self, who: Who, plan: ProcessPlan) -> Iterator[Gear]:
        """Yield what a launch needs; call `started` inside once there is a pid. Raises OSError, without descriptors."""
        if plan.ready is None and plan.watchdog is None:
            yield Gear()
            return
        self.ended(who)
        ward = self._wards[who] = _Ward(who, plan)
        gear = Gear()
        try:
            self._equip(ward, gear)
            yield gear
        finally:
            for fd in gear.descriptors.values():
                os.close(fd)
            if not ward.pid:
                self.ended(who)

    def started(self, who: Who, pid: int) -> None:
        """A replica runs."""
        ward = self._wards.get(who)
        if ward is not None:
            ward.pid = pid
            if ward.socket is not None:
                self._reactor.watch(ward.socket.fileno(), partial(self._notified, ward))

    def watch(self, who: Who) -> None:
        """Find out when a replica becomes ready."""
        ward = self._wards.get(who)
        if ward is not None and ward.way is not None:
            ward.is_watched = True
            ward.way.start()

    def forget(self, who: Who) -> None:
        """Stop finding out."""
        ward = self._wards.get(who)
        if ward is not None:
            self._unwatch(ward)

    def last_words(self, who: Who) -> None:
        """Look once more at what a replica said: its leader was reaped, which nobody was told yet."""
        ward = self._wards.get(who)
        if ward is None:
            return
        if ward.socket is not None:
            self._notified(ward, last=True)
        if ward.is_watched and ward.way is not None:
            ward.way.look()

    def ended(self, who: Who) -> None:
        """A replica has ended, or could not be launched: let go of everything."""
        ward = self._wards.pop(who, None)
        if ward is None:
            return
        self._unwatch(ward)
        if ward.socket is not None:
            self._reactor.forget(ward.socket.fileno())
            ward.socket.close()

    def close(self) -> None:
        """Let go of everything of all replicas."""
        for who in list(self._wards):
            self.ended(who)

    def children_stopped(self) -> None:
        """A child may have stopped itself (SIGCHLD)."""
        for ward in list(self._wards.values()):
            if ward.is_watched and isinstance(ward.way, _Stopped):
                ward.way.look()

    def why_not(self, who: Who) -> str:
        """Return why a replica that is being watched is not ready, for people."""
        ward = self._wards.get(who)
        if ward is None or ward.plan.ready is None or ward.way is None:
            return "was not ready in time"
        return diagnose.not_ready(ward.plan.ready, ward.plan.output, ward.way.why_not())

    # -- inside ------------------------------------------------------------------------------------------------------

    def _equip(self, ward: _Ward, gear: Gear) -> None:
        plan, ready = ward.plan, ward.plan.ready
        if plan.watchdog is not None or (ready is not None and ready.kind == "notify"):
            ours, theirs = os.geteuid(), plan.attributes.user
            others = theirs is not None and theirs != ours
            users = frozenset({ours, theirs if theirs is not None else ours})
            ward.socket = NotifySocket(self._folder, str(ward.who), users=users, abstract=others)
            gear.environment["NOTIFY_SOCKET"] = ward.socket.address
        if plan.watchdog is not None:
            gear.environment["WATCHDOG_USEC"] = str(round(plan.watchdog * 1_000_000))
        if ready is not None:
            ward.way = self._way(ward, ready, gear)

    def _way(self, ward: _Ward, ready: Ready, gear: Gear) -> Way:
        yes = partial(self._ready, ward)
        match ready.kind:
            case "notify":
                return _Notify(ward)
            case "fd":
                return _Descriptor(self._reactor, ward.who, ready.fd, gear, yes, partial(self._never, ward))
            case "log":
                return _Line(self._outputs, ward.who, ready.pattern, gear, yes, partial(self._never, ward))
            case "exec":
                return _Probe(self._reactor, self._errands, ward, ready, yes)
            case "exists":
                return _Object(self._reactor, ward.who, self._things, ready.object, yes)
            case "stopped":
                return _Stopped(ward, yes)
            case _:
                path = self._path(ward.who) if ready.kind == "unix" else ""
                return _Connection(self._reactor, ward.who, yes, port=ready.port, path=path)

    def _unwatch(self, ward: _Ward) -> None:
        ward.is_watched = False
        if ward.way is not None:
            ward.way.stop()

    def _ready(self, ward: _Ward) -> None:
        if ward.is_watched:
            self._unwatch(ward)
            self._tell(on.BecameReady(ward.who))

    def _never(self, ward: _Ward, reason: str) -> None:
        if ward.is_watched:
            self._unwatch(ward)
            self._tell(on.NotReady(ward.who, reason))

    def _notified(self, ward: _Ward, *, last: bool = False) -> None:
        petted, at_most = False, notify.ALL if last else notify.SOME
        for said in ward.socket.receive(at_most) if ward.socket is not None else ():
            petted = petted or said.get("WATCHDOG") == "1"
            status = said.get("STATUS", ward.status)
            if status != ward.status:
                ward.status = status
                self._say("process.status", ward.who, {"status": status[:_STATUS_MAX]})
            if said.get("READY") == "1" and isinstance(ward.way, _Notify):
                self._ready(ward)
        if petted and ward.plan.watchdog is not None:
            self._tell(on.Petted(ward.who))


@dataclass(slots=True)
class _Notify:
    """READY=1 on the socket, which the ward reads anyway: for the watchdog too."""

    ward: _Ward

    def start(self) -> None:
        """Nothing: the socket is watched as long as the process lives."""

    def look(self) -> None:
        """Nothing: the ward has looked."""

    def stop(self) -> None:
        """Nothing."""

    def why_not(self) -> str:
        """See Way."""
        refused = self.ward.socket.refused if self.ward.socket is not None else None
        return "" if refused is None else f"what uid {refused} sent does not count"


class _Descriptor:
    """A newline on a pipe."""

    def __init__(
        self, reactor: Reactor, who: Who, number: int, gear: Gear, yes: Callable[[], None], no: Callable[[str], None]
    ) -> None:
        self._reactor, self._who, self._number, self._yes, self._no = reactor, who, number, yes, no
        self._fd, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)
        gear.descriptors[number] = write
        gear.environment["ORCHESTRA_READY_FD"] = str(number)
        self._is_watched = False

    def start(self) -> None:
        """See Way."""
        self._is_watched = True
        self._reactor.watch(self._fd, self.look)

    def look(self) -> None:
        """See Way."""
        try:
            chunk = os.read(self._fd, _LINE_MAX) if self._fd >= 0 else None
        except BlockingIOError:
            return
        if chunk is None:
            return
        if b"\n" in chunk:
            self._yes()
        elif not chunk and self._is_watched:  # perhaps because it is ending: that would be the better reason
            self._is_watched = False
            self._reactor.forget(self._fd)
            words = f"closed descriptor {self._number} and wrote no newline to it"
            self._reactor.after(("ready fd", self._who), _EXIT_GAP, partial(self._no, words))

    def stop(self) -> None:
        """See Way."""
        self._reactor.cancel(("ready fd", self._who))
        if self._fd >= 0:
            self._reactor.forget(self._fd)
            os.close(self._fd)
            self._fd = -1

    def why_not(self) -> str:
        """See Way."""
        return ""


class _Line:
    """A line of its output in which a pattern is found."""

    def __init__(
        self, outputs: Outputs, who: Who, pattern: str, gear: Gear, yes: Callable[[], None], no: Callable[[str], None]
    ) -> None:
        self._outputs, self._who, self._yes, self._no = outputs, who, yes, no
        self._pattern = Pattern(pattern)
        self._rest: dict[str, bytes] = {}
        self._is_over = False
        gear.tap = self._written

    def start(self) -> None:
        """Nothing: the lines are looked at as they come."""

    def look(self) -> None:
        """See Way."""
        self._outputs.drain(self._who)
        self._try([rest for rest in self._rest.values() if rest])  # a last line without a newline is a line

    def stop(self) -> None:
        """See Way."""
        self._is_over = True
        self._outputs.untap(self._who)

    def why_not(self) -> str:
        """See Way."""
        return "" if self._rest else "it has written nothing yet"

    def _written(self, stream: str, chunk: bytes) -> None:
        *lines, rest = (self._rest.get(stream, b"") + chunk).split(b"\n")
        self._rest[stream] = rest[-_LINE_MAX:]
        self._try(lines)

    def _try(self, lines: Iterable[bytes]) -> None:
        if self._is_over:
            return
        try:
            found = self._pattern.is_in(line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines)
        except TookTooLong:
            self._no("wrote a line in which to look for its `ready: log` takes too long: such a pattern is no good")
            return
        if found:
            self._yes()


class _Probe:
    """A command that exits with 0."""

    def __init__(self, reactor: Reactor, errands: Errands, ward: _Ward, ready: Ready, yes: Callable[[], None]) -> None:
        self._errands, self._ward, self._ready, self._yes = errands, ward, ready, yes
        self._schedule = Schedule(reactor, ("probe", ward.who), self._probe, by_hand=True)
        self._errand: Errand | None = None
        self._is_on = False
        self._last = ""

    def start(self) -> None:
        """See Way."""
        self._is_on = True
        self._schedule.start()

    def look(self) -> None:
        """Nothing: what a probe says of a process that has ended comes too late."""

    def _probe(self) -> None:
        if self._is_on and self._errand is None:
            order = Order(
                "probe", self._ward.who, self._ward.pid, self._ready.command, min(PROBE_LIMIT, self._ready.timeout),
                quiet=True,
            )  # fmt: skip
            self._errand = self._errands.run(order, self._done)

    def stop(self) -> None:
        """See Way."""
        self._is_on = False
        self._schedule.stop()
        if self._errand is not None:
            self._errands.cancel(self._errand)

    def why_not(self) -> str:
        """See Way."""
        if self._last:
            return f"the last probe {self._last}"
        return "the first probe has not ended yet" if self._errand is not None else ""

    def _done(self, failed: str) -> None:
        self._errand = None
        self._last = failed
        if failed:
            self._schedule.again()
        else:
            self._yes()


class _Connection:
    """Somebody accepts connections."""

    def __init__(self, reactor: Reactor, who: Who, yes: Callable[[], None], *, port: int, path: str) -> None:
        self._knock = Knock(reactor, yes, port=port, path=path)
        self._schedule = Schedule(reactor, ("knock", who), self._knock.again)

    def start(self) -> None:
        """See Way."""
        self._schedule.start()

    def look(self) -> None:
        """Nothing: a process that has ended accepts no connections."""

    def stop(self) -> None:
        """See Way."""
        self._schedule.stop()
        self._knock.stop()

    def why_not(self) -> str:
        """See Way."""
        return self._knock.why


class _Object:
    """An object exists."""

    def __init__(self, reactor: Reactor, who: Who, things: Things, key: str, yes: Callable[[], None]) -> None:
        self._things, self._key, self._yes = things, key, yes
        self._alarms = Alarms(reactor, self.look)
        self._schedule = Schedule(reactor, ("exists", who), self.look)

    def start(self) -> None:
        """See Way."""
        if not self._alarms.add(self._things()[self._key], "exists"):
            self._schedule.start()
        self.look()

    def look(self) -> None:
        """See Way."""
        if look_at(self._things()[self._key]) is not None:
            self._yes()

    def stop(self) -> None:
        """See Way."""
        self._alarms.close()
        self._schedule.stop()

    def why_not(self) -> str:
        """See Way."""
        return ""


@dataclass(slots=True)
class _Stopped:
    """It has stopped itself; it is continued once that was seen."""

    ward: _Ward
    yes: Callable[[], None]

    def start(self) -> None:
        """See Way: it may have stopped before anybody asked."""
        self.look()

    def look(self) -> None:
        """See Way."""
        try:
            found = os.waitid(os.P_PID, self.ward.pid, os.WSTOPPED | os.WNOHANG)
        except ChildProcessError:
            return
        if found is not None and found.si_status == signal.SIGSTOP:
            self.yes()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.ward.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Nothing: who is stopped for good is continued along with the stop signal."""

    def why_not(self) -> str:
        """See Way."""
        return ""
