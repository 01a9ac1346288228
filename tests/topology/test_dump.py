"""Canonical text; that it loads as the same topology is among the properties."""

from __future__ import annotations

import pytest

from orchestra.topology.composer import compose
from orchestra.topology.dump import dump, flow, quoted, to_yaml
from orchestra.topology.nodes import plain_data
from tests.support.topologies import load_text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "true",
        "12",
        "0600",
        "~",
        "a b",
        "a: b",
        "#",
        "é😀",
        'q"\\',
        "\n\t\r",
        "\x07\x85\u2028\ufeff",
        "- a",
        "${x}",
        "*a",
        "!t",
        "=",
        "<<",
    ],
)
def test_any_text_is_read_back(text: str) -> None:
    root, problems = compose(f"value of a: {flow(text)}\n? {quoted(text)}\n: 1\n".encode(), "x.yaml", "/")
    assert problems == []
    assert root is not None
    assert root["value of a"].text == text
    assert text in root


def test_values() -> None:
    assert flow({"a": [1, None, True, 1.5, float("inf")], "b c": {}}) == '{a: [1, null, true, 1.5, .inf], "b c": {}}'


def test_a_long_key_is_written_so_that_yaml_takes_it() -> None:
    data = {"x" * 3000: {"y" * 2000: 1}, "x-" + "z" * 2000: {"k" * 2000: 2}}
    root, problems = compose(to_yaml(data).encode(), "x.yaml", "/")
    assert problems == []
    assert plain_data(root) == data


def test_only_what_was_given_is_written() -> None:
    text = "version: 1\nqueues: {jobs: {max_messages: 4}}\nprocesses: {a: {command: cat x, uses: [jobs]}}\n"
    assert dump(load_text(text).topology).splitlines() == [
        "version: 1",
        "name: w",
        "queues:",
        "  jobs:",
        "    max_messages: 4",
        "processes:",
        "  a:",
        "    command: [cat, x]",
        "    uses:",
        "      jobs: read-write",
    ]
