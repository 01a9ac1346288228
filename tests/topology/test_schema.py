"""The published schema; that it agrees with the loader is shown by the corpus."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from orchestra.topology.findings import keys_of
from orchestra.topology.model import Process, Topology
from orchestra.topology.objectmodels import OBJECT_MODELS, Fill, Ftok
from orchestra.topology.processmodels import (
    Dependency,
    Limit,
    Log,
    Ready,
    Restart,
    Rotate,
    Stop,
    ValueBounds,
    Waiting,
)
from orchestra.topology.schema import json_schema, schema_text

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_its_text_is_always_the_same() -> None:
    assert schema_text() == schema_text()
    assert json.loads(schema_text()) == SCHEMA


def test_every_key_is_described() -> None:
    models: list[type[BaseModel]] = [
        Process,
        Stop,
        Ready,
        Waiting,
        ValueBounds,
        Restart,
        Dependency,
        Limit,
        Log,
        Rotate,
    ]
    models += [Fill, Ftok]
    models += [model for section in OBJECT_MODELS.values() for model in section.values()]
    for model in models:
        definition = SCHEMA["$defs"][model.__name__]
        assert sorted(definition["properties"]) == sorted(keys_of(model))
        assert all(item.get("description") for item in definition["properties"].values()), model
        assert definition["description"]
    assert sorted(SCHEMA["properties"]) == sorted(keys_of(Topology))


def test_nothing_of_the_programs_inside_shows() -> None:
    assert "x-*" not in schema_text()
    assert "pydantic" not in schema_text()


@pytest.mark.parametrize(
    ("entry", "fits"),
    [
        ({}, True),
        (None, True),
        ({"family": "sysv", "capacity": "16KiB"}, True),
        ({"family": "${kind}", "capacity": 3}, True),
        ({"capacity": 3}, False),
        ({"family": "sysv", "name": "/x"}, False),
        ({"family": "rabbit"}, False),
        ({"max_messages": "${n}"}, True),
        ({"max_messages": "many"}, False),
        ({"x-anything": {"a": 1}}, True),
    ],
)
def test_queues(entry: Any, fits: bool) -> None:
    assert VALIDATOR.is_valid({"version": 1, "queues": {"q": entry}}) == fits


@pytest.mark.parametrize("key", ["version", "a-fd", "a_b", "A", ""])
def test_names_that_are_refused(key: str) -> None:
    assert not VALIDATOR.is_valid({"version": 1, "queues": {key: {}}})


def test_an_editor_names_the_wrong_key() -> None:
    data = {"version": 1, "queues": {"q": {"family": "sysv", "capacty": 3}}}
    messages = [error.message for error in VALIDATOR.iter_errors(data)]
    assert len(messages) == 1
    assert "'capacty'" in messages[0]
