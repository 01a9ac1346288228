"""What is given as FILE is no file to read: a pipe that nobody writes to, a folder, nothing at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.cli import child_environment, orchestra

TRUE = 'version: 1\nname: demo\nprocesses: {a: {command: ["true"]}}\n'


def test_a_fifo_that_nobody_writes_to_is_refused_at_once(home: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f.yaml")
    answer = orchestra("up", "f.yaml", home=home, cwd=tmp_path, timeout=20)
    assert (answer.code, "nobody writes" in answer.err) == (2, True), answer


def test_an_included_fifo_is_refused_too(home: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f.yaml")
    (tmp_path / "orchestra.yaml").write_text("include: [f.yaml]\n" + TRUE)
    answer = orchestra("validate", home=home, cwd=tmp_path, timeout=20)
    assert (answer.code, "nobody writes" in answer.out) == (2, True), answer


def test_a_topology_may_come_through_a_pipe(home: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "orchestra", "validate", f"/dev/fd/{reader}"],
        pass_fds=[reader], env=child_environment(home), cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:  # `orchestra validate <(generate)`: it comes when it comes
            pipe.write(TRUE[:10])
            pipe.flush()
            pipe.write(TRUE[10:])
        _, err = child.communicate(timeout=30)
    assert (child.returncode, "is valid" in err) == (0, True), err


def test_an_empty_file_name_is_not_the_default(home: Path, tmp_path: Path) -> None:
    (tmp_path / "orchestra.yaml").write_text(TRUE)
    for command in (["up", ""], ["up", "-f", ""], ["validate", ""], ["plan", "-f", ""]):
        answer = orchestra(*command, home=home, cwd=tmp_path)
        assert (answer.code, "empty" in answer.err) == (2, True), (command, answer)
