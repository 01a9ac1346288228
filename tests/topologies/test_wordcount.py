"""wordcount against `wc -w`, and against a count made without any queue."""

from __future__ import annotations

import importlib.util
import io
import os
import random
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cli import child_environment
from tests.support.markdown import ROOT
from tests.topologies.conftest import Up, said

pytestmark = pytest.mark.slow
FOLDER = ROOT / "topologies" / "wordcount"


def by_wc(file: Path) -> int:
    done = subprocess.run(
        ["wc", "-w", str(file)], env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[0])


def check(up: Up, file: Path, text: bytes, *arguments: str) -> None:
    """Count a text in which only ASCII white space parts words; compare with wc and with Python's own split."""
    file.write_bytes(text)
    answer = up("wordcount", "--set", f"file={file}", *arguments)
    assert answer.code == 0, answer.err
    total, *top = said(answer, "collector")
    tally = Counter(re.findall(rb"[^ \t\n\v\f\r]+", text))
    assert total == f"{by_wc(file)} words, {len(tally)} different"
    best = sorted(tally.items(), key=lambda item: (-item[1], item[0]))[:10]
    assert [line.split()[0] for line in top] == [str(count) for _, count in best]
    for line, (word, _) in zip(top, best, strict=True):
        shown = line.split()[1]
        if len(word) > 4096:
            assert shown.startswith(f"{word[:40].decode()}...{len(word)}-bytes-")
        elif word.isalnum():
            assert shown == word.decode()


def prose(size: int, seed: int = 1) -> bytes:
    """Return a text of about `size` bytes, in which some words are frequent and most are rare."""
    chance = random.Random(seed)
    common = [b"the", b"of", "Grüße".encode(), b"and", b"to", "日本".encode(), b"in"]
    spaces = [b" ", b" ", b" ", b"\n", b"\r\n", b"\t", b"  ", b"\v", b"\f\n"]
    text = bytearray()
    while len(text) < size:
        text += chance.choice(common) if chance.random() < 0.4 else b"word%d" % chance.randrange(20_000)
        text += chance.choice(spaces)
    return bytes(text)


TEXTS: dict[str, bytes] = {
    "empty": b"",
    "only white space": b" \n\r\n\t \f\v",
    "one word": b"word",
    "no newline at the end": b"one two\nthree",
    "Windows": b"one two\r\nthree\r\n\r\nfour\r\n",
    "bytes that are no text": b"a\xff b\xfe\xfd\n\x00c\x01 d\xc3 \xe2\x80e \xed\xa0\x80f \x1fg " * 4000,
    "UTF-8": "Übergrößenträger 日本語 ελληνικά naïve — 🎼 end\n".encode() * 3000,
    "white space of Unicode": "a\u00a0b c\u2003d\u3000e\u202ff\u2060g\u1680h\u200ai\u200bj\u205fk ".encode() * 3000,
    "a word as long as a message": b"a " + b"x" * 4096 + b" b " + b"y" * 4095 + b" c",
    "a word longer than a message": b"a " + b"x" * 4097 + b" b " + b"x" * 4097 + b" " + b"x" * 4098,
    "a word longer than a block": b"a " + b"x" * 300_000 + b" b\n" + b"z" * 70_000,
    "a word of a megabyte": b"x" * 1_000_000,
}
SMALL = {"empty", "one word", "a word as long as a message"}


@pytest.fixture(scope="module")
def words() -> ModuleType:
    """The module that the programs share."""
    spec = importlib.util.spec_from_file_location("wordcount_words", FOLDER / "words.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_cut_into_as_many_words_as_wc_says(name: str, words: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes(TEXTS[name])
    pieces = list(words.packed(words.words_of(io.BytesIO(TEXTS[name]), 4096), b" ", 4096))
    assert all(0 < len(piece) <= 4096 for piece in pieces)
    assert sum(len(piece.split(b" ")) for piece in pieces) == by_wc(file)


@given(st.lists(st.binary(max_size=30), max_size=40), st.integers(60, 80))
def test_no_word_is_lost_or_torn_by_packing(words: ModuleType, parts: list[bytes], limit: int) -> None:
    text = b" ".join(parts)
    pieces = list(words.packed(words.words_of(io.BytesIO(text), limit), b" ", limit))
    assert b" ".join(pieces).split(b" ") == ([word for word in words.SPACE.split(text) if word] or [b""])


def test_words_that_fit_in_no_message_stay_apart(words: ModuleType) -> None:
    long = [b"x" * 500, b"x" * 500, b"x" * 501, b"x" * 499 + b"y"]
    assert len(set(words.words_of(io.BytesIO(b" ".join(long)), 100))) == 3


@pytest.mark.parametrize("name", sorted(SMALL))
def test_it_agrees_with_wc(name: str, up: Up, tmp_path: Path) -> None:
    check(up, tmp_path / "text", TEXTS[name])


def test_it_agrees_with_wc_about_everything_at_once(up: Up, tmp_path: Path) -> None:
    texts = (text for name, text in TEXTS.items() if name != "white space of Unicode")
    check(up, tmp_path / "text", b"\n".join(texts))


def test_five_megabytes(up: Up, tmp_path: Path) -> None:
    check(up, tmp_path / "text", prose(5 << 20))


@pytest.mark.parametrize("workers", [1, 7])
def test_any_number_of_workers(workers: int, up: Up, tmp_path: Path) -> None:
    check(up, tmp_path / "text", prose(1 << 18), "--scale", f"worker={workers}")


def test_two_copies_at_the_same_time(up: Up, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as both:
        runs = [
            both.submit(check, up, tmp_path / f"text{n}", prose(1 << 20, seed=n), "-n", f"copy-{n}") for n in (1, 2)
        ]
    for run in runs:
        run.result()


def test_a_missing_text_is_named(up: Up, tmp_path: Path) -> None:
    answer = up("wordcount", "--set", "file=none.txt")
    assert answer.code == 1
    assert said(answer, "reader") == [f"cannot read {tmp_path}/none.txt: No such file or directory"]


def test_without_the_client_s_bindings(up: Up, tmp_path: Path) -> None:
    """The programs run on whatever python3 is in PATH; here on one that cannot import the bindings."""
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    file = tmp_path / "text"
    file.write_bytes(prose(1 << 18))
    answer = up("wordcount", "--set", "file=text", PATH=f"{python.parent}:{os.environ['PATH']}")
    assert answer.code == 0, answer.err
    assert said(answer, "collector")[0].startswith(f"{by_wc(file)} words, ")


def test_the_programs_say_plainly_that_they_belong_in_a_run(tmp_path: Path) -> None:
    environment = {**child_environment(tmp_path), "PYTHONPATH": str(ROOT / "orchestra" / "client" / "lib")}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "collector.py")], env=environment, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("orchestra_client.NotInRun: this program was not started by orche")
