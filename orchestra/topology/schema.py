"""JSON Schema (draft 2020-12) of the topology file, made from the models, for editors and other programs.

It accepts what the loader accepts: short forms, `x-*`, nothing at all for an object with defaults, and a text with
`${…}` wherever a value may be filled in. What only the loader can see (names that do not exist, cycles, a plain
`0600`) it lets pass. A corpus of good and bad files in the tests keeps both in step.
"""

from __future__ import annotations

import json
from typing import Any

from orchestra.topology.interpolation import SECTIONS
from orchestra.topology.keys import EXTENSIONS, KEY_PATTERN, TAKEN, TAKEN_ENDINGS, VARIABLE_PATTERN
from orchestra.topology.model import Topology
from orchestra.topology.objectmodels import EXTERNAL_NEVER, MADE_BY_NEVER, OBJECT_MODELS, default_family
from orchestra.topology.processmodels import READY_KINDS, WAITS
from orchestra.topology.processvalues import LIMIT_NAMES
from orchestra.topology.shapes import SUBSTITUTION, TEXT

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "orchestra topology, version 1"

_Schema = dict[str, Any]
_SINGULAR = {"queues": "Queue", "segments": "Segment", "semaphores": "Semaphore", "pipes": "Pipe"}


def json_schema() -> dict[str, Any]:
    """Return the schema; the same for every call."""
    schema = Topology.model_json_schema(by_alias=True, mode="validation")
    definitions: dict[str, _Schema] = schema.pop("$defs")
    properties: dict[str, _Schema] = schema["properties"]
    for definition in (schema, *definitions.values()):
        _tidy(definition)
    for section in SECTIONS:
        name = _SINGULAR[section]
        definitions[name] = _object_of(section)
        _section(properties[section], {"$ref": f"#/$defs/{name}"}, _object_names())
    _section(properties["processes"], {"$ref": "#/$defs/Process"}, {"pattern": KEY_PATTERN})
    _section(properties["variables"], properties["variables"]["additionalProperties"], {"pattern": VARIABLE_PATTERN})
    properties["name"] = {**properties["name"], "anyOf": [{"pattern": KEY_PATTERN}, SUBSTITUTION]}
    environment = definitions["Process"]["properties"]["environment"]
    _section(environment, environment["additionalProperties"], {"pattern": "^(?!ORCHESTRA_|LISTEN_|WATCHDOG_)[^=]+$"})
    _add_process(definitions)
    _add_contradictions(definitions)
    ordered = {name: definitions[name] for name in sorted(definitions)}
    return {"$schema": DRAFT, "title": TITLE, **schema, "$defs": ordered}


