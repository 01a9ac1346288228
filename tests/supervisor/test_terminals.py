"""Terminals as outputs: what a program sees, and what comes out."""

from __future__ import annotations

import os
import sys
import termios
from pathlib import Path

from orchestra.supervisor.spawn import Launch, launch
from orchestra.supervisor.terminals import COLUMNS, ROWS, open_terminal

PROGRAM = """
import os, sys
print(sys.stdout.isatty(), sys.stderr.isatty(), *os.get_terminal_size(1), open("/proc/self/stat").read().split()[6])
print(os.ttyname(1) == os.ttyname(2), os.open("/dev/tty", os.O_RDWR) > 2, file=sys.stderr)
sys.stdout.write("x" * 20_000 + "\\n")
"""


def read_all(fd: int) -> bytes:
    found = b""
    while True:
        try:
            found += os.read(fd, 65536)
        except OSError:  # EIO: nobody has it open any more
            os.close(fd)
            return found


def test_a_program_finds_a_terminal_and_its_lines_come_out_as_written(tmp_path: Path) -> None:
    before = os.getcwd()
    null = os.open(os.devnull, os.O_RDWR)
    (ours, theirs), (second, errors) = open_terminal(), open_terminal()
    device = os.fstat(theirs).st_rdev
    try:
        pid = launch(Launch([sys.executable, "-c", PROGRAM], str(tmp_path), {}, null, theirs, errors, terminal=True))
    finally:
        os.chdir(before)
        for fd in (null, theirs, errors):
            os.close(fd)
    text, said = read_all(ours), read_all(second)
    assert os.waitpid(pid, 0)[1] == 0, said
    first, _, rest = text.partition(b"\n")
    assert first.decode().split() == ["True", "True", str(COLUMNS), str(ROWS), str(device)], "controlled by stdout's"
    assert rest == b"x" * 20_000 + b"\n", "nothing is lost when the leader of the session ends"
    assert said == b"False True\n", "each stream has its own"


def test_what_is_written_is_not_changed_and_what_is_typed_not_echoed() -> None:
    ours, theirs = open_terminal()
    try:
        _, output, _, local, *_ = termios.tcgetattr(theirs)
        assert not output & termios.OPOST
        assert not local & termios.ECHO
        assert not os.get_inheritable(ours)
        assert not os.get_inheritable(theirs)
    finally:
        os.close(ours)
        os.close(theirs)
