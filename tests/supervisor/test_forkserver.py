"""The parent of functions by itself: as a program, spoken to over its socket."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestra.supervisor import forkserver

PROGRAM = forkserver.__file__
OTHERS = ["/usr/bin/python3", "/usr/local/bin/python3"]


@contextmanager
def parent(python: str, **order: Any) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """Start one and give it its order."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            number = str(theirs.fileno())
            argv = [python, PROGRAM, number, " " * 50]
            environment = {"PATH": os.environ["PATH"], "PYTHONSAFEPATH": "1"}
            process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], cwd="/", env=environment)
        ours.settimeout(30)
        ours.send(
            json.dumps({"names": [], "reserved": [], "title": "t", "label": "l", "late": False, **order}).encode()
        )
        try:
            yield ours, process
        finally:
            ours.close()
            process.wait(30)


@pytest.mark.slow
@pytest.mark.parametrize("python", [sys.executable, *OTHERS], ids=["own", "system", "local"])
def test_any_interpreter_serves_with_its_standard_library_alone(tmp_path: Path, python: str) -> None:
    if not os.path.exists(python):
        pytest.skip(f"no {python} here")
    (tmp_path / "become.py").write_text("MINE = 1\n")
    (tmp_path / "mod.py").write_text("import become, sys\nassert become.MINE\n"
                                     "assert not any(path.endswith('supervisor') for path in sys.path)\n")  # fmt: skip
    with parent(python, module="mod", folder=str(tmp_path)) as (line, process):
        answer = json.loads(line.recv(1 << 17))
        assert answer["ready"], answer
        assert set(answer["sources"]) == {str(tmp_path / "mod.py"), str(tmp_path / "become.py")}
        assert Path(f"/proc/{process.pid}/cmdline").read_bytes().strip(b"\0") == b"t"
        assert Path(f"/proc/{process.pid}/comm").read_text() == "l\n"
    assert process.returncode == 0, "it leaves with whoever it served"


@pytest.mark.slow
def test_dots_lead_to_a_method(tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text("class Worker:\n    @staticmethod\n    def run(): pass\n    limit = 3\n")
    with parent(sys.executable, module="mod", folder=str(tmp_path), names=["Worker.run"]) as (line, _):
        assert json.loads(line.recv(1 << 17))["ready"]
    with parent(sys.executable, module="mod", folder=str(tmp_path), names=["Worker.limit"]) as (line, _):
        answer = json.loads(line.recv(1 << 17))
        assert (answer["failed"], answer["problem"]) == ("function", "mod:Worker.limit is not a function")


@pytest.mark.parametrize("end", ["raise SystemExit(3)", "pass"])
def test_a_copy_that_the_module_makes_of_itself_does_not_answer(tmp_path: Path, end: str) -> None:
    text = f"import os\nchild = os.fork()\nif child == 0:\n    {end}\nelse:\n    os.waitpid(child, 0)\ndef f(): pass\n"
    (tmp_path / "mod.py").write_text(text)
    with parent(sys.executable, module="mod", folder=str(tmp_path), names=["f"]) as (line, _):
        assert json.loads(line.recv(1 << 17))["ready"]
        line.setblocking(False)
        with pytest.raises(BlockingIOError):
            line.recv(1 << 17)


def test_what_a_module_wrote_to_a_stream_that_it_replaced_is_written_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mod.py").write_text("import sys\nprint('once', end='')\nsys.stdout = None\ndef f(): pass\n")
    with parent(sys.executable, module="mod", folder=str(tmp_path), names=["f"]) as (line, _):
        assert json.loads(line.recv(1 << 17))["ready"]
        assert capfd.readouterr().out == "once", "and not in each child"


def test_a_function_whose_call_runs_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text("async def main(): pass\nclass K:\n    def each(self): yield\n")
    for name, kind in (("main", "an async function"), ("K.each", "a generator function")):
        with parent(sys.executable, module="mod", folder=str(tmp_path), names=[name]) as (line, _):
            answer = json.loads(line.recv(1 << 17))
            assert answer["problem"] == f"mod:{name} is {kind}: calling it runs nothing"
            assert ("asyncio.run()" in answer["hint"]) == (name == "main")


def test_threads_of_this_process_are_counted() -> None:
    assert forkserver.thread_count() >= 1


def test_a_function_is_found_by_its_name() -> None:
    assert forkserver.resolve("os", "path.join") is os.path.join
    with pytest.raises(AttributeError):
        forkserver.resolve("os", "path.nothing")
