"""Rules about the project as a whole that no linter knows."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import orchestra

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "orchestra"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_topologies" not in path.parts)
MAX_LINES = 600
MEANINGLESS = {"utils", "util", "common", "helpers", "helper", "misc", "tools"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_fits_in_a_head(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines < MAX_LINES, f"{lines} lines: split it by what its parts are for"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_named_for_what_it_does_and_says_it(path: Path) -> None:
    assert path.stem not in MEANINGLESS
    assert ast.get_docstring(ast.parse(path.read_text())), "it opens with what it is for"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_that_says_it_is_pure_is_held_to_it(path: Path) -> None:
    first = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
    if not re.search(r"\b(Pure|PURE)\b", first) or path.name == "__init__.py":
        return
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (pure,) = [contract for contract in contracts if contract["name"].startswith("Modules that decide")]
    module = name_of(path).removesuffix(".py").replace("/", ".")
    listed = [source.removesuffix(".**") for source in pure["source_modules"]]
    assert any(module == name or module.startswith(name + ".") for name in listed), "add it to the contract"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_left_for_later(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    assert "NotImplementedError" not in text


def test_every_module_that_does_something_has_tests_of_its_name() -> None:
    missing = [
        name_of(path)
        for path in MODULES
        if path.name not in {"__init__.py", "__main__.py"}
        and not (ROOT / "tests" / path.relative_to(PACKAGE).parent / f"test_{path.stem}.py").exists()
        and name_of(path) not in TESTED_ELSEWHERE
    ]
    assert not missing, f"no tests of their own: {missing}"


def test_the_list_of_exceptions_only_shrinks() -> None:
    for name, witness in TESTED_ELSEWHERE.items():
        path = ROOT / name
        assert path.exists(), f"{name} is gone: take it off the list"
        assert (ROOT / witness).exists(), f"{name} is said to be tested by {witness}"
        own = ROOT / "tests" / path.relative_to(PACKAGE).parent / f"test_{path.stem}.py"
        assert not own.exists(), f"{name} has tests of its own now: take it off the list"


# Module -> where its behaviour is tested instead, because it has none apart from its neighbours.
TESTED_ELSEWHERE: dict[str, str] = {
    "orchestra/cli/restart.py": "tests/cli/test_live.py",
    "orchestra/cli/scale.py": "tests/cli/test_live.py",
    "orchestra/cli/signal.py": "tests/cli/test_live.py",
    "orchestra/cli/start.py": "tests/cli/test_live.py",
    "orchestra/cli/stop.py": "tests/cli/test_live.py",
    "orchestra/cli/wait.py": "tests/cli/test_live.py",
    "orchestra/supervisor/commands.py": "tests/supervisor/test_machine.py",
    "orchestra/supervisor/events.py": "tests/supervisor/test_machine.py",
    "orchestra/supervisor/launcher.py": "tests/scenarios/test_functions.py",
    "orchestra/supervisor/loop.py": "tests/scenarios/test_processes.py",
}


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    sleepers = [
        name_of(path)
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path != Path(__file__) and re.search(r"\btime\.sleep\(|\bfrom time import .*\bsleep\b", path.read_text())
    ]
    assert not sleepers


def test_the_version_of_the_package_is_the_version_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", orchestra.__version__)


def test_the_lock_file_holds_typer_below_the_version_that_imports_pydantic_for_every_command() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    (typer,) = [package for package in locked if package["name"] == "typer"]
    assert tuple(int(part) for part in typer["version"].split(".")[:2]) < (0, 29)


def test_each_run_time_dependency_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert all(">=" in requirement for requirement in project["project"]["dependencies"])


def test_where_md_names_only_what_exists() -> None:
    text = (ROOT / "docs" / "where.md").read_text()
    paths = re.findall(r"`((?:orchestra|topologies|tests|docs|\.typings|\.ci)/[^`\s]*|pyproject\.toml)`", text)
    assert len(paths) > 20
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing


def test_where_md_names_every_package_folder() -> None:
    text = (ROOT / "docs" / "where.md").read_text()
    folders = [path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]
    unmentioned = [path.name for path in folders if f"`orchestra/{path.name}/" not in text]
    assert not unmentioned


def test_changelog_fragments_say_what_kind_of_change_they_are() -> None:
    kinds = {"added", "changed", "fixed", "removed"}
    for path in (ROOT / "docs" / "changelog.d").iterdir():
        if path.name != "README.md":
            assert re.fullmatch(rf"[a-z0-9-]+\.({'|'.join(sorted(kinds))})\.md", path.name)
            assert path.read_text().strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_the_top_level_holds_what_a_reader_expects() -> None:
    """Everything else has its place in a folder; hidden files are tools' own."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        pytest.skip("not a git checkout")
    top = {path.split("/")[0] for path in listed.splitlines() if not path.startswith(".")}
    expected = {
        "LICENSE",
        "README.md",
        "docker-compose.yml",
        "docs",
        "orchestra",
        "pyproject.toml",
        "tests",
        "topologies",
    }
    assert top - expected - {"uv.lock"} == set()
