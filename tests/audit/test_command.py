"""A command runs as if nobody stood between, and its processes are known."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = """
import json, signal, sys
from orchestra.audit import command
try:
    ended = command.run(sys.argv[2:], settling=float(sys.argv[1]))
except command.NotStarted as err:
    print(json.dumps({"code": err.code, "why": err.why}), file=sys.stderr)
    sys.exit()
left = [member.command for member in ended.survivors]
seen = sorted({member.command for member in ended.tree.values()})
print(json.dumps({"code": ended.code, "left": left, "seen": seen}), file=sys.stderr)
for member in ended.survivors:
    import os
    os.kill(member.pid, signal.SIGKILL)
"""


@contextmanager
def running(*command: str, settling: float = 0.0, **more: object) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", RUN, str(settling), *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **more,  # type: ignore[call-overload]
    )  # fmt: skip
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def ended(*command: str, settling: float = 0.0, given: str = "") -> tuple[dict[str, object], str]:
    import json

    with running(*command, settling=settling) as child:
        out, err = child.communicate(given, timeout=30)
    return json.loads(err.splitlines()[-1]), out


def test_streams_exit_code_and_names() -> None:
    answer, out = ended("sh", "-c", "cat; exit 7", given="as it came\n")
    assert out == "as it came\n"
    assert answer["code"] == 7
    assert answer["left"] == []


LATE = """
import os, sys
from orchestra.audit import command
from orchestra.kernel import procfs
look = command._look
def slow(tree):
    look(tree)
    for pid in procfs.children(os.getpid()):
        while not procfs.process_stat(pid).has_ended:
            pass
command._look = slow
print(command.run(sys.argv[1:]).code)
"""


@pytest.mark.parametrize("name", ["INT", "TERM"])
def test_a_signal_that_comes_as_the_command_ends_was_the_commands(name: str) -> None:
    """Ctrl-C reaches both; a command that ends of it at once may be gone before we have looked at the signal."""
    command = ["sh", "-c", f"kill -{name} $PPID; exit 5"]
    done = subprocess.run(
        [sys.executable, "-c", LATE, *command], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.returncode) == ("5\n", 0), done


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["sh", "-c", "kill -TERM $$"], 143),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["/no/such/program"], 127),
        (["no-such-program-anywhere"], 127),
        (["/etc/hostname"], 126),
        (["/etc"], 126),
        ([""], 127),
    ],
)
def test_codes(command: list[str], code: int) -> None:
    assert ended(*command)[0]["code"] == code


def test_who_outlives_it_is_told_and_not_ended() -> None:
    sleeper = "sleep 1000 </dev/null >/dev/null 2>&1 &"
    answer, _ = ended("sh", "-c", f"{sleeper} until grep -qx sleep /proc/$!/comm; do :; done")
    assert answer["left"] == ["sleep"]


def test_who_ends_by_itself_a_moment_later_is_no_survivor() -> None:
    answer, _ = ended("sh", "-c", "(read line) & exec 0<&-", settling=20.0)
    assert answer["left"] == []


def test_a_program_starts_with_default_signals_and_an_empty_mask() -> None:
    _, out = ended("grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status")
    ignored = {line.split()[0]: int(line.split()[1], 16) for line in out.splitlines()}
    here = {
        line.split()[0]: int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("SigIgn")
    }
    assert ignored["SigBlk:"] == 0
    assert not ignored["SigIgn:"] & 1 << (signal.SIGPIPE - 1)
    standard = (1 << 31) - 1  # posix_spawn of glibc sets its two internal ones, 32 and 33, to be ignored
    assert ignored["SigIgn:"] & standard & ~here["SigIgn:"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_that_reach_only_us_are_passed_on(number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    with running(
        "sh", "-c", f"trap 'echo got; exit 9' {name}; echo ready; while :; do read x || sleep 0.01; done"
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
    assert out == "got\n"
    assert '"code": 9' in err


def test_ctrl_c_of_a_terminal_comes_once() -> None:
    """The terminal sends it to the whole group: passing it on would double it."""
    main, side = os.openpty()
    program = (
        "import select, signal\nseen = []\nsignal.signal(2, lambda *_: seen.append(1))\nprint('ready', flush=True)\n"
    )
    program += "while not seen: select.select([], [], [], 0.02)\n"  # pause(2) may begin after the signal
    program += "select.select([], [], [], 0.2)\nprint(len(seen), flush=True)"
    child = subprocess.Popen(
        ["setsid", "-c", sys.executable, "-c", RUN, "0", sys.executable, "-c", program],
        stdin=side, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        os.close(side)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        os.write(main, b"\x03")
        assert select.select([child.stdout], [], [], 30)[0]
        out, err = child.communicate(timeout=30)
    finally:
        os.close(main)
        if child.poll() is None:
            child.kill()
            child.communicate()
    assert out == "1\n", err
