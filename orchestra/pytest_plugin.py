"""The pytest plugin: fail tests that leave IPC objects behind, and run topologies in tests.

It is loaded by every pytest on an interpreter that has orchestra, so it does nothing until it is asked: what the
fixtures do is in `orchestra.testing`, imported when one is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from orchestra.testing.leaks import Suspect, Watch
    from orchestra.testing.running import Runs

_SUSPECTS = pytest.StashKey[list["Suspect"]]()
_SENT = "orchestra_ipc_suspects"  # key of what a worker of pytest-xdist tells its controller


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--ipc-leaks`, `--ipc-leaks-ignore`, and the same in the configuration."""
    group = parser.getgroup("orchestra", "IPC objects (orchestra)")
    group.addoption(
        "--ipc-leaks", action="store_true", default=None, help="fail each test that leaves an IPC object behind"
    )
    group.addoption(
        "--ipc-leaks-ignore", action="append", default=[], metavar="PATTERN",
        help="what a test may leave, by name or address: '/cache*', 'sysv-queue:*' (repeatable)",
    )  # fmt: skip
    parser.addini("ipc_leaks", "fail each test that leaves an IPC object behind", type="bool", default=False)
    parser.addini("ipc_leaks_ignore", "what a test may leave, a pattern a line", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Watch every test when that was asked for; as the controller of workers, hear what they could not tell."""
    wanted = config.getoption("--ipc-leaks")
    if config.getini("ipc_leaks") if wanted is None else wanted:
        config.pluginmanager.register(_Everywhere(), "orchestra-ipc-leaks")
    config.stash[_SUSPECTS] = []


class _Everywhere:
    """Registered when every test is to be watched."""

    @pytest.fixture(autouse=True)
    def _ipc_leaks_everywhere(self, ipc_leaks: Watch) -> None:
        """Take part in each test, before its other fixtures."""


@pytest.fixture
def ipc_leaks(request: pytest.FixtureRequest) -> Iterator[Watch]:
    """Fail this test when it leaves a POSIX or System V object that was not there before.

    Name it before other fixtures: what those remove at their end is then no leak. `ipc_leaks.ignore("/cache*")` names
    what may stay.
    """
    from orchestra.testing.leaks import Watch

    config = request.config
    ignore = [*config.getini("ipc_leaks_ignore"), *config.getoption("--ipc-leaks-ignore")]
    watch = Watch(request.node.nodeid, ignore, shared=hasattr(config, "workerinput"))
    yield watch
    left = watch.finish()
    config.stash[_SUSPECTS].extend(watch.suspects)
    if left:
        pytest.fail(left, pytrace=False)


@pytest.fixture
def orchestra_up(tmp_path: Path) -> Iterator[Runs]:
    """Run topologies: `run = orchestra_up("lab.yaml")`. Each is stopped, and its objects are removed, at the end."""
    from orchestra.testing.running import Runs

    runs = Runs(tmp_path)
    yield runs
    runs.stop_all()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Pass on what a worker could not tell; in the controller, look at what is still there."""
    config = session.config
    suspects = config.stash.get(_SUSPECTS, [])
    if hasattr(config, "workeroutput"):
        config.workeroutput[_SENT] = [tuple(each) for each in suspects]
        return
    if suspects:
        from orchestra.testing.leaks import still_there

        text = still_there(suspects)
        if text:
            config.stash[_REMAINS] = text
            if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED


_REMAINS = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker of pytest-xdist has ended: take what it could not tell."""
    del error
    told = getattr(node, "workeroutput", {}).get(_SENT, ())
    if told:
        from orchestra.testing.leaks import Suspect

        node.config.stash[_SUSPECTS].extend(Suspect(*each) for each in told)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left behind and could not be told from whom while several workers ran."""
    text = terminalreporter.config.stash.get(_REMAINS, "")
    if text:
        terminalreporter.section("IPC objects left behind", red=True)
        terminalreporter.line(text)
