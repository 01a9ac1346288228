"""Commands as strings: words as a shell makes them, and what only a shell could do refused."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.topology.words import SplitError, split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cat a  b", ["cat", "a", "b"]),
        ("  cat\ta ", ["cat", "a"]),
        ("cat 'a b' \"c d\"e", ["cat", "a b", "c de"]),
        (r"cat a\ b \' \"", ["cat", "a b", "'", '"']),
        (r'cat "a\"b\\c\d"', ["cat", r'a"b\c\d']),
        ("cat '' \"\"", ["cat", "", ""]),
        ("cat ${a:-x y} '${b c}'", ["cat", "${a:-x y}", "${b c}"]),
        ("cat ${a:-${b:-1 2} 3}", ["cat", "${a:-${b:-1 2} 3}"]),
        ("cat '|' \"a > b\" 'x*'", ["cat", "|", "a > b", "x*"]),
        ("cat $HOME a=b $${x y}", ["cat", "$HOME", "a=b", "$${x y}"]),
        ("cat a\\\n b\n", ["cat", "a", "b"]),
        ("cat a~b", ["cat", "a~b"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split(text) == words


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a | b", "pipe"), ("a && b", "joins"), ("a || b", "joins"), ("a > b", "redirects output"),
        ("a>>b", "redirects"), ("a < b", "redirects input"), ("a &", "background"), ("a; b", "separates"),
        ("a $(b)", "runs a command"), ("a `b`", "runs a command"), ("(a)", "subshell"), ("a *.c", "wildcard"),
        ("a b?", "wildcard"), ("~/a", "folder"), ("A=1 b", "sets a variable"), ("a\nb", "more than one line"),
        ("a 'b", "never closed"), ('a "b', "never closed"),
    ],
)  # fmt: skip
def test_what_only_a_shell_could_do(text: str, part: str) -> None:
    with pytest.raises(SplitError, match=part) as caught:
        split(text)
    assert caught.value.hint


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0$"), min_size=1), min_size=1))
def test_what_shlex_quotes_comes_back(words: list[str]) -> None:
    """The standard library is the witness: shlex.join makes a line for a shell."""
    line = shlex.join(words)
    if "=" in words[0]:
        return
    assert split(line + " end") == [*words, "end"]
