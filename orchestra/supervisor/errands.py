"""Commands that are run beside a replica, in its surroundings: stop commands, and probes that say when it is ready.

Each has a session of its own, as a replica has. It is over when its leader has ended; what it left running is killed,
and so is one that takes too long or is not needed any more.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from orchestra.bindings import Template
from orchestra.errors import LaunchFailed
from orchestra.supervisor.kin import Death, Kin
from orchestra.supervisor.output import Outputs
from orchestra.supervisor.reactor import Reactor
from orchestra.supervisor.states import End, Who

_SHOWN = 200  # characters of what a probe said last
_CHUNK = 1 << 16  # bytes of one read: what a pipe holds

Done = Callable[[str], None]


class Errand(NamedTuple):
    """The name of one command that was run: no two have the same serial number."""

    kind: str  # probe | stop
    who: Who
    serial: int


@dataclass(frozen=True, slots=True)
class Order:
    """What to run. `limit` is seconds, None for ever; `quiet` keeps what it writes out of the log."""

    kind: str
    who: Who
    pid: int  # leader of the replica, which the command is told as ORCHESTRA_PID
    command: Sequence[Template]
    limit: float | None = None
    quiet: bool = False


Start = Callable[[Order, int, int], int]  # (order, stdout, stderr) -> pid; raises LaunchFailed


@dataclass(slots=True)
class _Running:
    order: Order
    done: Done | None  # None: nobody wants to know any more
    pipe: int = -1  # what a quiet one writes comes here
    said: bytes = b""  # the end of it
    verdict: str | None = None  # known once its leader was reaped
    late: str = ""  # it took too long: these words


class Errands:
    """All errands of a run. Whoever orders one is told at its end how it failed, or ""."""

    def __init__(self, reactor: Reactor, kin: Kin, outputs: Outputs, start: Start) -> None:
        self._reactor, self._kin, self._outputs, self._start = reactor, kin, outputs, start
        self._serial = count(1)
        self._running: dict[Hashable, _Running] = {}

    def run(self, order: Order, done: Done) -> Errand | None:
        """Start a command; None when it cannot be, which `done` is told at once."""
        errand = Errand(order.kind, order.who, next(self._serial))
        running = _Running(order, done)
        try:
            pid = self._launch(errand, running)
        except (LaunchFailed, OSError) as err:
            self._hang_up(running)
            done(f"could not be started: {err.problem if isinstance(err, LaunchFailed) else err.strerror}")
            return None
        self._kin.add(errand, pid)
        self._running[errand] = running
        if order.limit is not None:
            self._reactor.after(errand, order.limit, lambda: self._expire(errand))
        return errand

    def _launch(self, errand: Errand, running: _Running) -> int:
        order = running.order
        if order.quiet:
            running.pipe, write = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(running.pipe, False)
            try:
                pid = self._start(order, write, write)
            finally:
                os.close(write)
            self._reactor.watch(running.pipe, lambda: self._listen(running))
            return pid
        with self._outputs.pipes(order.who, errand) as (stdout, stderr):
            pid = self._start(order, stdout, stderr)
            self._outputs.started(errand, pid)
            return pid

    def cancel(self, errand: Errand) -> None:
        """Kill a command whose result nobody wants to know any more."""
        running = self._running.get(errand)
        if running is not None:
            running.done = None
            self._kin.signal(errand, signal.SIGKILL)

    def cancel_all(self, who: Who) -> None:
        """Kill whatever runs beside a replica: it has ended."""
        for errand, running in list(self._running.items()):
            if running.order.who == who and isinstance(errand, Errand):
                self.cancel(errand)

    def exited(self, death: Death) -> bool:
        """Take the end of a leader; False when it was none of ours. `settle` follows."""
        running = self._running.get(death.who)
        if running is None:
            return False
        end = End(death.code, death.signal)
        running.verdict = running.late or ("" if end == End(0, None) else str(end))
        return True

    def settle(self) -> None:
        """Finish those whose leader has ended; what they left running is killed first."""
        over = {errand for errand, running in self._running.items() if running.verdict is not None}
        if not over:
            return
        lingering = self._kin.lingering(over)
        for errand in over:
            if errand in lingering:
                self._kin.signal(errand, signal.SIGKILL)
            else:
                self._finish(errand)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs."""
        return not self._running

    def _expire(self, errand: Errand) -> None:
        running = self._running.get(errand)
        if running is not None and running.verdict is None:
            self._kin.signal(errand, signal.SIGKILL)
            running.late = f"did not end within {running.order.limit:g} s"

    def _finish(self, errand: Hashable) -> None:
        running = self._running.pop(errand)
        self._kin.forget(errand)
        self._reactor.cancel(errand)
        verdict = running.verdict or ""
        if running.order.quiet:
            self._listen(running)
            self._hang_up(running)
            said = _last_line(running.said)
            verdict += f": {said}" if verdict and said else ""
        else:
            self._outputs.drain(errand)
        if running.done is not None:
            running.done(verdict)

    def _listen(self, running: _Running) -> None:
        """Keep the end of what waits on the pipe of a quiet one: however much it writes, it costs no memory."""
        try:
            chunk = os.read(running.pipe, _CHUNK) if running.pipe >= 0 else b""
        except BlockingIOError:
            return
        if chunk:
            running.said = (running.said + chunk)[-4 * _SHOWN :]
        else:
            self._hang_up(running)

    def _hang_up(self, running: _Running) -> None:
        if running.pipe >= 0:
            self._reactor.forget(running.pipe)
            os.close(running.pipe)
            running.pipe = -1


def _last_line(said: bytes) -> str:
    lines = said.replace(b"\0", b"").decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:_SHOWN] if lines else ""
