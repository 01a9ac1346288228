"""The log of real runs: rotation, raw copies, SIGHUP, writers that are killed, output that is not lines."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.logs.files import segments_of
from orchestra.runplan import LogPlan, ProcessPlan
from tests.support.runs import process, running, until

pytestmark = pytest.mark.slow

LINES = 4000
NUMBERED = f"""
import os, sys
lines = [b"%09d %s\\n" % (number, b"x" * (number % 90)) for number in range({LINES})]
for start in range(0, len(lines), 7):
    os.write(1, b"".join(lines[start:start + 7]))
    os.write(2, lines[start])
"""
KILLED = f"""
import os
for number in range({LINES}):
    os.write(1, b"%09d\\n" % number)
os.write(1, b"half a li")
os.kill(os.getpid(), 9)
"""
# 6 MiB without a newline, of every byte but that: NULs, escapes, what is not UTF-8.
WILD = """
import hashlib, os, random
random.seed(7)
block = bytes(byte for byte in random.randbytes(1 << 20) if byte != 10)
found = hashlib.sha256()
for number in range(6):
    piece = b"\\x00\\x1b[31m%d" % number + block
    found.update(piece)
    while piece:
        piece = piece[os.write(1, piece):]
os.write(2, found.hexdigest().encode() + b"\\n")
"""


def python(name: str, text: str, **changes: Any) -> ProcessPlan:
    return process(name, sys.executable, "-S", "-c", text, **changes)


def stream(log: list[dict[str, Any]], who: str, name: str, replica: int = 1) -> Iterator[dict[str, Any]]:
    for record in log:
        if (record.get("process"), record.get("replica"), record.get("stream")) == (who, replica, name):
            yield record


def content(records: Iterator[dict[str, Any]]) -> bytes:
    """What was written, rebuilt from the records."""
    parts = []
    for record in records:
        data = record.get("data", {})
        parts.append(base64.b64decode(data["base64"]) if "base64" in data else record["message"].encode())
        if not (data.get("continued") or data.get("unterminated")):
            parts.append(b"\n")
    return b"".join(parts)


def test_rotated_logs_and_raw_copies_are_whole(home: Path) -> None:
    kept = LogPlan(rotate_size=100_000, raw=True)
    with running(home, python("writer", NUMBERED, replicas=3), log=kept) as run:
        assert run.ended()["exit_code"] == 0
        names = [os.path.basename(path) for path in segments_of(run.folder / "log.jsonl")]
        assert names[:2] == ["log.jsonl.000001", "log.jsonl.000002"]
        assert max(os.stat(path).st_size for path in segments_of(run.folder / "log.jsonl")) <= 100_000
        log = run.log()
        for replica in (1, 2, 3):
            found = [record["message"] for record in stream(log, "writer", "stdout", replica)]
            assert [int(message.split(" ")[0]) for message in found] == list(range(LINES))
            for name in ("stdout", "stderr"):
                raw = (run.folder / "raw" / f"writer.{replica}.{name}").read_bytes()
                assert raw == content(stream(log, "writer", name, replica))
        assert run.path()[0] == "run.started"
        assert run.path()[-1] == "run.ended"


def test_the_oldest_files_go(home: Path) -> None:
    with running(home, python("writer", NUMBERED), log=LogPlan(rotate_size=100_000, keep=2)) as run:
        assert run.ended()["exit_code"] == 0
        assert len(segments_of(run.folder / "log.jsonl")) == 3
        log = run.log()
        dropped = [record["data"]["file"] for record in log if record.get("event") == "log.dropped"]
        assert dropped[-1] == f"log.jsonl.{int(segments_of(run.folder / 'log.jsonl')[0][-6:]) - 1:06d}"
        found = [int(record["message"].split(" ")[0]) for record in stream(log, "writer", "stdout")]
        assert found == list(range(found[0], LINES)), "no hole but the one at the beginning"


def test_what_the_kernel_took_from_a_writer_that_was_killed_is_there(home: Path) -> None:
    with running(home, python("writer", KILLED, replicas=3, success=("SIGKILL",))) as run:
        assert run.ended()["exit_code"] == 0
        log = run.log()
        for replica in (1, 2, 3):
            expected = b"".join([b"%09d\n" % number for number in range(LINES)]) + b"half a li"
            assert content(stream(log, "writer", "stdout", replica)) == expected


def test_sighup_lets_a_detached_run_go_on_in_a_new_file(home: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    script = f"echo before; read line < {tmp_path}/gate; echo after"
    with running(home, process("a", script), detach=True) as run:
        run.up().wait_line("a", "before")
        log = run.folder / "log.jsonl"
        os.rename(log, run.folder / "log.jsonl.1")
        os.kill(run.control().state()["pid"], signal.SIGHUP)
        until(log.exists, what="a new log")
        (tmp_path / "gate").write_text("\n")
        run.wait_line("a", "after")
        assert run.ended()["stopped_by"] is None
        older = [json.loads(line) for line in (run.folder / "log.jsonl.1").read_bytes().splitlines()]
        assert [record["message"] for record in older if record.get("process") == "a"][-1] == "before"
        assert run.path()[0] == "log.reopened"
        assert run.path()[-1] == "run.ended"
        # The whole path of events is judged at the end: put the two parts together again.
        log.write_bytes((run.folder / "log.jsonl.1").read_bytes() + log.read_bytes())


def test_output_that_is_not_lines_loses_no_byte_and_needs_no_memory(home: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    wild = f"{WILD}\nopen({str(tmp_path / 'gate')!r}).read()\n"
    with running(home, python("wild", wild)) as run:
        status = Path(f"/proc/{run.up().control().state()['pid']}/status")
        path = run.folder / "log.jsonl"
        until(lambda: b'"stream":"stderr"' in path.read_bytes()[-1_000_000:], what="the digest")
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        (tmp_path / "gate").write_text("\n")
        assert run.ended()["exit_code"] == 0
        log = run.log()
        told = content(stream(log, "wild", "stderr")).decode().strip()
        assert hashlib.sha256(content(stream(log, "wild", "stdout"))).hexdigest() == told
        assert int(peak.split()[1]) < 48 * 1024, "kB, of a supervisor that was given one line of 6 MiB"
