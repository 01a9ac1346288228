"""What runs inside a private world (see worlds.in_world): `python -m tests.conformance.inner FUNCTION` prints JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from orchestra.errors import KernelError
from orchestra.kernel.limits import read_limits
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Access, Family, Fill, Kind, ObjectRef, Spec
from tests.conformance.worlds import in_child

SHM = "/dev/shm"
MIB = 1 << 20


def attempt(spec: Spec) -> dict[str, Any]:
    """Create; say how it ended, and what lies in /dev/shm afterwards."""
    adapter = adapter_for(spec.family, spec.kind)
    try:
        handle = adapter.create(spec)
    except KernelError as err:
        ended = {"class": type(err).__name__, "problem": err.problem, "hint": err.hint, "detail": err.detail}
    else:
        ended = {"class": "", "ref": str(handle.ref)}
    return {**ended, "left": sorted(os.listdir(SHM)) if os.path.isdir(SHM) else None}


def full() -> Any:
    """/dev/shm holds 64 KiB: too large, just right, then nothing fits any more."""
    segment = Spec(Family.POSIX, Kind.SEGMENT, name="/orct.large", size=MIB)
    rows = [attempt(segment)]
    rows.append(attempt(Spec(Family.POSIX, Kind.SEGMENT, name="/orct.filled", size=MIB, fill=Fill(text="x" * 99))))
    rows.append(attempt(Spec(Family.POSIX, Kind.SEGMENT, name="/orct.fits", size=60_000)))
    rows.append(attempt(Spec(Family.POSIX, Kind.SEMAPHORE, name="/orct.sem", values=(1,))))
    rows.append({"free": read_limits().shm_free})
    return rows


def missing() -> Any:
    """There is no /dev/shm."""
    answers: list[Any] = []
    for kind in (Kind.SEGMENT, Kind.SEMAPHORE):
        spec = Spec(Family.POSIX, kind, name="/orct.x", size=4096, values=(1,))
        adapter = adapter_for(Family.POSIX, kind)
        listing = adapter.list()
        answers.append(
            {
                **attempt(spec),
                "stat": adapter.stat(spec.ref),
                "removed": adapter.remove(spec.ref),
                "listed": len(listing.stats),
                "why": listing.why,
            }
        )
    answers.append({"mounted": read_limits().shm_mounted, "free": read_limits().shm_free})
    return answers


def limited() -> Any:
    """Every limit on a number of objects is 1: the second of each kind is refused."""
    rows = []
    for family, kind in [
        (Family.POSIX, Kind.QUEUE),
        *((Family.SYSV, kind) for kind in (Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE)),
    ]:
        for number in (1, 2):
            name = f"/orct.{number}" if family is Family.POSIX else None
            rows.append(attempt(Spec(family, kind, name=name, key=number, size=4096, values=(0,))))
    return rows


def mounted() -> Any:
    """The queue file system is mounted: an ordinary user sees a queue that it may not open."""
    adapter = adapter_for(Family.POSIX, Kind.QUEUE)
    handle = adapter.create(Spec(Family.POSIX, Kind.QUEUE, name="/orct.secret", mode=0o200))

    def look() -> Any:
        found, listing = adapter.stat(handle.ref), adapter.list()
        assert found is not None
        return {
            "same": handle.identity.is_same(found.identity),
            "mode": found.mode,
            "names": [seen.ref.name for seen in listing.stats],
            "complete": listing.complete,
            "queues_now": read_limits().queues_now,
        }

    return in_child(look, as_nobody=True)


def other_namespace() -> Any:
    """A queue file system of another IPC namespace is mounted, with the queue `/orct.theirs` in it; ours is empty."""
    adapter = adapter_for(Family.POSIX, Kind.QUEUE)

    def look() -> Any:
        listing = adapter.list()
        gone = adapter.stat(ObjectRef(Family.POSIX, Kind.QUEUE, name="/orct.theirs"))
        return {"names": [seen.ref.name for seen in listing.stats], "complete": listing.complete, "stat": gone}

    return {"root": look(), "nobody": in_child(look, as_nobody=True)}


def make_theirs() -> Any:
    """Make the queue that `other_namespace` must not see."""
    handle = adapter_for(Family.POSIX, Kind.QUEUE).create(Spec(Family.POSIX, Kind.QUEUE, name="/orct.theirs"))
    return str(handle.ref)


def no_kernel_lists() -> Any:
    """/proc/sysvipc cannot be read."""
    listings = [adapter_for(Family.SYSV, kind).list() for kind in (Kind.QUEUE, Kind.SEGMENT, Kind.SEMAPHORE)]
    return [{"complete": seen.complete, "why": seen.why, "count": len(seen.stats)} for seen in listings]


def gone_but_open() -> Any:
    """An unlinked queue that is still open: not in any list, and its name is free."""
    adapter = adapter_for(Family.POSIX, Kind.QUEUE)
    spec = Spec(Family.POSIX, Kind.QUEUE, name="/orct.open")
    first = adapter.create(spec)
    fd = adapter.open(first.ref, Access.READ)
    assert fd is not None
    adapter.remove(first.ref)
    second = adapter.create(spec)
    return {"same": first.identity.is_same(second.identity), "listed": len(adapter.list().stats)}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
