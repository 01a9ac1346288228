"""How the fields of a process read what stands in the file; the words of what they refuse are in the corpus."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from orchestra.topology import processvalues as pv
from orchestra.topology.nodes import Scalar, Source

SOURCE = Source("x.yaml", "/w", "")


def plain(text: str, *, substituted: bool = False) -> Scalar:
    scalar = Scalar(SOURCE, 1, 1, len(text), text, plain=True)
    scalar.substituted = substituted
    return scalar


def quoted(text: str, *, substituted: bool = False) -> Scalar:
    scalar = Scalar(SOURCE, 1, 1, len(text), text, plain=False)
    scalar.substituted = substituted
    return scalar


def code(read: Callable[[Any], Any], value: Any) -> str:
    with pytest.raises(PydanticCustomError) as caught:
        read(value)
    return caught.value.type


def test_the_limits_are_those_of_this_kernel() -> None:
    known = {name.removeprefix("RLIMIT_").lower() for name in vars(resource) if name.startswith("RLIMIT_")}
    assert set(pv.LIMIT_NAMES) == known - {"ofile"}  # another name of nofile


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        (plain("1024"), 1024), (plain("0"), 0), (plain("64KiB"), 65536), (quoted("64K"), 65536), (0, 0), (7, 7),
        (plain("unlimited"), -1), (plain("-1"), -1), (-1, -1), ("unlimited", -1), (quoted("12", substituted=True), 12),
    ],
)  # fmt: skip
def test_limits(value: Any, limit: int) -> None:
    assert pv.read_limit(value) == limit


@pytest.mark.parametrize("value", [plain("many"), plain("true"), plain("-2"), plain(""), [1], plain("1.5"), True, None])
def test_what_is_no_limit(value: Any) -> None:
    assert code(pv.read_limit, value) == "bad_value"


@pytest.mark.parametrize("name", ["a:b", "a.b:c", "a.b:c.d", "_a:_b"])
def test_functions(name: str) -> None:
    assert pv.read_function(name) == name


@pytest.mark.parametrize("name", ["a", "a.b", "a:", ":b", "a:b:c", "a.py:b", "./a:b", "a-b:c", "a:b()", "a b:c"])
def test_what_names_no_function(name: str) -> None:
    assert code(pv.read_function, name) == "bad_value"


def test_arguments_are_typed_as_yaml_has_it() -> None:
    node = {"a": plain("1"), "b": quoted("1"), "c": plain("true"), "d": plain("~"), "e": [plain("1.5"), plain("x")],
            "f": {"g": plain("0x10")}, "h": quoted("1", substituted=True)}  # fmt: skip
    assert pv.read_arguments(node) == {
        "a": 1, "b": "1", "c": True, "d": None, "e": [1.5, "x"], "f": {"g": 16}, "h": 1,
    }  # fmt: skip
    assert pv.read_arguments(None) == pv.read_arguments(plain("")) == {}
    assert pv.read_arguments({"a": (1, "x")}) == {"a": [1, "x"]}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([1], "wrong_type"), (plain("x"), "wrong_type"), ({"a-b": 1}, "bad_name"), ({"class": 1}, "bad_name"),
        ({"": 1}, "bad_name"), ({"a": [plain("0600")]}, "leading_zero"),
    ],
)  # fmt: skip
def test_what_cannot_be_arguments(value: Any, why: str) -> None:
    assert code(pv.read_arguments, value) == why


@pytest.mark.parametrize(
    ("text", "read"), [("fifo:1", "fifo:1"), ("rr:099", "rr:99"), ("idle", "idle"), ("other", "other")]
)
def test_schedulers(text: str, read: str) -> None:
    assert pv.read_scheduler(text) == read


@pytest.mark.parametrize(
    "text", ["fifo", "fifo:", "fifo:0", "fifo:100", "rr:x", "idle:1", "FIFO:1", "deadline", "", "SCHED_RR:1"]
)
def test_what_is_no_scheduler(text: str) -> None:
    assert code(pv.read_scheduler, text) == "bad_value"


def test_processors() -> None:
    assert pv.read_cpus([plain("3"), plain("0"), plain("3")]) == (0, 3)
    assert pv.read_one_cpus(plain("2")) == (2,)
    assert pv.read_one_cpus((1, 0)) == (0, 1)
    assert code(pv.read_cpus, []) == "bad_value"
    assert code(pv.read_cpus, plain("0")) == code(pv.read_cpus, {"a": 1}) == "wrong_type"
    assert code(pv.read_cpus, [plain("-1")]) == code(pv.read_cpus, [plain("8192")]) == "out_of_range"


def test_patterns() -> None:
    assert pv.read_pattern("^ready (.*)$") == "^ready (.*)$"
    assert code(pv.read_pattern, "(") == code(pv.read_pattern, "") == "bad_value"


def test_only_true_means_something() -> None:
    assert pv.read_true(plain("true"))
    assert code(pv.read_true, plain("false")) == "bad_value"


def test_huge_pages() -> None:
    assert pv.read_huge_pages(plain("2MiB")) == 2 * 2**20
    assert code(pv.read_huge_pages, plain("3MiB")) == code(pv.read_huge_pages, plain("4096")) == "bad_size"
    assert code(pv.read_huge_pages, plain("true")) == "wrong_type"


def test_files() -> None:
    assert pv.read_files(plain("a")) == ("a",)
    assert pv.read_files([plain("a"), quoted("b c")]) == ("a", "b c")
    assert pv.read_files(()) == ()
    assert code(pv.read_files, [plain("")]) == "wrong_type"


def test_how_many_files_stay() -> None:
    assert pv.read_keep(plain("all")) is None
    assert pv.read_keep(None) is None
    assert pv.read_keep(plain("3")) == 3
    assert code(pv.read_keep, plain("0")) == code(pv.read_keep, plain("some")) == "bad_value"


def test_names_of_limits() -> None:
    assert pv.check_limit_name("nofile") == "nofile"
    for name in ("RLIMIT_NOFILE", "LimitNOFILE", "nofiles", "locks", ""):
        assert code(pv.check_limit_name, name) == "unknown_key"
