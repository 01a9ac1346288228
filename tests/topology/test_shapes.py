"""The schema of each value, against the reader of the same value: what one refuses the other refuses, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from pydantic_core import PydanticCustomError

from orchestra.topology import shapes, values
from orchestra.topology.fields import KeyForm
from orchestra.topology.nodes import Scalar, Source

Reader = Callable[[Any], Any]


def accepts(reader: Reader, value: Any) -> bool:
    """Whether a reader takes a JSON value, read as from a file."""
    if isinstance(value, str):
        node = Scalar(Source("x.json", "/", ""), 1, 1, 0, value, plain=False)
    elif isinstance(value, bool | int | float) or value is None:
        words = {True: "true", False: "false", None: "null"}
        text = words[value] if value is None or isinstance(value, bool) else repr(value)
        node = Scalar(Source("x.json", "/", ""), 1, 1, 0, text, plain=True)
    else:
        node = value
    try:
        reader(node)
    except PydanticCustomError:
        return False
    return True


MORE_SIZES = ["9" * 18, "9" * 20, "1 0", "1TiB", "\u0663", True, None]
SIGNALS = ["SIGTERM", "TERM", "term", "SIGHUP", 1, 15, 64, 0, 65, -1, "", "SIG TERM", "-1", 1.5, True, None]
CASES: dict[str, tuple[shapes.Schema, Reader, list[Any]]] = {
    "boolean": (shapes.BOOLEAN, values.read_bool, [True, False, 0, 1, "true", "yes", None, ""]),
    "size": (
        shapes.SIZE,
        values.read_size,
        [1, 0, -1, 1.5, "1", "0", "00", "1B", "64KiB", " 64 KiB ", "1K", "1k", "1kb", "1.5MiB", "KiB", "", "-1"],
    ),
    "size, too": (shapes.SIZE, values.read_size, MORE_SIZES),
    "duration": (
        shapes.DURATION,
        values.read_duration,
        [0, 5, 1.5, -1, "5s", "200ms", "1m 30s", "1h", "5", "", "s", "1.s", ".5s", "1d", "1.5.2s", True, None, " 5 s "],
    ),
    "mode": (
        shapes.MODE,
        values.read_mode,
        [
            "0600",
            "600",
            "0o600",
            "0",
            "7777",
            "0777",
            "00777",
            "000777",
            "0o0777",
            "888",
            "",
            "0o",
            "rw",
            None,
            True,
            1.5,
        ],
    ),
    "signal": (shapes.SIGNAL, values.read_signal, SIGNALS),
    "success": (shapes.SUCCESS, values.read_success, [0, 255, 256, -1, "SIGTERM", "TERM", "0", "", True, None, 1.5]),
    "owner": (shapes.OWNER, values.read_owner, [0, 1000, -1, "root", "", True, None, 1.5]),
    "posix name": (
        shapes.POSIX_NAME,
        values.posix_name(255),
        ["/a", "/.a", "/...", "/", "/.", "/..", "a", "", "/a/b", "//a", "/" + "a" * 255, "/" + "a" * 256, 3, None],
    ),
    "key": (
        shapes.IPC_KEY,
        values.read_ipc_key(KeyForm),
        ["auto", "private", "Auto", 1, 0, -1, 2**32 - 1, 2**32, "0x1", "0xffffffff", "0x100000000", "0x", "12", None],
    ),
    "project": (shapes.PROJECT, values.read_project, [1, 255, 0, 256, "A", "", "AB", "1", None, True]),
    "hex": (shapes.HEX, values.read_hex, ["", "00ff", "00 FF", " 0 0 ", "0", "0x00", "zz", None, True]),
    "whole": (shapes.whole(2, 5), values.whole(2, 5), [1, 2, 5, 6, "3", 2.5, True, None]),
    "word": (shapes.words("auto", "private"), values.choice(KeyForm, "key"), ["auto", "AUTO", "", 3, None]),
    "zeros": (shapes.FILL_ZEROS, values.read_zeros, ["zeros", "Zeros", "", 0, None]),
    "text": (shapes.TEXT, values.read_text, ["", "a", 1, 1.5, True, None]),
    "path": (shapes.PATH, values.read_path, ["a", "", 1, None]),
    "single": (shapes.SINGLE, values.read_source_text, ["", "a", 1, 1.5, True, None]),
}
EACH = [(name, value) for name, (_, _, found) in CASES.items() for value in found]


@pytest.mark.parametrize(("name", "value"), EACH)
def test_schema_and_reader_agree(name: str, value: Any) -> None:
    schema, reader, _ = CASES[name]
    fits = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert fits == accepts(reader, value)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"zeros"}))
def test_a_text_with_a_variable_in_it_fits_everywhere(name: str) -> None:
    assert jsonschema.Draft202012Validator(CASES[name][0]).is_valid("/${x}")
    assert jsonschema.Draft202012Validator(CASES[name][0]).is_valid("${x}")


@pytest.mark.parametrize(("command", "fits"), [("cat", True), ("", False), ([], False), (["a", 1, True], True)])
def test_commands(command: Any, fits: bool) -> None:
    assert jsonschema.Draft202012Validator(shapes.COMMAND).is_valid(command) == fits
    assert not jsonschema.Draft202012Validator(shapes.COMMAND).is_valid([["a"]])


def test_words_of_a_schema_are_carried() -> None:
    assert shapes.or_substitution({"const": 1}, examples=[1]) == {
        "anyOf": [{"const": 1}, shapes.SUBSTITUTION],
        "examples": [1],
    }
