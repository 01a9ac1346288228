"""orchestra.h: compiled as strictly as can be, by every compiler there is, and run."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestra.cli.clientfiles import include_folder
from tests.support.wired import Wired

COMPILERS = {
    "gcc-c11": ["gcc", "-std=c11"],
    "gcc-gnu17": ["gcc", "-std=gnu17", "-Wconversion", "-Wshadow", "-Wstrict-prototypes"],
    "g++-c++17": ["g++", "-x", "c++", "-std=c++17"],
    "clang-c11": ["clang", "-std=c11"],
    "clang-c++17": ["clang++", "-x", "c++", "-std=c++17"],
    "cc": ["cc"],
}
PROGRAM = r"""
#include <orchestra.h>
#include <stdio.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *name = orchestra_name(argv[i]);
        printf("%s %d %lld %d %lld\n", name ? name : "NULL", orchestra_id(argv[i]), (long long)orchestra_key(argv[i]),
               orchestra_fd(argv[i]), orchestra_size(argv[i]));
    }
    return 0;
}
"""


def compiled(folder: Path, source: str, command: list[str]) -> str:
    """Compile a program with warnings as errors; return its path. Skips where the compiler is missing."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} on this machine")
    (folder / "program.c").write_text(source)
    strict = ["-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{include_folder()}"]
    done = subprocess.run(
        [*command, *strict, "program.c", "-o", "program"], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return str(folder / "program")


def ran(
    program: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRA_", "NOTIFY"))}
    return subprocess.run(
        [program, *arguments], env={**clean, **(environment or {})}, capture_output=True, text=True, timeout=20
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILERS)
def test_it_compiles_without_a_warning(name: str, tmp_path: Path) -> None:
    assert ran(compiled(tmp_path, PROGRAM, COMPILERS[name]), "jobs").stdout == "NULL -1 -1 -1 -1\n"


def test_two_files_of_a_program_may_include_it(tmp_path: Path) -> None:
    (tmp_path / "other.c").write_text('#include <orchestra.h>\nint other(void) { return orchestra_fd("x"); }\n')
    compiled(tmp_path, PROGRAM, ["cc", "other.c"])


@pytest.mark.slow
def test_it_finds_what_a_process_uses(wired: Wired) -> None:
    program = compiled(wired.folder, PROGRAM, ["cc"])
    jobs = wired.make("jobs", "posix", "queue")
    board = wired.make("the-board", "posix", "segment", size=65536)
    table = wired.make("table", "sysv", "segment", size=4096, key=0x7EADBEEF, extra={"x-a": {"size": 1}})
    wired.make("feed", "anonymous", "pipe")
    control = wired.make("control", "fifo", "pipe")
    uses = {"jobs": "read", "the-board": "read", "table": "read", "feed": "read", "control": "read"}
    process = wired.start([program, *uses, "none"], uses)
    rows = [line.split() for line in process.communicate(timeout=20)[0].splitlines()]
    fds = [int(row[3]) for row in rows]
    assert rows[0] == [jobs.ref.name, "-1", "-1", str(fds[0]), "-1"]
    assert rows[1] == [board.ref.name, "-1", "-1", str(fds[1]), "65536"]
    assert rows[2] == ["NULL", str(table.ref.id), str(0x7EADBEEF), "-1", "4096"]
    assert rows[3] == ["NULL", "-1", "-1", str(fds[3]), "-1"]
    assert rows[4] == [control.ref.name, "-1", "-1", "-1", "-1"]
    assert rows[5] == ["NULL", "-1", "-1", "-1", "-1"]
    assert min(fds[0], fds[1], fds[3]) > 2


SIZES = {
    '{"board":{"family":"posix","size":65536,"access":"read"}}': 65536,
    '{"x":{"board":{"size":1}},"board":{"fd":3,"size":7,"x-a":{"size":2}}}': 7,
    r'{"x":{"x-text":"\"board\":{\"size\":9"},"board":{"x-q":"a\\","size":8}}': 8,
    '{"board":{"size":null,"x-size":5}}': -1,
    '{"boards":{"size":1},"oard":{"size":2},"x-board":{"size":3}}': -1,
    '{"x":["board",{"board":{"size":1}}]}': -1,
    '{"board":': -1,
    '"board': -1,
    "": -1,
}


@pytest.mark.slow
def test_a_size_is_found_in_the_document_and_nowhere_else(tmp_path: Path) -> None:
    program = compiled(tmp_path, PROGRAM, ["cc", "-fsanitize=address,undefined"])
    for document, size in SIZES.items():
        done = ran(program, "board", environment={"ORCHESTRA_VERSION": "1", "ORCHESTRA_BINDINGS": document})
        assert (done.stdout.split()[-1], done.stderr) == (str(size), ""), document


LOG = r"""
#include <orchestra.h>
int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "data") == 0)
        return orchestra_log_data("error", argv[2], argv[3]) != 0;
    for (int i = 1; i < argc; i++)
        if (orchestra_log("info", argv[i]) != 0)
            return 1;
    return 0;
}
"""


@pytest.mark.slow
def test_a_log_line_is_json_whatever_it_says(tmp_path: Path) -> None:
    program = compiled(tmp_path, LOG, ["cc", "-fsanitize=address,undefined"])
    valid = ["plain", 'q"uo\\te', "tab\tline\n\x01\x7f", "Grüße € 🎼 \u07ff\u0800\uffff", "long" * 5000, ""]
    broken = [b"\xff", b"cut \xe2\x82", b"over \xc0\xaf", b"surrogate \xed\xa0\x80", b"beyond \xf4\x90\x80\x80"]
    done = subprocess.run([program, *valid, *broken], capture_output=True, timeout=20)
    assert done.returncode == 0
    records = [json.loads(line) for line in done.stderr.decode().splitlines()]
    assert all(record.keys() == {"level", "message"} and record["level"] == "info" for record in records)
    messages = [record["message"] for record in records]
    assert messages[: len(valid)] == valid
    words = [re.sub("\ufffd+", "?", message) for message in messages[len(valid) :]]
    assert words == ["?", "cut ?", "over ?", "surrogate ?", "beyond ?"]


@pytest.mark.slow
def test_a_log_line_has_the_data_that_it_is_given(tmp_path: Path) -> None:
    program = compiled(tmp_path, LOG, ["cc", "-fsanitize=address,undefined"])
    pretty = json.dumps({"job": 17, "words": ["ü", "x" * 9000, "\n"]}, indent=1, ensure_ascii=False)
    for data in (pretty, pretty.replace("\n", "\r\n"), "17", '"text"'):
        done = ran(program, "data", "oh no", data)
        expected = {"level": "error", "message": "oh no", "data": json.loads(data)}
        assert (done.returncode, json.loads(done.stderr), done.stderr.count("\n")) == (0, expected, 1)
    assert json.loads(ran(program, "data", "oh no", "").stderr) == {"level": "error", "message": "oh no"}


READY = """
#include <orchestra.h>
int main(void) {
    int first = orchestra_ready();
    return first == 0 && orchestra_notify("STATUS=up") == 0 && orchestra_ready() == 0 ? 0 : first == -1 ? 2 : 1;
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("abstract", [False, True])
def test_readiness_is_told_as_sd_notify_does(abstract: bool, tmp_path: Path) -> None:
    program = compiled(tmp_path, READY, ["cc"])
    path = f"@orct.{os.getpid()}.{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + path[1:] if abstract else path)
        assert ran(program, environment={"NOTIFY_SOCKET": path}).returncode == 0
        assert [listener.recv(100) for _ in range(3)] == [b"READY=1", b"STATUS=up", b"READY=1"]


@pytest.mark.slow
def test_readiness_is_told_as_s6_does(tmp_path: Path) -> None:
    program = compiled(tmp_path, READY, ["cc"])
    reader, writer = os.pipe()
    try:
        environment = {**os.environ, "ORCHESTRA_READY_FD": str(writer)}
        subprocess.run([program], env=environment, pass_fds=[writer], timeout=20)
    finally:
        os.close(writer)
    assert os.read(reader, 10) == b"\n"
    os.close(reader)


@pytest.mark.slow
def test_outside_a_run_readiness_is_told_to_nobody(tmp_path: Path) -> None:
    assert ran(compiled(tmp_path, READY, ["cc"])).returncode == 2
