from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra.logs.encode import event_record
from orchestra.logs.pipeline import command_logger


def removed(log: io.StringIO, **more: object) -> None:
    command_logger("down", stream=log).info("object.removed", object="jobs", family="posix", kind="queue", **more)


def test_people_read_the_message() -> None:
    stream = io.StringIO()
    removed(stream, run="r7")
    assert stream.getvalue() == "orchestra ▸ removed posix queue jobs\n"


def test_the_log_of_the_run_gets_the_same_record_as_from_the_supervisor(tmp_path: Path) -> None:
    (tmp_path / "r7").write_bytes(b'{"torn')
    log = command_logger("down", locate=lambda run: tmp_path / run, stream=io.StringIO()).bind(run="r7")
    log.info("object.removed", object="jobs", family="posix", kind="queue")
    torn, line, rest = (tmp_path / "r7").read_bytes().split(b"\n")
    record = json.loads(line)
    expected = event_record(
        "object.removed",
        timestamp=record["timestamp"],
        logger="orchestra.down",
        run="r7",
        object="jobs",
        family="posix",
        kind="queue",
    )
    assert (torn, line + b"\n", rest) == (b'{"torn', expected, b"")


def test_a_log_that_is_gone_stays_gone(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = command_logger("clean", locate=lambda run: tmp_path / run, stream=stream)
    log.info("object.removed", run="r7", object="jobs", family="posix", kind="queue")
    log.info("object.removed", object="jobs", family="posix", kind="queue")
    assert not list(tmp_path.iterdir())
    assert stream.getvalue().count("removed") == 2


def test_the_catalogue_sets_the_level() -> None:
    stream = io.StringIO()
    command_logger("down", stream=stream).info("object.left", object="jobs", family="f", kind="k", reason="it is held")
    assert stream.getvalue() == "orchestra ▸ error: could not remove f k jobs: it is held\n"


def test_events_must_be_in_the_catalogue() -> None:
    with pytest.raises(KeyError):
        command_logger("down", stream=io.StringIO()).info("made.up")


def test_what_the_supervisor_loads_is_light() -> None:
    """Only small modules of the standard library, none of which starts threads, loops or parsers of its own."""
    program = (
        "import sys; before = set(sys.modules)\n"
        "import orchestra.logs.capture, orchestra.logs.encode, orchestra.logs.sink, orchestra.logs.catalogue\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & {"structlog", "pydantic", "yaml", "typer", "datetime", "logging", "pathlib", "subprocess"}
