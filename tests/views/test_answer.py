from __future__ import annotations

import json

from orchestra.views.answer import hex_key, octal, render_json


def test_the_schema_comes_first_and_names_command_and_version() -> None:
    text = render_json("ps", {"b": 1, "a": None})
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["schema", "b", "a"]
    assert json.loads(text)["schema"] == "orchestra/ps/1"


def test_any_name_can_be_written_on_any_terminal() -> None:
    text = render_json("x", {"name": "caf\udce9 \x1b[2J ü"})
    assert text.isascii()
    assert json.loads(text)["name"] == "caf\udce9 \x1b[2J ü"


def test_modes_and_keys_read_as_in_the_file() -> None:
    assert [octal(0o600), octal(0), octal(None)] == ["0o600", "0o000", None]
    assert [hex_key(0x4F524331), hex_key(-1), hex_key(0), hex_key(None)] == [
        "0x4f524331",
        "0xffffffff",
        "0x00000000",
        None,
    ]
