"""How a command gets its guardian, and what becomes of a guardian that gets nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys

from orchestra.supervisor import launch


def test_a_guardian_without_a_plan_leaves_without_a_trace() -> None:
    channel = launch.start_guardian()
    assert channel.peer is not None
    channel.close()
    _, status = os.waitpid(channel.peer, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def script(body: str) -> str:
    """Run Python in a process of its own, as the command line is one; return what it printed."""
    found = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_the_guardian_forked_early_is_the_one_that_is_used() -> None:
    assert script(
        "import os\n"
        "from orchestra.supervisor import launch\n"
        "launch.prefork()\n"
        "early = launch._prepared\n"
        "channel = launch.channel()\n"
        "print(channel is early, launch._prepared is None)\n"
        "channel.close()\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(channel.peer, 0)[1]))\n"
    ).split() == ["True", "True", "0"]


def test_without_an_early_fork_one_is_started() -> None:
    assert (
        script(
            "import os\n"
            "from orchestra.supervisor import launch\n"
            "channel = launch.channel()\n"
            "channel.close()\n"
            "print(os.waitstatus_to_exitcode(os.waitpid(channel.peer, 0)[1]))\n"
        )
        == "0"
    )


def test_a_fork_that_is_refused_is_tried_again_later() -> None:
    assert (
        script(
            "import os\n"
            "from orchestra.supervisor import launch\n"
            "real = os.fork\n"
            "def refuse(): raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
            "os.fork = refuse\n"
            "launch.prefork()\n"
            "os.fork = real\n"
            "channel = launch.channel()\n"
            "channel.close()\n"
            "print(os.waitstatus_to_exitcode(os.waitpid(channel.peer, 0)[1]))\n"
        )
        == "0"
    )


def test_what_the_watching_processes_import() -> None:
    """They live as long as the run: nothing that only the command line needs may come in."""
    loaded = script(
        "import sys\nimport orchestra.supervisor.guardian, orchestra.supervisor.__main__\nprint(*sys.modules)\n"
    ).split()
    heavy = {"pydantic", "yaml", "structlog", "typer", "asyncio", "logging", "subprocess", "rich"}
    assert not heavy & {name.partition(".")[0] for name in loaded}
    assert not [name for name in loaded if name.startswith(("orchestra.cli", "orchestra.topology", "orchestra.views"))]
