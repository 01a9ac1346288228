"""Line buffering through the environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestra.supervisor.buffering import LIBRARY, by_lines, find_library

C_PROGRAM = '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("a line\\nhalf"); _exit(0); }\n'


def test_what_is_declared_stays() -> None:
    assert by_lines({"PYTHONUNBUFFERED": "", "LD_PRELOAD": "/mine.so"}, "/l.so") == {
        "LD_PRELOAD": "/l.so:/mine.so",
        "_STDBUF_O": "L",
    }
    assert by_lines({}, None) == {"PYTHONUNBUFFERED": "1"}


@pytest.mark.skipif(shutil.which("stdbuf") is None, reason="no stdbuf here")
def test_the_library_is_found_where_stdbuf_is() -> None:
    path = find_library()
    assert path is not None
    assert os.path.basename(path) == LIBRARY
    shown = subprocess.run(["stdbuf", "-oL", "env"], capture_output=True, text=True, check=True).stdout
    assert f"LD_PRELOAD={path}" in shown, "the same as stdbuf itself uses"
    assert "_STDBUF_O=L" in shown


def test_a_program_in_c_writes_each_line_at_once(tmp_path: Path) -> None:
    if shutil.which("cc") is None or find_library() is None:
        pytest.skip("needs a C compiler and stdbuf's library")
    (tmp_path / "p.c").write_text(C_PROGRAM)
    subprocess.run(["cc", "-o", tmp_path / "p", tmp_path / "p.c"], check=True)
    environment = {"PATH": os.environ["PATH"]}
    plain = subprocess.run([tmp_path / "p"], env=environment, capture_output=True, check=True).stdout
    lines = by_lines(environment, find_library())
    buffered = subprocess.run([tmp_path / "p"], env={**environment, **lines}, capture_output=True, check=True).stdout
    assert (plain, buffered) == (b"", b"a line\n")
