"""The supervisor's own limit on open files: two pipes a child add up, and a child must not notice that we need more."""

from __future__ import annotations

import resource

from orchestra.runplan import ProcessPlan

_SPARE = 96  # descriptors besides the pipes of children: ledger, log, sockets, objects, a launch under way


def descriptors_of(process: ProcessPlan, *, raw: bool = False) -> int:
    """Return how many descriptors we hold for a process while all its replicas run and are watched.

    With `raw` what they write is kept in files of their own too.
    """
    each = (4 if raw else 2) + 3 * (process.ready is not None) + (process.watchdog is not None)
    return process.replicas * each + len(process.wait_for)


def raise_open_files(pipes: int, objects: int = 0) -> tuple[int, int] | None:
    """Raise the soft limit when `pipes` descriptors for processes would not fit; return the old limits, or None.

    None means that nothing changed; else each child is given the old limits back. When even the hard limit is too
    low, launches fail one by one and say so.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = pipes + 2 * objects + _SPARE
    if soft in (resource.RLIM_INFINITY, hard) or soft >= needed:
        return None
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft, hard
