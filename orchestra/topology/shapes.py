"""JSON Schema of the values that have readers of their own; schema.py puts the whole together.

Every value may also be a text with `${…}` in it, which is read as the field's type once it is filled in.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

SUBSTITUTION: Schema = {"type": "string", "pattern": r"\$\{"}


def or_substitution(*shapes: Schema, **words: Any) -> Schema:
    """Return a schema that accepts one of `shapes`, or a text with `${…}` in it."""
    return {"anyOf": [*shapes, SUBSTITUTION], **words}


TEXT: Schema = {"type": "string"}
SINGLE: Schema = {"type": ["string", "number", "boolean"]}  # keeps its source text
PATH: Schema = {"type": "string", "minLength": 1}
BOOLEAN = or_substitution({"type": "boolean"})
SIZE = or_substitution(
    {"type": "integer", "minimum": 1},
    {"type": "string", "pattern": r"^\s*(?=.*[1-9])[0-9]{1,19}\s*(B|K|KiB|M|MiB|G|GiB)?\s*$"},
    examples=["64KiB", 4096],
)
DURATION = or_substitution(
    {"type": "number", "minimum": 0},
    {"type": "string", "pattern": r"^\s*([0-9]{1,12}(\.[0-9]{1,9})?\s*(ms|s|m|h)\s*)+$"},
    examples=["5s", "200ms"],
)
POSITIVE_DURATION = or_substitution(
    {"type": "number", "exclusiveMinimum": 0},
    {"type": "string", "pattern": r"^(?=.*[1-9])\s*([0-9]{1,12}(\.[0-9]{1,9})?\s*(ms|s|m|h)\s*)+$"},
    examples=["5s", "200ms"],
)
MODE = or_substitution(
    {"type": "integer", "minimum": 0, "maximum": 0o777},
    {"type": "string", "pattern": "^(0o)?(?=[0-7]{1,5}$)0*[0-7]{1,3}$"},
    examples=["0o600"],
)
UMASK: Schema = {**MODE, "examples": ["0o022"]}
SIGNAL = or_substitution(
    {"type": "integer", "minimum": 1, "maximum": 64},
    {"type": "string", "pattern": "^(?i:SIG)?[A-Za-z0-9]+$"},
    examples=["SIGTERM"],
)
SUCCESS = or_substitution(
    {"type": "integer", "minimum": 0, "maximum": 255},
    {"type": "string", "pattern": "^(SIG|sig)?[A-Za-z]+[0-9]?$"},
)
OWNER: Schema = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "minLength": 1}]}
POSIX_NAME = or_substitution({"type": "string", "pattern": r"^/(?!\.{1,2}$)[^/]{1,255}$"}, examples=["/jobs"])
IPC_KEY = or_substitution(
    {"enum": ["auto", "private"]},
    {"type": "integer", "minimum": 1, "maximum": 0xFFFFFFFF},
    {"type": "string", "pattern": "^0x[0-9a-fA-F]{1,8}$"},
)
PROJECT = or_substitution(
    {"type": "integer", "minimum": 1, "maximum": 255}, {"type": "string", "minLength": 1, "maxLength": 1}
)
COMMAND: Schema = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": SINGLE, "minItems": 1}],
    "examples": [["python3", "worker.py"]],
}
TRUE = or_substitution({"const": True})
FUNCTION = or_substitution(
    {
        "type": "string",
        "pattern": r"^(?!.*\.py:)[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_.]*$",
    },
    examples=["pipeline.workers:consume"],
)
ARGUMENTS: Schema = {
    "type": ["object", "null"],
    "propertyNames": {"pattern": "^[^0-9\\W]\\w*$"},
    "additionalProperties": {},
}
SCHEDULER = or_substitution(
    {"enum": ["batch", "idle", "other"]},
    {"type": "string", "pattern": "^(fifo|rr):0{0,2}[1-9][0-9]?$"},
    examples=["fifo:80", "rr:10", "batch", "idle", "other"],
)
_CPU: Schema = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 8191}, SUBSTITUTION]}
CPUS: Schema = {"type": "array", "items": _CPU, "minItems": 1}
ONE_CPUS: Schema = {"anyOf": [_CPU, CPUS]}
LIMIT = or_substitution(
    {"type": "integer", "minimum": -1},
    {"const": "unlimited"},
    {"type": "string", "pattern": r"^\s*(?=.*[1-9])[0-9]{1,19}\s*(B|K|KiB|M|MiB|G|GiB)?\s*$"},
    examples=[1024, "64MiB", "unlimited"],
)
KEEP = or_substitution({"type": "integer", "minimum": 1}, {"enum": ["all", None]}, examples=["all", 10])
FILES: Schema = {"anyOf": [PATH, {"type": "array", "items": PATH}]}
HEX = or_substitution(
    {"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\s*([0-9a-fA-F]\s*[0-9a-fA-F]\s*)*$"}
)
FILL_ZEROS: Schema = {"const": "zeros"}


def whole(low: int, high: int) -> Schema:
    """Return the schema of a whole number."""
    return or_substitution({"type": "integer", "minimum": low, "maximum": high})


def words(*names: str) -> Schema:
    """Return the schema of one word out of several."""
    return or_substitution({"enum": list(names)})
