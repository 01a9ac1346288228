"""What programs log as JSON, in the ways that Python and C know, arrives with its level and its fields."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra.cli.clientfiles import include_folder, library_folder
from tests.support.runs import process, running

CLIENT = """
from orchestra_client import log
log.debug("starting")
log.warning("queue is full", data={"queue": "jobs", "depth": 10})
log.error("grüße", data=[1, 2])
"""
STRUCTLOG = """
import structlog
structlog.configure(processors=[
    structlog.stdlib.add_log_level,
    structlog.processors.format_exc_info,
    structlog.processors.JSONRenderer(),
])
log = structlog.get_logger()
log.debug("starting")
log.warning("queue is full", queue="jobs", depth=10)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("gave up")
"""
LOGGING = """
import json, logging

class JsonFormatter(logging.Formatter):
    def format(self, record):
        fields = {"level": record.levelname, "message": record.getMessage(), "logger": record.name}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps({**fields, **getattr(record, "fields", {})})

handler = logging.StreamHandler()
handler.setFormatter(JsonFormatter())
logging.basicConfig(level=logging.DEBUG, handlers=[handler])
log = logging.getLogger("worker")
log.debug("starting")
log.warning("%s is full", "queue", extra={"fields": {"queue": "jobs", "depth": 10}})
try:
    1 / 0
except ZeroDivisionError:
    log.critical("gave up", exc_info=True)
"""
C = r"""
#include <orchestra.h>
int main(void) {
    int failed = orchestra_log("debug", "starting");
    failed |= orchestra_log_data("warning", "queue is full", "{\"queue\": \"jobs\", \"depth\": 10}");
    return failed | orchestra_log("critical", "gave up:\n\"quoted\"");
}
"""


@pytest.mark.slow
def test_levels_and_fields_survive(home: Path, tmp_path: Path) -> None:
    programs = {"client": CLIENT, "structlog": STRUCTLOG, "logging": LOGGING}
    with_client = (("PYTHONPATH", (str(library_folder()),)),)
    commands = [process(name, sys.executable, "-c", text, environment=with_client) for name, text in programs.items()]
    if shutil.which("cc"):
        (tmp_path / "c.c").write_text(C)
        compiled = subprocess.run(["cc", f"-I{include_folder()}", "-o", "c", "c.c"], cwd=tmp_path, check=False)
        assert compiled.returncode == 0
        commands.append(process("c", str(tmp_path / "c"), "-"))
    with running(home, *commands) as run:
        assert run.ended()["exit_code"] == 0
        records = [record for record in run.log() if "stream" in record]
    for name in [command.name for command in commands]:
        first, second, *rest = [record for record in records if record["process"] == name]
        assert (first["level"], first["message"]) == ("debug", "starting")
        assert (second["level"], second["message"]) == ("warning", "queue is full")
        data = second["data"]
        assert (data["queue"], data["depth"]) == ("jobs", 10)
        assert second["stream"] == ("stdout" if name == "structlog" else "stderr")
        level = {"client": "error", "structlog": "error", "logging": "critical", "c": "critical"}[name]
        assert [record["level"] for record in rest] == [level]
    last = {record["process"]: record for record in records}
    assert (last["client"]["message"], last["client"]["data"]) == ("grüße", [1, 2])
    assert last["structlog"]["data"]["exception"].endswith("ZeroDivisionError: division by zero")
    assert last["logging"]["data"]["exception"].endswith("ZeroDivisionError: division by zero")
    assert last["logging"]["data"]["logger"] == "worker"
    if "c" in last:
        assert last["c"]["message"] == 'gave up:\n"quoted"'