def schema_text() -> str:
    """Return the schema as the text that is published."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(definition: _Schema) -> None:
    """Remove what pydantic adds for programs, and let `x-*` in where the model does."""
    definition.pop("title", None)
    properties = definition["properties"]
    if properties.pop(EXTENSIONS, None) is not None:
        definition["patternProperties"] = {"^x-": {}}
    for key, item in list(properties.items()):
        properties[key] = _plain(item)


def _plain(item: _Schema) -> _Schema:
    """Drop titles, and the null that stands for "not given": the file leaves the key out."""
    item = {key: value for key, value in item.items() if key != "title"}
    if "default" in item and item["default"] is None:
        del item["default"]
        forms = [form for form in item["anyOf"] if form != {"type": "null"}]
        rest = {key: value for key, value in item.items() if key != "anyOf"}
        item = {**forms[0], **rest} if len(forms) == 1 else {**rest, "anyOf": forms}
    return item


def _section(section: _Schema, entry: _Schema, names: _Schema) -> None:
    section["type"] = ["object", "null"]
    section["propertyNames"] = names
    section["additionalProperties"] = entry


def _object_names() -> _Schema:
    endings = "|".join(TAKEN_ENDINGS)
    return {"pattern": KEY_PATTERN, "not": {"anyOf": [{"enum": list(TAKEN)}, {"pattern": f"({endings})$"}]}}


def _object_of(section: str) -> _Schema:
    """Return the choice of a model by `family`; as if/then, because editors then name the key that is wrong."""
    families = OBJECT_MODELS[section]
    usual = default_family(section)
    choices = []
    for family, model in families.items():
        condition: _Schema = {"type": "object", "properties": {"family": {"const": family}}}
        if family != usual:
            condition["required"] = ["family"]
        choices.append({"if": condition, "then": {"$ref": f"#/$defs/{model.__name__}"}})
    words = {"anyOf": [{"enum": list(families)}, SUBSTITUTION]}
    nothing = ["object"] if section == "segments" else ["object", "null"]
    return {
        "description": f"One of the {section}; `family` says which interface (default {usual}).",
        "type": nothing,
        "properties": {"family": words},
        "allOf": choices,
    }


def _add_contradictions(definitions: dict[str, _Schema]) -> None:
    """Say what `contradictions` of the models says, as far as a schema can."""
    models = [model for families in OBJECT_MODELS.values() for model in families.values()]
    for model in models:
        definition = definitions[model.__name__]
        sized, external = "size" in model.model_fields, "external" in model.model_fields
        rules: list[_Schema] = []
        if external and model.address not in definition.get("required", []):
            rules.append({"if": _external(), "then": {"required": [model.address]}})
        if external:
            never = [{"required": [key]} for key in EXTERNAL_NEVER if key in model.model_fields]
            rules.append({"if": _external(), "then": {"not": {"anyOf": never}}})
        if external:
            never = [{"required": [key]} for key in MADE_BY_NEVER if key in model.model_fields]
            wants = {"required": [model.address], "not": {"anyOf": never}}
            rules.append({"if": {"required": ["made_by"]}, "then": wants})
        if sized and external:
            others = {"anyOf": [_external(), {"required": ["made_by"]}]}
            rules.append({"if": others, "else": {"required": ["size"]}})
        elif sized:
            rules.append({"required": ["size"]})
        if rules:
            definition["allOf"] = rules
    definitions["SysvQueue"]["allOf"] += [
        {"not": {"required": ["capacity", "max_messages"]}},
        {"not": {"required": ["capacity", "message_size"]}},
    ]
    definitions["SysvSemaphore"]["allOf"].append({"not": {"required": ["value", "values"]}})
    definitions["Fill"] |= {"minProperties": 1, "maxProperties": 1}


def _add_process(definitions: dict[str, _Schema]) -> None:
    """Say what the models of processes say in code: short forms, and keys that do not go together."""
    process = definitions["Process"]
    properties = process["properties"]
    names = {"type": "array", "items": TEXT, "uniqueItems": True}
    depends = properties["depends_on"]
    mapping = {"type": "object", "additionalProperties": depends.pop("additionalProperties")}
    del depends["type"]
    depends["anyOf"] = [mapping, names, {"type": "null"}]
    _section(properties["limits"], properties["limits"]["additionalProperties"], {"enum": list(LIMIT_NAMES)})
    for key in ("wait_for", "arguments"):
        properties[key]["type"] = ["object", "null"]
    process["oneOf"] = [{"required": ["command"]}, {"required": ["function"]}]
    process["dependentRequired"] = {"arguments": ["function"], "python": ["function"]}
    definitions["Ready"]["oneOf"] = [{"required": [kind]} for kind in READY_KINDS]
    for name, keys in (("Waiting", WAITS), ("Bounds", ("min", "max")), ("ValueBounds", ("min", "max"))):
        definitions[name]["anyOf"] = [{"required": [key]} for key in keys]
    definitions["Limit"]["minProperties"] = 1


def _external() -> _Schema:
    return {"properties": {"external": {"anyOf": [{"const": True}, SUBSTITUTION]}}, "required": ["external"]}
