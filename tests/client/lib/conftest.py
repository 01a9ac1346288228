"""Every test of the client gets objects of its own, and a process that believes to be in a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from orchestra.client import Run, attach
from tests.support.wired import Wired

Attach = Callable[[Mapping[str, str]], Run]


@pytest.fixture
def wired(tmp_path: Path, ipc_name: Callable[[], str]) -> Iterator[Wired]:
    with Wired(tmp_path, ipc_name) as made:
        yield made


@pytest.fixture
def attached(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attach]:
    """Return a maker: attach this very process as one that uses these objects."""
    with ExitStack() as stack:

        def make(uses: Mapping[str, str]) -> Run:
            fds: list[int] = []
            for name, value in wired.environment(uses, fds.append).items():
                monkeypatch.setenv(name, value)
            for fd in fds:
                stack.callback(_close, fd)
            return stack.enter_context(attach())

        yield make


def _close(fd: int) -> None:
    with suppress(OSError):  # the test may have closed it itself
        os.close(fd)
