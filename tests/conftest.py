"""What every test gets: a home of its own, a suite that audits itself, stacks when something hangs."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.support import leaks

_WAIT = 3.0  # seconds that a tear-down under way at the end of the session may still take


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our own options."""
    parser.addoption(
        "--update-docs",
        action="store_true",
        help="rewrite the generated pages and transcripts from what the program says now; read the diff",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start the audit; with several pytest workers the one in charge does it for all."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SuiteAudit(), "orchestra-suite-audit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot be done here, and say why."""
    for item in items:
        if item.get_closest_marker("root") and os.getuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs uid 0"))
        elif item.get_closest_marker("other_user") and not _others_can_enter(Path(__file__)):
            item.add_marker(pytest.mark.skip(reason="another user could not enter the folder this checkout is in"))


def _others_can_enter(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)


class SuiteAudit:
    """Compares the host before and after the session; what the suite left behind is an error of the suite."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(6)
        self.stack = ExitStack()

    def pytest_sessionstart(self) -> None:
        """Mark everything that will be started from here, and look at the host."""
        os.environ[leaks.MARK] = self.mark
        self.alone = self.stack.enter_context(leaks.registered(self.mark))
        self.before = leaks.take()

    def pytest_report_header(self) -> str:
        """Say what will be watched."""
        blind = f" (cannot see {', '.join(self.before.blind)})" if self.before.blind else ""
        company = "" if self.alone() else "; another suite runs beside this one"
        return f"leak check: processes, queues, segments, semaphores, sockets{blind}{company}"

    @pytest.hookimpl(trylast=True)  # when pytest has ended its own workers
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look again; turn what is left into an error that the summary counts."""
        try:
            folder = _temporary_folder(session.config)
            verdict = leaks.Verdict()

            def clean() -> bool:
                nonlocal verdict
                after = leaks.take()
                ledgers = leaks.ledger_things(folder, after) if folder else frozenset()
                verdict = leaks.judge(self.before, after, mark=self.mark, in_ledgers=ledgers, ours=leaks.our_users())
                verdict.sure += leaks.marked_processes(self.mark)
                return not (verdict.sure or verdict.likely)

            leaks.settle(clean, seconds=_WAIT)
            alone = self.alone()
            for thing in verdict.sure:
                if thing.kind == "process":
                    leaks.end_process(thing.key[0])
            if verdict.fails(alone=alone):
                _fail(session, f"the suite left behind:\n{verdict}")
        finally:
            self.stack.close()
            os.environ.pop(leaks.MARK, None)


def _temporary_folder(config: pytest.Config) -> Path | None:
    factory = getattr(config, "_tmp_path_factory", None)
    if not isinstance(factory, pytest.TempPathFactory):
        return None
    return factory.getbasetemp()


def _fail(session: pytest.Session, text: str) -> None:
    report = pytest.TestReport(
        nodeid="leak check",
        location=("tests/conftest.py", 0, "leak check"),
        keywords={},
        outcome="failed",
        longrepr=text,
        when="teardown",
    )
    session.config.hook.pytest_runtest_logreport(report=report)
    session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def ipc_name() -> Callable[[], str]:
    """Return a maker of POSIX names that nobody else uses and that the leak check knows to be ours."""
    mark = os.environ.get(leaks.MARK, "alone")
    numbers = count(1)
    own = secrets.token_hex(4)
    return lambda: f"/orct.{mark}.{own}.{next(numbers)}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a state directory of its own: ledger, runs, locks and sockets."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ORCHESTRA_HOME", str(folder))
    return folder
