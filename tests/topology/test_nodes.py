"""Nodes by themselves: lines and places, what a plain scalar is, ordinary data out of nodes."""

from __future__ import annotations

import math

import pytest

from orchestra.topology.nodes import (
    DIGITS_MAX,
    EXCERPT_MAX,
    LeadingZero,
    Map,
    Place,
    Scalar,
    Seq,
    Source,
    core_value,
    is_nothing,
    plain_data,
    read_plain,
)

TEXT = Source("x.yaml", "/w", "a: 1\r\nb: 2\u2028c: 3\rd\n")


def scalar(text: str, *, plain: bool = True) -> Scalar:
    return Scalar(TEXT, 1, 1, len(text), text, plain)


def test_lines_count_from_one_and_those_that_are_not_there_are_empty() -> None:
    assert [TEXT.line(number) for number in range(-1, 7)] == ["", "", "a: 1", "b: 2", "c: 3", "d", "", ""]
    assert Source("x.json", "/w", "a\u2028b\r\nc\rd").line(1) == "a\u2028b"


def test_every_character_has_the_position_of_its_line() -> None:
    for path in ("x.yaml", "x.json"):
        source = Source(path, "/w", TEXT.text)
        for index, char in enumerate(TEXT.text):
            line, column = source.position(index)
            if char not in "\r\n\u2028":
                assert source.line(line)[column - 1] == char
    assert TEXT.position(len(TEXT.text)) == (5, 1)
    assert Source("x", "/", "").position(0) == (1, 1)


def test_an_excerpt_ends_where_it_would_fill_the_terminal() -> None:
    source = Source("x", "/", "y" * (2 * EXCERPT_MAX))
    assert source.excerpt(1, EXCERPT_MAX) == "y" * EXCERPT_MAX
    assert source.excerpt(1, EXCERPT_MAX + 1) == ""


def test_a_problem_without_a_width_reaches_to_the_end_of_its_line() -> None:
    source = Source("x.yaml", "/w", "a: |  \n")
    assert Place(source, 1, 4, 0).problem("c", "a", "m").width == 1
    assert Place(source, 1, 1, 0).problem("c", "a", "m").width == 4
    assert Place(source, 1, 6, 0).problem("c", "a", "m").width == 1
    assert Place(source, 0, 0, 0).problem("c", "a", "m").width == 1
    assert str(Place(source, 7, 1)) == "x.yaml:7"


def test_a_key_may_come_from_another_file() -> None:
    node = Map(TEXT, 2, 3)
    other = Place(Source("other.yaml", "/o", ""), 9, 1)
    node.keys_at = {"here": (4, 5, 6), "there": other}
    assert node.key_place("here") == Place(TEXT, 4, 5, 6)
    assert node.key_place("there") is other
    assert node.key_place("nowhere") == node.place == Place(TEXT, 2, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-0", 0), ("+0", 0), ("0xfF", 255), ("0o17", 15), ("0.0", 0.0), ("1.", 1.0), ("-1.5E+2", -150.0),
        ("+.INF", math.inf), ("-0x1F", "-0x1F"), ("0o8", "0o8"), ("0X1F", "0X1F"), (".", "."), ("-", "-"), ("+", "+"),
        ("...", "..."), ("1e", "1e"), ("e5", "e5"), (".inf.", ".inf."), (".Nano", ".Nano"), ("tRuE", "tRuE"),
        ("1 ", "1 "), ("\u0661", "\u0661"),
    ],
)  # fmt: skip
def test_what_a_plain_scalar_is(text: str, value: object) -> None:
    assert read_plain(text) == value
    assert type(read_plain(text)) is type(value)


def test_not_a_number_is_one() -> None:
    assert all(math.isnan(float(str(read_plain(text)))) for text in (".nan", ".NaN", ".NAN"))


def test_a_number_of_many_digits_is_text() -> None:
    assert read_plain("9" * DIGITS_MAX) == int("9" * DIGITS_MAX)
    assert read_plain("9" * (DIGITS_MAX + 1)) == "9" * (DIGITS_MAX + 1)


def test_nothing() -> None:
    assert [text for text in ("", "~", "null", "NULL", "nUll", "0", " ") if is_nothing(scalar(text))] == [
        "",
        "~",
        "null",
        "NULL",
    ]
    assert not is_nothing(scalar("", plain=False))
    assert not is_nothing(None)
    assert not is_nothing(Seq(TEXT, 1, 1))


def test_ordinary_data_is_of_ordinary_types() -> None:
    items = Seq(TEXT, 1, 1)
    items += [scalar("1"), scalar("1", plain=False), scalar("~"), Map(TEXT, 1, 1)]
    root = Map(TEXT, 1, 1)
    root["x"] = items
    data = plain_data(root)
    assert data == {"x": [1, "1", None, {}]}
    assert (type(data), type(data["x"]), type(data["x"][3])) == (dict, list, dict)
    assert plain_data((1, {"a": (2,)})) == [1, {"a": [2]}]


def test_a_leading_zero_is_refused_unless_it_is_quoted() -> None:
    assert core_value(scalar("0600", plain=False)) == "0600"
    with pytest.raises(LeadingZero, match=r"^\+0600$"):
        plain_data([scalar("+0600")])
