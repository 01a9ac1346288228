"""Objects by themselves: which model reads them, what their keys say about each other."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from orchestra.kinds import Kind, OnDown
from orchestra.topology.nodes import Map, Scalar, Source
from orchestra.topology.objectmodels import (
    EXTERNAL_NEVER,
    OBJECT_MODELS,
    Fifo,
    FileSegment,
    Fill,
    Ftok,
    PosixQueue,
    PosixSegment,
    PosixSemaphore,
    SysvQueue,
    SysvSemaphore,
    default_family,
    family_in,
)

EVERY = [model for models in OBJECT_MODELS.values() for model in models.values()]


def refusals(model: type[BaseModel], data: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return [str((error.get("ctx") or {}).get("message", error["msg"])) for error in caught.value.errors()]


@pytest.mark.parametrize("section", OBJECT_MODELS)
def test_the_default_family_needs_no_word(section: str) -> None:
    default = OBJECT_MODELS[section][default_family(section)]
    assert not default.model_fields["family"].is_required()
    others = [model for model in OBJECT_MODELS[section].values() if model is not default]
    assert all(model.model_fields["family"].is_required() for model in others)


def test_the_family_of_what_is_not_read_yet() -> None:
    source = Source("x", "/", "")
    node = Map(source, 1, 1)
    node["family"] = Scalar(source, 1, 1, 4, "sysv", plain=True)
    family = family_in("posix")
    assert [family(item) for item in ({}, {"family": "file"}, node, Fifo.model_construct(), 3)] == [
        "posix",
        "file",
        "sysv",
        "fifo",
        "posix",
    ]


@pytest.mark.parametrize("model", EVERY, ids=lambda model: model.__name__)
def test_an_external_object_is_named_and_left_alone(model: Any) -> None:
    assert model.contradictions([model.address] if model.address else [], external=True) == []
    given = {model.address, *EXTERNAL_NEVER}
    assert [item.at for item in model.contradictions(given, external=True)] == list(EXTERNAL_NEVER)
    nameless = [item.code for item in model.contradictions([], external=True)]
    assert nameless == (["missing_key"] if model.address else [])


@pytest.mark.parametrize("key", ["auto", "private", None])
def test_an_external_object_of_system_v_needs_a_key_that_others_know(key: str | None) -> None:
    data = {"family": "sysv", "external": True, **({"key": key} if key else {"key": "auto"})}
    (message,) = refusals(SysvQueue, data)
    assert message == f"an external object cannot be found by `key: {key or 'auto'}`"
    assert SysvQueue.model_validate({**data, "key": 7}).key == 7
    found = SysvQueue.model_validate({**data, "key": {"path": "f", "project": "A"}}).key
    assert isinstance(found, Ftok)
    assert (found.path, found.project) == ("f", 65)


def test_a_capacity_is_said_once() -> None:
    for other in ("max_messages", "message_size"):
        (message,) = refusals(SysvQueue, {"family": "sysv", "capacity": 9, other: 9})
        assert "say the same thing" in message


def test_a_set_is_one_or_several() -> None:
    assert refusals(SysvSemaphore, {"family": "sysv", "value": 0, "values": [1]})
    assert refusals(SysvSemaphore, {"family": "sysv", "values": []})
    assert SysvSemaphore.model_validate({"family": "sysv", "values": [0]}).members == (0,)


@pytest.mark.parametrize(
    ("fill", "size"),
    [({"text": "é"}, 2), ({"text": "\udcff"}, 1), ({"hex": "00 ff"}, 2), ({"text": ""}, 1), ({"hex": ""}, 1)],
)
def test_a_fill_may_take_the_whole_segment_and_no_byte_more(fill: dict[str, str], size: int) -> None:
    assert PosixSegment.model_validate({"size": size, "fill": fill}).size == size
    if size > 1:
        (message,) = refusals(PosixSegment, {"size": size - 1, "fill": fill})
        assert message == f"{size} bytes do not fit into a segment of {size - 1}"


def test_a_file_of_unknown_length_may_fit() -> None:
    fill = PosixSegment.model_validate({"size": 1, "fill": {"file": "x"}}).fill
    assert isinstance(fill, Fill)
    assert fill.file == "x"


@pytest.mark.parametrize("given", [[], ["text", "hex"], ["text", "hex", "file"]])
def test_a_fill_is_one_of_three(given: list[str]) -> None:
    assert [item.code for item in Fill.contradictions(given, external=False)] == ["missing_key"]


def test_limits_of_numbers_and_names() -> None:
    assert PosixQueue.model_validate({"max_messages": 65536}).max_messages == 65536
    assert refusals(PosixQueue, {"max_messages": 65537})
    assert PosixSemaphore.model_validate({"value": 2**31 - 1, "name": "/" + "s" * 251}).value == 2**31 - 1
    assert refusals(PosixSemaphore, {"value": 2**31})
    assert refusals(PosixSemaphore, {"name": "/" + "s" * 252})


def test_what_is_left_when_a_run_ends() -> None:
    kept = {
        model
        for model in EVERY
        if "on_down" in model.model_fields and model.model_fields["on_down"].default is OnDown.KEEP
    }
    assert kept == {FileSegment}
    nameless = {model for model in EVERY if "on_down" not in model.model_fields}
    assert {(model.kind, model.address) for model in nameless} == {(Kind.SEGMENT, ""), (Kind.PIPE, "")}
