"""When to look again at what the kernel cannot tell us of: soon at first, then ever more rarely."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from orchestra.supervisor.reactor import Reactor

FIRST, GROWTH, LONGEST = 0.02, 1.6, 1.0  # seconds, factor, seconds


class Schedule:
    """Calls `look` again and again until it is stopped: `FIRST` seconds from now, then at growing distances.

    With `by_hand` each next look waits for `again`, because a look takes time.
    """

    def __init__(self, reactor: Reactor, name: Hashable, look: Callable[[], None], *, by_hand: bool = False) -> None:
        self._reactor, self._name, self._look, self._by_hand = reactor, name, look, by_hand
        self._pause = FIRST
        self._is_on = False

    def start(self) -> None:
        """Begin, with short distances."""
        self._is_on, self._pause = True, FIRST
        self.again()

    def again(self) -> None:
        """Look again after the next pause, unless stopped."""
        if self._is_on:
            self._reactor.after(self._name, self._pause, self._fire)
            self._pause = min(self._pause * GROWTH, LONGEST)

    def stop(self) -> None:
        """Look no more."""
        self._is_on = False
        self._reactor.cancel(self._name)

    def _fire(self) -> None:
        if not self._by_hand:
            self.again()  # first, so that `look` can stop it
        self._look()
