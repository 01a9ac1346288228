"""Readers of single values: units, types, bounds."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from orchestra.topology import values
from orchestra.topology.fields import KeyForm
from orchestra.topology.nodes import Scalar, Source

SOURCE = Source("x.yaml", "/w", "")


def plain(text: str) -> Scalar:
    return Scalar(SOURCE, 1, 1, len(text), text, plain=True)


def quoted(text: str) -> Scalar:
    return Scalar(SOURCE, 1, 1, len(text) + 2, text, plain=False)


def words(read: Any, value: Any) -> str:
    with pytest.raises(PydanticCustomError) as caught:
        read(value)
    return str((caught.value.context or {})["message"])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1), ("4096", 4096), ("1B", 1), ("64K", 65536), ("64KiB", 65536), ("1M", 2**20), ("1MiB", 2**20),
        ("2G", 2**31), ("2GiB", 2**31), ("16 KiB", 16384),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert values.read_size(plain(text)) == size
    assert values.read_size(quoted(text)) == size


@pytest.mark.parametrize(
    "text", ["0", "0KiB", "-1", "1KB", "1kb", "1.5K", "1e3", "x", "", "1TiB", "9999999999999999999G", "true"]
)
def test_no_sizes(text: str) -> None:
    assert words(values.read_size, plain(text))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("0.5", 0.5),
        ("5s", 5.0),
        ("200ms", 0.2),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1m30s", 90.0),
        ("1.5s", 1.5),
        ("0", 0.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert values.read_duration(plain(text)) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["-1", "5 parsecs", "s", "", "1d", ".inf", ".nan", "1e300", "yes", "1s2"])
def test_no_durations(text: str) -> None:
    assert words(values.read_duration, plain(text))


@pytest.mark.parametrize(
    ("value", "mode"),
    [(plain("0o600"), 0o600), (quoted("0600"), 0o600), (quoted("640"), 0o640), (quoted("0o7"), 7), (0o644, 0o644)],
)
def test_modes(value: Any, mode: int) -> None:
    assert values.read_mode(value) == mode


@pytest.mark.parametrize(
    "value",
    [
        plain("600"),
        plain("0600"),
        plain("0x1a"),
        plain("0o1777"),
        quoted("0o888"),
        quoted("rw"),
        plain("-1"),
        0o7777,
        plain(""),
    ],
)
def test_no_modes(value: Any) -> None:
    assert words(values.read_mode, value)


def test_booleans_are_strict() -> None:
    assert values.read_bool(plain("true")) is True
    assert values.read_bool(False) is False
    for text in ("yes", "on", "1", "0", ""):
        assert words(values.read_bool, plain(text))
    assert words(values.read_bool, quoted("true"))
    assert words(values.read_bool, 1)


def test_whole_numbers_are_strict() -> None:
    read = values.whole(1, 10)
    assert read(plain("3")) == 3
    assert words(read, True)
    assert words(read, plain("3.0"))
    assert words(read, quoted("3")) == "expected a whole number, found the text `3`"
    assert words(read, plain("11")) == "11 is out of range: at most 10"
    assert words(read, plain("0")) == "0 is out of range: at least 1"


def test_text_is_strict_but_source_text_is_not() -> None:
    assert words(values.read_text, plain("1.10")) == "expected text, found the number 1.1"
    assert values.read_source_text(plain("1.10")) == "1.10"
    assert values.read_source_text(plain("0644")) == "0644"
    assert values.read_source_text(plain("yes")) == "yes"
    assert values.read_source_text(True) == "true"
    assert words(values.read_source_text, plain("~")) == "nothing is given"
    assert words(values.read_source_text, [])


@pytest.mark.parametrize("value", ["SIGTERM", "TERM", "sigterm", 15])
def test_signals(value: object) -> None:
    assert values.read_signal(value) == "SIGTERM"


def test_no_signals() -> None:
    assert words(values.read_signal, "SIGTREM")
    assert words(values.read_signal, 99)


def test_keys() -> None:
    read = values.read_ipc_key(KeyForm)
    assert read(plain("auto")) is KeyForm.AUTO
    assert read(plain("0x4f524331")) == read(quoted("0x4f524331")) == 0x4F524331
    assert read(plain("4294967295")) == 2**32 - 1
    for bad in ("0", "4294967296", "-1", "0xg", "x", "1.5"):
        assert words(read, plain(bad))


def test_projects() -> None:
    assert values.read_project(plain("A")) == 65
    assert values.read_project(plain("1")) == 1
    assert values.read_project(quoted("1")) == 49
    for bad in (plain("0"), plain("256"), plain("AB"), quoted("é"), quoted("")):
        assert words(values.read_project, bad)


def test_posix_names() -> None:
    read = values.posix_name(10)
    assert read("/jobs") == "/jobs"
    assert read("/0123456789") == "/0123456789"
    for bad in ("jobs", "/", "/a/b", "/.", "/..", "/01234567890", "/ééééé" + "é", "", "/a\0"):
        assert words(read, bad)


def test_a_broken_value_is_reported_once_only() -> None:
    scalar = plain("x")
    scalar.broken = True
    for read in (
        values.read_text,
        values.read_size,
        values.read_bool,
        values.read_mode,
        values.read_template,
        values.read_command,
    ):
        with pytest.raises(PydanticCustomError) as caught:
            read(scalar)
        assert caught.value.type == values.QUIET


def test_braces_in_a_value_do_not_confuse_the_message() -> None:
    assert words(values.read_size, plain("{message}")) == "`{message}` is no size"


def test_long_values_are_shortened() -> None:
    assert len(words(values.read_size, plain("x" * 500))) < 80
