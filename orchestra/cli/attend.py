"""Attend a run: follow its log on the terminal, pass on what the person asks for, until the supervisor says it ended.

The log file is the source and the channel only says that it grew, so a slow terminal, a stopped one (Ctrl-S) or none
at all never holds up the run. Signals are passed on from their handlers, which run even while a write to a stopped
terminal blocks. Whatever ends the watching (Ctrl-C, SIGTERM, SIGHUP, a reader of stdout that left) asks for an
orderly stop first; a second Ctrl-C kills.
"""

from __future__ import annotations

import errno
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

from orchestra.cli.exits import ExitCode, closed_output, has_reader, tell
from orchestra.logs.follow import Follower

STUCK = 2.0  # seconds that a terminal may take nothing once the run was stopped and has ended
_LAST_WAIT = 5000  # ms from the last words to the end of the channel
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CODES = {
    "SIGINT": ExitCode.INTERRUPTED,
    "SIGTERM": ExitCode.TERMINATED,
    "SIGHUP": ExitCode.HANGUP,
    "SIGPIPE": ExitCode.CLOSED_OUTPUT,
}


class Link(Protocol):
    """The channel to the supervisor, as far as attending needs it."""

    def fileno(self) -> int:
        """Descriptor to wait on."""

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; OSError when nobody listens any more."""

    def receive(self) -> list[dict[str, Any]] | None:
        """Return what has arrived, ticks left out, without waiting; None at the end."""


@dataclass
class Outcome:
    """How the run went, as the supervisor told it. `ended` None: it never said so."""

    run: str | None = None
    log: str | None = None
    up: bool = False
    unready: list[dict[str, Any]] | None = None  # once everything is ready, or cannot be: what cannot
    ended: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    stopped_by: str | None = None  # what we passed on: "SIGINT", "SIGPIPE" …
    stuck: bool = False  # the terminal took nothing any more: what else there is to say would block as well


@dataclass
class Attendant:
    """One attended run. `show` writes stored log lines to the terminal; without it nothing is shown."""

    link: Link
    show: Callable[[bytes], None] | None
    until_up: bool = False  # -d: leave as soon as the run is up
    until_ready: bool = False  # --wait: leave as soon as everything is ready, or never can be
    on_stop: Callable[[str, bool], None] = lambda _signal, _again: None
    outcome: Outcome = field(default_factory=Outcome)
    _log: Follower | None = None
    _writing_since: float | None = None  # when the write to the terminal began that is going on
    _held: list[dict[str, Any]] | None = field(default_factory=list)  # what to send once `begin` has sent its own

    def attend(self, begin: Callable[[], object] = lambda: None) -> Outcome:
        """Wait for the end (or, with `until_up`, for the start). Signals are ours from before `begin` on."""
        try:
            with self._signals(), suppress(_Enough):
                begin()
                self._release()
                self._watch()
                while self._look():  # what the run wrote last
                    pass
        finally:
            if self._log is not None:
                self._log.close()
        return self.outcome

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self.link.fileno(), select.POLLIN)
        if self.show is not None and has_reader(sys.stdout):
            poll.register(sys.stdout.fileno(), 0)  # tells only when the reader has left
        more = False
        while not self._over():
            ready = poll.poll(0 if more else _LAST_WAIT if self._told() else None)
            if not ready and not more and self._told():
                return
            for fd, _ in ready:
                if fd != self.link.fileno():
                    poll.unregister(fd)
                    self._lost_output()
                elif not self._hear():
                    return
            more = self._look()

    def _told(self) -> bool:
        """Whether the supervisor has said its last words; the end of the channel says that its lock is free again."""
        return self.outcome.ended is not None or self.outcome.error is not None

    def _over(self) -> bool:
        if self.outcome.stopped_by is not None or self._told():
            return False
        if self.until_ready:
            return self.outcome.unready is not None
        return self.until_up and self.outcome.up

    def _hear(self) -> bool:
        """Take in messages; False when the channel has ended."""
        messages = self.link.receive()
        for message in messages or ():
            match message.get("event"):
                case "accepted":
                    self.outcome.run, self.outcome.log = message["run"], message["log"]
                case "up":
                    self.outcome.up = True
                case "ready":
                    self.outcome.unready = message["failed"]
                case "ended":
                    self.outcome.ended = message
                case "error":
                    self.outcome.error = message
        return messages is not None

    def _look(self) -> bool:
        """Show a part of the log; True when there may be more at once."""
        if self.show is None or self.outcome.log is None:
            return False
        try:
            if self._log is None:
                self._log = Follower(self.outcome.log)
            lines = self._log.read()
            self._writing_since = time.monotonic()
            if lines:
                self.show(lines)
        except OSError as err:
            if isinstance(err, BrokenPipeError) or err.errno == errno.EIO:  # EIO: the terminal was closed
                self._lost_output()
            else:
                self.show = None
                tell(f"the log cannot be shown any more: {err.strerror}; the run goes on and {self.outcome.log} has it")
            return False
        finally:
            self._writing_since = None
        return bool(lines)

    def _lost_output(self) -> None:
        if self.show is not None:
            self.show = None
            closed_output()
            self._ask_to_stop("SIGPIPE")

    def _ask_to_stop(self, name: str) -> None:
        again = self.outcome.stopped_by is not None
        if again and name != "SIGINT":
            return
        self.outcome.stopped_by = self.outcome.stopped_by or name
        self._send({"op": "kill"} if again else {"op": "stop", "signal": name})
        self.on_stop(name, again)

    def _send(self, message: dict[str, Any]) -> None:
        if self._held is not None:
            self._held.append(message)
            return
        with suppress(OSError):
            self.link.send(message)

    def _release(self) -> None:
        held, self._held = self._held, None
        for message in held or ():
            self._send(message)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if self.outcome.ended is not None and number == signal.SIGINT:
            self.outcome.stuck = self._is_stuck()
            raise _Enough  # all that is left is to print: enough of that
        signal.setitimer(signal.ITIMER_REAL, STUCK, STUCK)
        self._ask_to_stop(signal.Signals(number).name)

    def _alarmed(self, _number: int, _frame: FrameType | None) -> None:
        """Somebody wants an end, and a write that blocks keeps us from hearing that the run has come to its own."""
        if not self._is_stuck():
            return
        self._hear()
        if self._told():
            self.outcome.stuck = True
            raise _Enough

    def _is_stuck(self) -> bool:
        return self._writing_since is not None and time.monotonic() - self._writing_since >= STUCK

    @contextmanager
    def _signals(self) -> Iterator[None]:
        # After nohup a SIGHUP is for others. An ignored SIGINT is not spared: shells do that to whatever runs in the
        # background of a script, and it still means the run.
        numbers = [n for n in _SIGNALS if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._heard) for number in numbers}
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._alarmed)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)


class _Enough(Exception):
    """What is left of the log need not be shown: Ctrl-C after the run has ended, or a terminal that is stuck."""


def exit_status(outcome: Outcome) -> int:
    """Return what `up` ends with: the signal that ended the run, else the run's own exit code."""
    if outcome.stopped_by == "SIGPIPE":
        return ExitCode.CLOSED_OUTPUT
    if outcome.ended is not None:
        return _CODES.get(outcome.ended["stopped_by"] or "", int(outcome.ended["exit_code"]))
    return ExitCode.OK if outcome.up and not outcome.unready else ExitCode.FAILED


def say_stopping(name: str, again: bool) -> None:
    """Tell the person that their Ctrl-C arrived."""
    if again:
        tell("killing everything")
    elif name == "SIGINT":
        tell("stopping in order; Ctrl-C again kills")
