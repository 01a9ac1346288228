"""JSON with places, by the letter of RFC 8259."""

from __future__ import annotations

import pytest

from orchestra.topology import composer
from orchestra.topology.composer import compose
from orchestra.topology.nodes import plain_data


def test_values_and_places() -> None:
    root, problems = compose(b'{\n\t"a": [1, -2.5e3, "x\\u00e9\\n\\/", null],\n  "b" : {"c": true}\n}', "x.json", "/")
    assert problems == []
    assert root is not None
    assert plain_data(root) == {"a": [1, -2500.0, "xé\n/", None], "b": {"c": True}}
    assert (root.key_place("b").line, root.key_place("b").column, root.key_place("b").width) == (3, 3, 3)
    assert root["a"][2].column == 19


def test_surrogate_pairs_are_one_character() -> None:
    root, _ = compose(b'{"a": "\\ud83d\\ude00"}', "x.json", "/")
    assert plain_data(root) == {"a": "😀"}


def test_keys_of_any_length() -> None:
    key = "k" * 5000
    root, problems = compose(f'{{"{key}": 1}}'.encode(), "x.json", "/")
    assert problems == []
    assert plain_data(root) == {key: 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "expected a value"),
        ('{"a": 01}', "expected a value"),
        ('{"a": 1.}', "expected a value"),
        ('{"a": +1}', "expected a value"),
        ('{"a": truex}', "expected a value"),
        ('{"a" 1}', "expected `:` after the key"),
        ('{"a": 1 "b": 2}', "expected `,` or `}`"),
        ('{"a": [1 2]}', "expected `,` or `]`"),
        ('{"a": "\t"}', "this text is never closed, or holds a bad escape or a control character"),
        ('{"a": "\\x"}', "this text is never closed, or holds a bad escape or a control character"),
        ('{"a": "\\ud800"}', "half of a surrogate pair is no character"),
        ('{"a": 1,}', "expected a key in double quotes"),
        ("{a: 1}", "expected a key in double quotes"),
        ('{"a": ', "the file ends in the middle of a value"),
        ("{} {}", "the document ends before this"),
    ],
)
def test_what_is_no_json(text: str, message: str) -> None:
    root, problems = compose(text.encode(), "x.json", "/")
    assert root is None
    assert [problem.message for problem in problems] == [message]


def test_duplicate_keys_are_all_found() -> None:
    _, problems = compose(b'{"a": 1, "b": {"c": 1, "c": 2},\n "a": 2}', "x.json", "/")
    assert [(problem.code, problem.path, problem.line) for problem in problems] == [
        ("duplicate_key", "b.c", 1),
        ("duplicate_key", "a", 2),
    ]


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compose(b"[" * 65 + b"]" * 65, "x.json", "/")[1][0].code == "too_deep"
    monkeypatch.setattr(composer, "NODES_MAX", 101)  # the list and its items
    assert compose(b"[" + b"1," * 99 + b"1]", "x.json", "/")[1][0].code == "wrong_type"
    assert compose(b"[" + b"1," * 100 + b"1]", "x.json", "/")[1][0].code == "too_large"
