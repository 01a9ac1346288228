"""Which IPC objects a test left behind, and how sure that is.

What our own process or one of its children made or used is sure. Of other new objects of our user nobody can tell who
made them: they count while this is the only pytest worker. Beside other workers (pytest-xdist) each notes them as
suspects of its test; when all workers have ended, what is still there was left by one of the tests that noted it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from orchestra.errors import KernelError
from orchestra.kernel import inventory
from orchestra.kernel.census import Census
from orchestra.kernel.holders import holders_of
from orchestra.kernel.inventory import Inventory
from orchestra.kernel.procfs import SysvSegment, command_of, descendants
from orchestra.objects.newcomers import Clues, Newcomer, Origin, is_ignored, key_of, newcomers
from orchestra.objects.words import holders_in_words

_HELP = "help: remove it at the end of the test, or let it stay with --ipc-leaks-ignore PATTERN"


class Suspect(NamedTuple):
    """One object that a test may have left. Plain values: it travels between workers.

    `key` tells it from every other. `test` is "" where a test knows better: it is its own, or may stay.
    """

    key: str
    reference: str
    test: str


class Watch:
    """One test under watch, from its construction to `finish`."""

    def __init__(self, test: str, ignore: Sequence[str], *, shared: bool = False) -> None:
        self._test, self._ignore, self._shared = test, list(ignore), shared
        self._before = inventory.take()
        self.suspects: list[Suspect] = []

    def ignore(self, pattern: str) -> None:
        """Let objects stay whose name or address fits a pattern: `/cache*`, `sysv-queue:*`."""
        self._ignore.append(pattern)

    def finish(self) -> str:
        """Look again; return in words what the test left, "" for nothing. What cannot be told is in `suspects`."""
        after = inventory.take()
        seen = [each for each in newcomers(self._before, after, _clues(after)) if each.origin is not Origin.ELSEWHERE]
        new = [each for each in seen if not is_ignored(each.seen, self._ignore)]
        if self._shared:
            unsure = [each for each in new if each.origin is Origin.LIKELY]
            self.suspects = [Suspect(_key(each), str(each.seen.ref), self._test) for each in unsure]
            self.suspects += [Suspect(_key(each), "", "") for each in seen if each not in unsure]
            new = [each for each in new if each.origin is Origin.OURS]
        if not new:
            return ""
        count = f"{len(new)} IPC object{'' if len(new) == 1 else 's'}"
        return "\n".join([f"this test left {count} behind:", *_lines(after, new), _HELP])


def still_there(suspects: Sequence[Suspect]) -> str:
    """Return in words which of the suspects still exist, and which tests may have left each; "" for none."""
    tests: dict[str, list[Suspect]] = {}
    for each in suspects:
        tests.setdefault(each.key, []).append(each)
    there = {str(key_of(seen)) for seen in inventory.take().objects}
    lines = []
    for key, group in tests.items():
        if key in there and all(each.test for each in group):
            names = list(dict.fromkeys(each.test for each in group))
            who = names[0] if len(names) == 1 else f"one of {', '.join(names)}, which ran at the same time"
            lines.append(f"{group[0].reference}: left by {who}")
    return "\n".join([*lines, _HELP]) if lines else ""


def _key(new: Newcomer) -> str:
    return str(key_of(new.seen))


def _clues(after: Inventory) -> Clues:
    own = os.getpid()
    ours = {pid: command_of(pid) for pid in (own, *descendants(own))}
    makers = {seen.raw.cpid for seen in after.objects if isinstance(seen.raw, SysvSegment)} - set(ours)
    census = Census()
    living = {pid: found for pid in makers if pid and (found := census.alive(pid)) is not None}
    return Clues(
        users={os.getuid(), os.geteuid()},
        ours=ours,
        living={pid: (found.command, found.started_at or 0.0) for pid, found in living.items()},
    )


def _lines(after: Inventory, new: Sequence[Newcomer]) -> list[str]:
    try:
        found = holders_of([each.seen.identity(after.place) for each in new])
    except KernelError:
        found = {}
    lines = []
    for number, each in enumerate(new):
        held = f"; {holders_in_words(found[number])}" if number in found and found[number].holders else ""
        lines.append(f"  {each.seen.ref}: {each.evidence}{held}")
    return lines
