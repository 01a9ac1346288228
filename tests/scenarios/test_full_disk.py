"""A disk that fills up: before a run begins that is a clean error, later it costs records and never the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runs import PATIENCE

PRELUDE = f"""
import os, sys
sys.path.insert(0, {os.getcwd()!r})
from pathlib import Path
from tests.support.runs import process, running, until
small = Path(sys.argv[1])
def fill():
    fd = os.open(small / "fill", os.O_WRONLY | os.O_CREAT)
    for size in (65536, 4096, 1):
        try:
            while True: os.write(fd, bytes(size))
        except OSError:
            pass
    os.close(fd)  # an open file keeps its space after unlink
"""

FREED = """
os.mkfifo(small.parent / "gate")
gate = "read x < ../gate; "
with running(small / "home", process("a", "echo ready; " + gate + "echo one"),
             process("b", gate + "echo two", after={"a": "completed"}), folder=str(small)) as run:
    run.up().wait_line("a", "ready")
    fill()
    (small.parent / "gate").write_text("\\n")
    until(lambda: run.ps()["b"]["state"] == "running", what="b, though nothing can be written")
    (small / "fill").unlink()
    (small.parent / "gate").write_text("\\n")
    ended = run.ended()
    assert ended["exit_code"] == 0, ended
    path = run.path()
    assert "ledger.unwritable" in path, path
    assert path[-1] == "run.ended", path
    assert run.lines("a") + run.lines("b") == ["ready", "one", "two"]
    assert run.row().state == "down", (run.row(), run.log())
    assert {row.state for row in run.rows().values()} == {"exited"}, (run.rows(), run.log())
print("fine")
"""

NEVER_FREED = """
os.mkfifo(small.parent / "gate")
with running(small / "home", process("a", "echo ready; read x < ../gate; seq 20000; exit 3"), folder=str(small)) as run:
    run.up().wait_line("a", "ready")
    fill()
    (small.parent / "gate").write_text("\\n")
    ended = run.ended()
    assert ended["failed"] == [{"process": "a", "replica": 1, "reason": "exited with code 3"}], ended
    assert ended["lines_lost"] > 19000, ended  # but for a page or two that were the log's already
    assert run.errors() == ""
print("fine")
"""

FULL_FROM_THE_START = """
fill()
with running(small / "home", process("a", "echo never"), folder=str(small)) as run:
    error = run.error()
    assert error["error"]["class"] in ("StateError", "LedgerError"), error
    assert "full" in str(error), error
print("fine")
"""


@pytest.mark.root
@pytest.mark.parametrize(
    "body", [FREED, NEVER_FREED, FULL_FROM_THE_START], ids=["freed again", "never freed", "full from the start"]
)
def test_a_full_disk(tmp_path: Path, body: str) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    private = ["unshare", "-m", "--propagation", "private", "sh", "-c", mount, "sh"]
    command = [*private, str(small), sys.executable, PRELUDE + body]
    found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 2)
    if "Operation not permitted" in found.stderr or "permission denied" in found.stderr.lower():
        pytest.skip(f"no private mount namespace here: {found.stderr.strip()[-100:]}")
    assert found.stdout.strip() == "fine", found.stderr
