"""From a word to a checked topology and its plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestra.cli.prepare import prepare, read_file, which_file
from orchestra.cli.targets import current_folder
from orchestra.errors import TopologyError, UsageError
from tests.cli.conftest import BAD, GOOD


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    return tmp_path


def test_a_folder_stands_for_its_orchestra_yaml(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "orchestra.yaml").write_text(GOOD)
    assert which_file("deep", None) == "deep/orchestra.yaml"
    assert which_file(None, "deep") == "deep/orchestra.yaml"
    with pytest.raises(UsageError, match="there is no orchestra"):
        which_file(None, None)
    with pytest.raises(UsageError, match="name a file"):
        which_file("a", "b")


def test_a_plan_knows_its_instance_its_file_and_where_clients_are(folder: Path) -> None:
    plan = prepare("good.yaml", name=None).plan
    assert (plan.topology, plan.instance, plan.file) == ("pipeline", "pipeline", str(folder / "good.yaml"))
    assert (Path(plan.python_path) / "orchestra_client.py").is_file()
    assert prepare("good.yaml", name="second", only=["second"]).plan.instance == "second"


@pytest.mark.parametrize("name", ["", "Second", "a b", "1st", "a" * 32, "../x", "a.b"])
def test_names_that_no_instance_can_have(name: str, folder: Path) -> None:
    with pytest.raises(UsageError, match="-n: "):
        prepare("good.yaml", name=name)


def test_settings_reach_the_file(folder: Path) -> None:
    assert prepare("good.yaml", name=None, settings=["rate=7"]).plan.processes[0].command[1] == ("7",)
    with pytest.raises(TopologyError):
        read_file("good.yaml", None, ["raet=7"])
    with pytest.raises(TopologyError) as caught:
        read_file("bad.yaml", None, [])
    assert len(caught.value.problems) == 3


def test_a_current_folder_that_is_gone_is_said(folder: Path) -> None:
    (folder / "gone").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "gone")
        (folder / "gone").rmdir()
        with pytest.raises(UsageError, match="the current folder cannot be used"):
            current_folder()
        patch.chdir(folder)
