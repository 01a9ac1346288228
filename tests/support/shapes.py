"""Shapes of JSON answers, for jsonschema."""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string"}
MAYBE_TEXT = {"type": ["string", "null"]}
NUMBER = {"type": "integer"}
MAYBE_NUMBER = {"type": ["integer", "null"]}
TIME = {"type": ["string", "null"], "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}


def exactly(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


HOLDERS = {"type": "array", "items": exactly(pid=NUMBER, command=TEXT, how=TEXT)}
KNOWN_HOLDERS = {
    "type": "array",
    "items": exactly(pid=NUMBER, command=TEXT, how=TEXT, started_at=TIME, user=MAYBE_TEXT, unit=MAYBE_TEXT),
}
