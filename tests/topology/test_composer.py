"""Bytes to nodes: values by the rules of YAML 1.2, places of keys and values, limits."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from orchestra.topology import composer
from orchestra.topology.composer import compose
from orchestra.topology.nodes import LeadingZero, Map, plain_data, read_plain

PARSERS = [pytest.param(yaml.SafeLoader, id="pure")]
if hasattr(yaml, "CSafeLoader"):
    PARSERS.append(pytest.param(yaml.CSafeLoader, id="libyaml"))


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest) -> Any:
    return request.param


def root_of(text: str, parser: Any = None) -> Map:
    root, problems = compose(text.encode(), "x.yaml", "/w", parser=parser)
    assert problems == []
    assert root is not None
    return root


def codes(data: bytes, parser: Any = None, name: str = "x.yaml") -> list[str]:
    return [problem.code for problem in compose(data, name, "/w", parser=parser)[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("-3", -3), ("+4", 4), ("0x1F", 31), ("0o600", 384), ("0", 0),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1.10", 1.1), ("-.inf", float("-inf")),
        ("true", True), ("FALSE", False), ("null", None), ("~", None), ("", None),
        ("yes", "yes"), ("on", "on"), ("NO", "NO"), ("y", "y"), ("22:22", "22:22"), ("12:30:45", "12:30:45"),
        ("1_000", "1_000"), ("0b1", "0b1"), ("2026-11-23", "2026-11-23"), ("=", "="), ("0x", "0x"), ("--1", "--1"),
        ("9" * 500, "9" * 500),
    ],
)  # fmt: skip
def test_plain_values_follow_yaml_1_2(text: str, value: object) -> None:
    assert read_plain(text) == value
    assert type(read_plain(text)) is type(value)


@pytest.mark.parametrize("text", ["0600", "00", "08", "-07", "007"])
def test_a_leading_zero_is_no_number_anybody_agrees_on(text: str) -> None:
    with pytest.raises(LeadingZero):
        read_plain(text)


def test_quotes_make_text(parser: Any) -> None:
    root = root_of("a: '12'\nb: \"true\"\nc: |\n  x\n  y\nd: >-\n  x\n  y\n", parser)
    assert plain_data(root) == {"a": "12", "b": "true", "c": "x\ny\n", "d": "x y"}


def test_the_key_on_is_a_word(parser: Any) -> None:
    assert list(root_of("on: 1\n1: 2\nnull: 3\n", parser)) == ["on", "1", "null"]


def test_places_count_from_one(parser: Any) -> None:
    root = root_of("a:\n  - b\n  - {c: dé, e: f}\n'g h': 3\n", parser)
    key = root.key_place("g h")
    assert (key.line, key.column, key.width) == (4, 1, 5)
    inner = root["a"][1]
    assert (inner.place.line, inner.place.column) == (3, 5)
    assert (inner["e"].line, inner["e"].column, inner["e"].width) == (3, 16, 1)
    assert inner.key_place("e").column == 13


def test_places_after_wide_characters_count_characters(parser: Any) -> None:
    root = root_of("a: ['😀é', b]\n", parser)
    assert root["a"][1].column == 11


def test_anchors_and_merges_work_as_in_compose(parser: Any) -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [{x: 5}, *a], z: 1}\nd: *a\n'<<': 7\n"
    data = plain_data(root_of(text, parser))
    assert data["b"] == {"x": 1, "y": 3}
    assert data["c"] == {"x": 5, "y": 2, "z": 1}
    assert data["d"] == {"x": 1, "y": 2}
    assert data["<<"] == 7


def test_a_merged_key_stands_where_it_was_written(parser: Any) -> None:
    root = root_of("a: &a\n  x: 1\nb:\n  <<: *a\n", parser)
    assert root["b"].key_place("x").line == 2


def test_an_alias_bomb_is_refused(parser: Any) -> None:
    lines = ["a0: &a0 [" + ",".join("x" * 10) + "]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert codes("\n".join(lines).encode(), parser) == ["too_large"]


def test_too_deep_through_an_alias(parser: Any) -> None:
    deep = "[" * 40 + "]" * 40
    assert codes(f"a: &a {deep}\nb: {'[' * 30}*a{']' * 30}\n".encode(), parser) == ["too_deep"]
    assert codes(f"a: &a {deep}\nb: {'[' * 20}*a{']' * 20}\n".encode(), parser) == []


def test_an_anchor_in_itself(parser: Any) -> None:
    assert codes(b"a: &a [1, *a]\n", parser) == ["unknown_anchor"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"a: 1\na: 2\n", "duplicate_key"),
        (b"a: {b: 1, b: 2}\n", "duplicate_key"),
        (b"a: !!str x\n", "tag"),
        (b"a: !<tag:x> x\n", "tag"),
        (b"a: ! x\n", "tag"),
        (b"? [a]\n: b\n", "bad_key"),
        (b"a: {<<: 3}\n", "bad_merge"),
        (b"a: *b\n", "unknown_anchor"),
        (b"a:\n\tb: 1\n", "tab"),
        (b"a: b: c\n", "second_colon"),
        (b"a: [x, ${y}]\n", "unquoted_placeholder"),
        (b"a: {x: ${y}}\n", "unquoted_placeholder"),
        (b"a: 1\n---\nb: 2\n", "syntax"),
        (b"a: 'x\n", "syntax"),
        (b"a: [1\n", "syntax"),
        (b"a: @x\n", "syntax"),
        (b"", "empty"),
        (b"# only words\n", "empty"),
        (b"[]", "wrong_type"),
        (b"3", "wrong_type"),
        (b"a: \x07\n", "syntax"),
        (b"\xff\xfea\x00", "not_utf8"),
        (b"\xfe\xff\x00a", "not_utf8"),
        (b"\x7fELF\x02\x01", "not_utf8"),
        (b"a: \x00\n", "not_utf8"),
        (b"a: \xe4\n", "not_utf8"),
        (b"PK\x03\x04zip", "not_utf8"),
        (b"x: " + b"y" * composer.BYTES_MAX, "too_large"),
        (b"[" * 65 + b"]" * 65, "too_deep"),
    ],
)
def test_what_is_refused(data: bytes, code: str, parser: Any) -> None:
    assert codes(data, parser) == [code]


def test_the_number_of_values_is_limited(parser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composer, "NODES_MAX", 103)  # the root, a key, a list and its items
    assert codes(b"x: [" + b"1," * 100 + b"]", parser) == []
    assert codes(b"x: [" + b"1," * 101 + b"]", parser) == ["too_large"]


@pytest.mark.parametrize("depth", [64])
def test_as_deep_as_allowed(depth: int, parser: Any) -> None:
    assert codes(b"a: " + b"[" * (depth - 1) + b"]" * (depth - 1), parser) == []


def test_several_findings_in_one_pass(parser: Any) -> None:
    data = b"a: 1\na: !x 2\nb: {c: 1, c: 2}\n? [d]\n: e\n"
    assert codes(data, parser) == ["tag", "duplicate_key", "duplicate_key", "bad_key"]


def test_a_byte_that_is_not_utf8_has_its_place() -> None:
    problem = compose("a: 1\nb: é".encode() + b"\xe4\n", "x.yaml", "/")[1][0]
    assert (problem.line, problem.column) == (2, 5)
    assert "0xe4" in problem.message


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert plain_data(compose(b"\xef\xbb\xbfa: 1\n", "x.yaml", "/")[0]) == {"a": 1}


def test_a_duplicate_key_says_where_in_the_document() -> None:
    problem = compose(b"a:\n  b: [{c: 1, c: 2}]\n", "x.yaml", "/")[1][0]
    assert problem.path == "a.b.c"


def test_the_pure_parser_is_used_where_libyaml_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert composer.default_parser() is yaml.SafeLoader


def test_line_breaks_of_windows_and_old_macs(parser: Any) -> None:
    root = root_of("a: 1\r\nb: 2\r\nc: 3\n", parser)
    assert root["c"].line == 3
    assert root.source.line(3) == "c: 3"


def test_a_long_line_is_cut_in_the_excerpt() -> None:
    text = "a: [" + "x, " * 1000 + "]\na: 1\n"
    problem = compose(text.encode(), "x.yaml", "/")[1][0]
    assert problem.line == 2
    far = compose(("a: [" + "x, " * 1000 + "!t y]\n").encode(), "x.yaml", "/")[1][0]
    assert far.excerpt == ""


def test_ten_thousand_lines_take_no_time() -> None:
    """The bound is many times what it takes, so that a busy machine passes: an accident would be quadratic."""
    import time

    text = "version: 1\nqueues:\n" + "".join(f"  q{n}:\n    max_messages: 8\n    mode: 0o600\n" for n in range(3300))
    start = time.process_time()
    root_of(text)
    assert time.process_time() - start < 2
