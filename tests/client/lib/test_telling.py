"""What a program tells: that it is ready, and what it logs."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from orchestra.client import log, notify, ready
from orchestra.logs.capture import Capture


@pytest.mark.parametrize("abstract", [False, True])
def test_readiness_is_told_as_sd_notify_does(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"@orct.{os.getpid()}.{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + path[1:] if abstract else path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        ready()
        assert notify("STATUS=warming up")
        assert [listener.recv(100), listener.recv(100)] == [b"READY=1", b"STATUS=warming up"]


def test_readiness_is_told_as_s6_does_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setenv("ORCHESTRA_READY_FD", str(writer))
    ready()
    ready()
    assert os.read(reader, 10) == b"\n"
    assert os.read(reader, 10) == b""  # it was closed
    os.close(reader)


def test_readiness_that_nobody_asked_for_does_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    ready()
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify("READY=1")


def test_a_log_line_is_one_json_object_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.info("job done", data={"priority": 9, "path": Path("/x")})
    log.warning('two\nlines, "quoted", é \udc80')
    log.error("odd", data={(1, 2): 3})
    log.critical("odder", data=float("nan"))
    log.debug("plain")
    log.info("named", data={"path": "odd \udc80 name \U0001f3bb"})
    log.info("fine", data={"sign": "\U0001f3bb"})
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in err.splitlines()]
    assert out == ""
    assert lines == [
        {"level": "info", "message": "job done", "data": {"priority": 9, "path": "/x"}},
        {"level": "warning", "message": 'two\nlines, "quoted", é \\udc80'},
        {"level": "error", "message": "odd", "data": "{(1, 2): 3}"},
        {"level": "critical", "message": "odder", "data": "nan"},
        {"level": "debug", "message": "plain"},
        {"level": "info", "message": "named", "data": "{'path': 'odd \\udc80 name \U0001f3bb'}"},
        {"level": "info", "message": "fine", "data": {"sign": "\U0001f3bb"}},
    ]
    capture = Capture(run="r", process="p", replica=1, pid=5, stream="stderr")
    stored = [json.loads(line) for line in capture.feed(err.encode(), "T").splitlines()]
    assert [{key: record[key] for key in line} for record, line in zip(stored, lines, strict=True)] == lines


def test_logging_survives_what_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    log.info("nobody reads this")
    circle: list[object] = []
    circle.append(circle)
    log.info("nor this", data=circle)
