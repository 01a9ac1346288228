"""Bytes that are no text of ours: each gets its own words, and its place where there is one."""

from __future__ import annotations

import pytest

from orchestra.topology.nodes import Source
from orchestra.topology.text import Refused, TooLarge, check_size


def refused(data: bytes, limit: int = 1000, path: str = "x.yaml") -> Refused:
    with pytest.raises(Refused) as caught:
        check_size(data, Source(path, "/w", ""), limit)
    return caught.value


def place_of(data: bytes, path: str = "x.yaml") -> tuple[int, int, str]:
    problem = refused(data, path=path).problem
    return problem.line, problem.column, problem.excerpt


def test_text_comes_back_without_its_byte_order_mark() -> None:
    assert check_size("é: ☃\r\n".encode(), Source("x", "/", ""), 100) == "é: ☃\r\n"
    assert check_size(b"\xef\xbb\xbfa: 1", Source("x", "/", ""), 100) == "a: 1"
    assert check_size(b"", Source("x", "/", ""), 0) == ""


def test_the_limit_itself_is_allowed() -> None:
    assert check_size(b"a" * 10, Source("x", "/", ""), 10) == "a" * 10
    problem = refused(b"a" * (2**20 + 1), limit=2**20)
    assert isinstance(problem, TooLarge)
    assert problem.problem.message == "the file is larger than 1 MiB"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x7fELF\x02", "this is a program, not a topology file"),
        (b"\x1f\x8b\x08", "this is gzip data, not a topology file"),
        (b"SQLite format 3\0", "this is a SQLite database, not a topology file"),
        ("version: 1".encode("utf-16"), "the file is UTF-16"),
        ("version: 1".encode("utf-16-be"), "this is a binary file, not a topology file"),
        (b"version: 1\0", "this is a binary file, not a topology file"),
    ],
)
def test_what_is_no_text_is_named(data: bytes, words: str) -> None:
    problem = refused(data).problem
    assert (problem.code, problem.line, problem.message) == ("not_utf8", 0, words)


def test_a_bad_byte_has_the_place_that_an_editor_shows() -> None:
    assert place_of(b"a: 1\nb: \xff!\nc: 2\n") == (2, 4, "b: \ufffd!")
    assert place_of("é☃: ".encode() + b"\xff") == (1, 5, "é☃: \ufffd")
    assert place_of(b"\xef\xbb\xbfa: \xff") == (1, 4, "a: \ufffd")
    assert place_of("a: é".encode()[:-1]) == (1, 4, "a: \ufffd")


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n", "\x85", "\u2028"])
def test_lines_are_counted_as_the_parser_counts_them(ending: str) -> None:
    assert place_of(f"a: 1{ending}b: ".encode() + b"\xff") == (2, 4, "b: \ufffd")


def test_json_knows_fewer_line_ends() -> None:
    assert place_of('"\u2028'.encode() + b"\xff", "x.json") == (1, 3, '"\u2028\ufffd')
