"""Every topology shown in README and documentation loads, and those shown as wrong do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestra.errors import TopologyError
from orchestra.topology.loader import load
from tests.support.markdown import Block, blocks_of, pages

BLOCKS = [block for page in pages() for block in blocks_of(page) if block.language == "yaml"]
SHIPPED = sorted((Path(__file__).parents[2] / "topologies").glob("*/*.yaml"))


def complete(block: Block) -> str:
    """Turn a part of a file into a file."""
    return f"version: 1\nname: fragment\n{block.text}" if block.directive == "fragment" else block.text


def given(text: str) -> dict[str, str]:
    """Return a value for each variable that the file says must be given."""
    _, _, after = text.partition("\nvariables:")
    section = re.split(r"\n(?=\S)", after, maxsplit=1)[0]
    return dict.fromkeys(re.findall(r"(\w+): null", section), "LICENSE")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_topology_in_the_documentation_loads(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "orchestra.yaml"
    file.write_text(complete(block))
    if block.directive == "wrong" or block.argument.startswith("wrong"):
        with pytest.raises(TopologyError):
            load(str(file), variables=given(block.text), environment={}, cwd=str(tmp_path))
        return
    loaded = load(str(file), variables=given(block.text), environment={}, cwd=str(tmp_path))
    assert loaded.topology.version == 1


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.name)
def test_a_shipped_topology_loads(file: Path) -> None:
    assert load(str(file), variables=given(file.read_text()), environment={}, cwd=str(file.parent)).topology.name


def test_there_is_something_to_load() -> None:
    assert len(BLOCKS) > 5
