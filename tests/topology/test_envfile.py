"""Files of variables: what people know of them holds, and nothing is filled in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.topology.envfile import BYTES_MAX, parse


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("A=1\n", {"A": "1"}),
        ("A=1", {"A": "1"}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("# comment\n\n  # another\nA=\n", {"A": ""}),
        ("export A=1\n  B = 2 \n", {"A": "1", "B": "2"}),
        ("A=a b  c # comment\n", {"A": "a b  c"}),
        ("A=a#b\n", {"A": "a#b"}),
        ("A=#b\n", {"A": ""}),
        ("A=b=c==\n", {"A": "b=c=="}),
        ("A=$HOME ${X:-y}\n", {"A": "$HOME ${X:-y}"}),
        ("A='a # b \\n $x'\n", {"A": "a # b \\n $x"}),
        ('A="a # b\\n\\t\\"\\\\ \\$x \\q" # c\n', {"A": 'a # b\n\t"\\ $x \\q'}),
        ('A="first\nsecond"\nB=1\n', {"A": "first\nsecond", "B": "1"}),
        ("A=''\n", {"A": ""}),
        ("A=it's\n", {"A": "it's"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("a.b-c=1\nü=é\n", {"a.b-c": "1", "ü": "é"}),
    ],
)
def test_what_is_read(text: str, values: dict[str, str]) -> None:
    assert parse(text.encode()) == (values, [])


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("A=1\n B\n", 2, 2, "`B` has no value"),
        ("A=1\nB # c\n", 2, 1, "`B` has no value"),
        ("=1\n", 1, 1, "expected NAME=value"),
        ("two words=1\n", 1, 1, "expected NAME=value"),
        ('"A"=1\n', 1, 1, "expected NAME=value"),
        ("LISTEN_FDS=1\n", 1, 1, "`LISTEN_FDS` is set by orchestra"),
        ("\n  A='x\ny\n", 2, 5, "a quote is never closed"),
        ('A="x" y\n', 1, 6, "text follows the closing quote"),
        ("A=a\0b\n", 1, 3, "a NUL character cannot be passed to a program"),
    ],
)
def test_what_is_wrong(text: str, line: int, column: int, message: str) -> None:
    entries = parse(text.encode())
    assert [(fault.line, fault.column, fault.message) for fault in entries.faults] == [(line, column, message)]


def test_one_fault_hides_no_other_line() -> None:
    values, faults = parse(b"A\nB=2\nC\n")
    assert values == {"B": "2"}
    assert [fault.line for fault in faults] == [1, 3]


def test_no_text() -> None:
    assert [fault[:3] for fault in parse(b"A=1\nB=\xff\n").faults] == [(2, 1, "this is not UTF-8")]
    assert parse(b"A" * (BYTES_MAX + 1)).faults[0].message.startswith("more than")


@given(st.binary(max_size=80))
def test_any_bytes_are_variables_or_faults(data: bytes) -> None:
    values, faults = parse(data)
    assert all("\0" not in value for value in values.values())
    assert all(fault.line >= 1 and fault.column >= 1 for fault in faults)


PRINTABLE = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=20)


@given(st.dictionaries(st.from_regex("[A-Z]{1,5}", fullmatch=True), PRINTABLE, max_size=4))
def test_what_is_quoted_comes_back(values: dict[str, str]) -> None:
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in values.items()}
    text = "".join(f'{name}="{value}"\n' for name, value in quoted.items())
    assert parse(text.encode()) == (values, [])
