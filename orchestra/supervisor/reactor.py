"""One epoll, one heap of timers, and signals as bytes on a pipe: everything the supervisor can wait for.

Nothing here polls. With no timer set the wait is endless, so an idle supervisor is never woken.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import signal
import time
from collections.abc import Callable, Hashable, Iterable
from itertools import count
from types import FrameType

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
Callback = Callable[[], None]
_LONGEST = 86400.0  # seconds of one wait: epoll_wait takes 32 bits of milliseconds, a grace may be longer

_SLACK = 64  # timers that were replaced or cancelled and may stay in the heap


def _nothing() -> None:
    """Do nothing."""


class Reactor:
    """Calls back when a descriptor is ready, a timer has run out, or a signal has come."""

    def __init__(self) -> None:
        self._epoll = select.epoll()  # close-on-exec, as all descriptors Python makes
        self._callbacks: dict[int, Callback] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._timers: dict[Hashable, tuple[int, Callback]] = {}  # name -> serial of the entry that counts
        self._serial = count()

    def watch(self, fd: int, callback: Callback, events: int = READ) -> None:
        """Call back whenever `fd` is ready (level triggered; hang-up and error count as ready)."""
        self._callbacks[fd] = callback
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on a watched descriptor; 0 mutes it (but for hang-up and error)."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching; call it before the descriptor is closed. Unknown ones are ignored."""
        if self._callbacks.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def after(self, name: Hashable, seconds: float, callback: Callback) -> None:
        """Call back once in `seconds`; replaces the timer of that name."""
        serial = next(self._serial)
        self._timers[name] = (serial, callback)
        heapq.heappush(self._heap, (time.monotonic() + seconds, serial, name))
        if len(self._heap) > _SLACK + 2 * len(self._timers):  # a timer set anew a thousand times is still one timer
            self._heap = [entry for entry in self._heap if self._is_current(entry)]
            heapq.heapify(self._heap)

    def cancel(self, name: Hashable) -> None:
        """Forget a timer, if it runs."""
        self._timers.pop(name, None)

    def signals(self, numbers: Iterable[int], callback: Callable[[bytes], None]) -> None:
        """Call back with the numbers of the signals that arrived, in order, one byte each time one came.

        Takes over the process's wake-up descriptor and unblocks every signal.
        """
        receive, send = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in numbers:
            signal.signal(number, _noted)
        signal.set_wakeup_fd(send, warn_on_full_buffer=False)

        def arrived() -> None:
            with contextlib.suppress(BlockingIOError):
                callback(os.read(receive, 4096))

        self.watch(receive, arrived)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # those that came before now arrive

    def turn(self, *, wait: bool = True, awake: Callback = _nothing) -> None:
        """Wait for the next thing to happen (or, with `wait` False, only look) and call back for all that did.

        `awake` is called first, when the waiting is over.
        """
        ready = self._epoll.poll(self._pause() if wait else 0)
        awake()
        for fd, _ in ready:
            callback = self._callbacks.get(fd)  # an earlier callback may have forgotten this one
            if callback is not None:
                callback()
        self._fire()

    def _pause(self) -> float:
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        if not self._heap:
            return -1
        left = self._heap[0][0] - time.monotonic()
        # epoll_wait counts whole milliseconds: round up, or the last one is spent spinning
        return min(left + 0.001, _LONGEST) if left > 0 else 0.0

    def _fire(self) -> None:
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._is_current(entry):
                self._timers.pop(entry[2])[1]()

    def _is_current(self, entry: tuple[float, int, Hashable]) -> bool:
        timer = self._timers.get(entry[2])
        return timer is not None and timer[0] == entry[1]


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: a handler must exist for the wake-up descriptor to be written."""
