"""schema: what editors check with."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest


def test_schema_is_a_json_schema_that_the_example_meets(run: Any) -> None:
    schema = run("schema").json
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"version": 1, "processes": {"a": {"command": ["true"]}}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "services": {}}, schema)
