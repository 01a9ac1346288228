"""The lazy group: help texts, what is imported for what, suggestions, completion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra import __version__
from orchestra.cli.app import COMMANDS
from tests.support.cli import child_environment, inside, orchestra

HELP = Path(__file__).parent / "help"

HEAVY = {"rich", "structlog", "asyncio", "textual", "yaml", "pydantic"}
WITH_TOPOLOGY = {"up", "plan", "validate", "config", "schema"}
ALLOWED = {command: {"yaml", "pydantic"} if command in WITH_TOPOLOGY else set() for command in COMMANDS}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_the_recorded_text_on_every_terminal(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    shown = {}
    for columns in ("40", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        answer = inside(capsys, *([command] if command else []), "--help")
        assert (answer.code, answer.err) == (0, "")
        shown[columns] = answer.out
    assert shown["40"] == shown["200"]
    recorded = HELP / f"{command or 'orchestra'}.txt"
    if pytestconfig.getoption("--update-docs"):
        recorded.write_text(shown["40"], encoding="utf-8")
    assert shown["40"] == recorded.read_text(encoding="utf-8"), "stale: run `pytest --update-docs` and read the diff"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = inside(capsys, command, "-h").out
    summary = out.split("\n\n")[1].strip()
    assert " ".join(summary.split()) == COMMANDS[command].summary
    assert f"orchestra {command}" in out.split("\nExamples:\n")[1]
    assert max(len(line) for line in out.splitlines()) <= 80


def test_no_help_text_is_left_over() -> None:
    assert {path.stem for path in HELP.glob("*.txt")} == {"orchestra", *COMMANDS}


def test_alone_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert inside(capsys) == inside(capsys, "--help")


def test_version(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert inside(capsys, "--version").out == f"orchestra {__version__}\n"
    assert orchestra("--version", home=tmp_path / "home").out == f"orchestra {__version__}\n"


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        (["pss"], "no such command 'pss'", "did you mean `orchestra ps`?"),
        (["UP"], "no such command 'UP'", "did you mean `orchestra up`?"),
        (["frobnicate"], "no such command 'frobnicate'", "`orchestra --help` shows how it is used."),
        (["ps", "--frmat", "json"], "no such option: --frmat", "did you mean `--format`?"),
        (["ps", "--format", "yaml"], "'yaml' is not one of", "`orchestra ps --help` shows how it is used."),
        (["ps", "a", "b"], "unexpected extra argument", "`orchestra ps --help` shows how it is used."),
        (["inspect"], "missing argument", "`orchestra inspect --help` shows how it is used."),
        (["logs", "--tail", "-1"], "-1 is not in the range", "`orchestra logs --help` shows how it is used."),
    ],
)
def test_wrong_usage_says_what_and_where_to_read(
    words: list[str], problem: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = inside(capsys, *words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert problem in answer.err
    assert f"help: {hint}\n" in answer.err
    assert "Traceback" not in answer.err


def _imported(arguments: list[str], home: Path, environment: dict[str, str] | None = None) -> set[str]:
    """Names of all modules that one command line loads."""
    script = (
        "import sys, json, os\n"
        "fd, leave = os.dup(2), os._exit\n"
        "def tell(code):\n"
        "    os.write(fd, json.dumps(sorted(n for n, m in sys.modules.items() if m)).encode())\n"
        "    leave(code)\n"
        "os._exit = tell\n"
        f"sys.argv = {['orchestra', *arguments]!r}\n"
        "from orchestra.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=child_environment(home, environment),
        cwd=home.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    names = done.stderr.splitlines()[-1]
    return set(json.loads(names[names.index('["') :]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["ps"], ["objects"], ["ls"], ["logs"], ["inspect", "posix-queue:/orct.none"], ["audit"], ["clean", "--dry-run"],
        ["down"], ["cflags"], ["plan", "none.yaml"], ["validate", "none.yaml"], ["config", "none.yaml"], ["schema"],
        ["up", "--dry-run", "none.yaml"],
        *[[command, "--help"] for command in COMMANDS],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_imports_no_more_than_it_needs(arguments: list[str], tmp_path: Path) -> None:
    loaded = {name.partition(".")[0] for name in _imported(arguments, tmp_path / "home")}
    allowed = set() if "--help" in arguments else ALLOWED[arguments[0]]
    assert loaded & HEAVY <= allowed


@pytest.mark.slow
def test_the_top_level_help_imports_no_command(tmp_path: Path) -> None:
    loaded = _imported(["--help"], tmp_path / "home")
    assert not loaded & HEAVY
    assert not {f"orchestra.cli.{entry.module}" for entry in COMMANDS.values()} & loaded


@pytest.mark.slow
def test_the_version_imports_nothing(tmp_path: Path) -> None:
    loaded = _imported(["--version"], tmp_path / "home")
    assert {name for name in loaded if name.partition(".")[0] == "orchestra"} == {"orchestra", "orchestra.__main__"}
    assert not {"typer", "sqlite3", "dataclasses"} & loaded
