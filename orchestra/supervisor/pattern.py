"""A regular expression that somebody else wrote, searched for in what somebody else wrote, for a bounded time.

Some patterns take longer than anybody lives: `(a+)+$` tries every way to cut a row of a's in two. The supervisor has
one thread, so a search that does not end would end everything else. The engine of `re` looks for signals on its way,
and a timer of this process's own processor time, not of the clock, sends one: a busy host makes nothing fail.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from types import FrameType

LIMIT = 0.25  # seconds of processor time that one look at a few lines may take


class TookTooLong(Exception):
    """The search was broken off."""


class Pattern:
    """A compiled pattern. Only for the main thread, which is where signals are handled."""

    def __init__(self, text: str) -> None:
        """Compile it. Raises re.error."""
        self._pattern = re.compile(text)
        self._is_searching = False

    def is_in(self, lines: Iterable[str]) -> bool:
        """Whether it is found in one of `lines`. Takes over SIGVTALRM. Raises TookTooLong."""
        signal.signal(signal.SIGVTALRM, self._break_off)
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
        try:
            self._is_searching = True
            return any(self._pattern.search(line) for line in lines)
        finally:
            self._is_searching = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _break_off(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_searching:  # it may come a moment late
            raise TookTooLong
