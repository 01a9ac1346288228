"""Names: what they may be, and which would collide."""

from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from orchestra.topology.keys import (
    TAKEN,
    check_environment,
    check_key,
    check_object_key,
    check_variable,
    default_name,
)


@pytest.mark.parametrize("key", ["a", "jobs", "a-b", "a1", "x" * 31])
def test_keys(key: str) -> None:
    assert check_key(key) == key
    assert check_object_key(key) == key


@pytest.mark.parametrize("key", ["", "A", "1a", "-a", "a_b", "a.b", "a b", "é", "x" * 32, "a\n"])
def test_no_keys(key: str) -> None:
    with pytest.raises(PydanticCustomError):
        check_key(key)


@pytest.mark.parametrize("key", [*TAKEN, "a-key", "a-fd", "a-read-fd", "a-write-fd"])
def test_keys_that_collide_in_the_environment(key: str) -> None:
    assert check_key(key) == key
    with pytest.raises(PydanticCustomError):
        check_object_key(key)


def test_variables_and_environment() -> None:
    assert check_variable("Rate_2") == "Rate_2"
    assert check_environment("any thing") == "any thing"
    for name in ("2a", "a-b", "cwd", "replica", ""):
        with pytest.raises(PydanticCustomError):
            check_variable(name)
    for name in ("", "A=B", "ORCHESTRA_X", "LISTEN_FDS", "NOTIFY_SOCKET", "WATCHDOG_USEC", "a\0"):
        with pytest.raises(PydanticCustomError):
            check_environment(name)


@pytest.mark.parametrize(
    ("file", "folder", "name"),
    [
        ("orchestra.yaml", "word-count", "word-count"),
        ("ring.orchestra.yaml", "x", "ring"),
        ("x.yaml", "My Project!", "my-project"),
        ("orchestra.json", "9lives", "orchestra"),
        ("orchestra.yaml", "", "orchestra"),
        ("orchestra.yaml", "x" * 50, "x" * 31),
    ],
)
def test_default_names(file: str, folder: str, name: str) -> None:
    assert default_name(file, folder) == name
