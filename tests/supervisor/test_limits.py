"""Our own limit on open files: raised only when needed, and never beyond the hard one."""

from __future__ import annotations

import resource

import pytest

from orchestra.runplan import ProcessPlan, Ready, WaitFor
from orchestra.supervisor import limits
from orchestra.supervisor.limits import descriptors_of


@pytest.mark.parametrize(
    ("now", "pipes", "objects", "expected"),
    [
        ((1024, 4096), 200, 10, None),
        ((1024, 4096), 1000, 0, (1096, 4096)),
        ((1024, 4096), 900, 100, (1196, 4096)),
        ((1024, 2000), 5000, 0, (2000, 2000)),
        ((1024, 1024), 5000, 0, None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 5000, 0, None),
        ((1024, resource.RLIM_INFINITY), 5000, 0, (5096, resource.RLIM_INFINITY)),
    ],
)
def test_raise_open_files(
    monkeypatch: pytest.MonkeyPatch,
    now: tuple[int, int],
    pipes: int,
    objects: int,
    expected: tuple[int, int] | None,
) -> None:
    done: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _what: now)
    monkeypatch.setattr(resource, "setrlimit", lambda _what, both: done.append(both))
    assert limits.raise_open_files(pipes, objects) == (None if expected is None else now)
    assert done == ([] if expected is None else [expected])


def test_a_process_that_is_watched_takes_more_descriptors() -> None:
    plain = ProcessPlan("a", replicas=3)
    assert descriptors_of(plain) == 6
    assert descriptors_of(plain, raw=True) == 12
    assert descriptors_of(plain._replace(ready=Ready("fd"), watchdog=1.0)) == 18
    assert descriptors_of(plain._replace(wait_for=(WaitFor("x", "exists"),))) == 7
