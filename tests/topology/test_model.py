"""The models by themselves: closed, frozen, with the defaults of the manual."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from orchestra.kinds import OBJECT_KINDS, Access, Family, Kind, OnDown
from orchestra.topology.fields import Condition, Escalate
from orchestra.topology.model import Process, Topology
from orchestra.topology.objectmodels import (
    IN_WORDS,
    OBJECT_MODELS,
    FileSegment,
    PosixQueue,
    PosixSegment,
    SysvQueue,
    SysvSemaphore,
)
from orchestra.topology.processmodels import Dependency
from orchestra.topology.references import fields_of


def test_every_kind_of_object_has_a_model() -> None:
    models = {(model.family_name, model.kind) for models in OBJECT_MODELS.values() for model in models.values()}
    assert models == set(OBJECT_KINDS) == set(IN_WORDS)


def test_the_family_in_the_file_chooses_the_model() -> None:
    for models in OBJECT_MODELS.values():
        for family, model in models.items():
            assert model.family_name == family


def test_every_model_has_fields_for_placeholders() -> None:
    made = {
        "queues": {"a": {}, "b": {"family": "sysv"}},
        "segments": {
            "c": {"size": 1},
            "d": {"size": 1, "family": "sysv"},
            "e": {"size": 1, "family": "file", "path": "x"},
            "f": {"size": 1, "family": "memfd"},
        },
        "semaphores": {"g": {}, "h": {"family": "sysv"}},
        "pipes": {"i": {}, "j": {"family": "fifo"}},
    }
    topology = Topology.model_validate({"version": 1, **made})
    assert all(fields_of(item) for _, _, item in topology.objects())
    assert len(list(topology.objects())) == len(OBJECT_KINDS)


def test_defaults() -> None:
    process = Process.model_validate({"command": ["cat"]})
    assert (process.replicas, process.service, process.success) == (1, False, (0,))
    assert (process.stop.signal, process.stop.grace, process.escalate) == ("SIGTERM", 5.0, Escalate.STOP_ALL)
    queue = PosixQueue()
    assert (queue.mode, queue.on_down, queue.max_messages, queue.message_size) == (0o600, OnDown.REMOVE, 10, 8192)
    assert FileSegment(family="file", path="x", size=1).on_down is OnDown.KEEP  # type: ignore[arg-type]


def test_models_are_closed() -> None:
    with pytest.raises(ValidationError):
        PosixQueue(colour="red")  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Topology.model_validate({"version": 1, "extensions": {}})


def test_models_are_frozen_all_the_way() -> None:
    topology = Topology.model_validate({"version": 1, "processes": {"a": {"command": ["cat"], "uses": ["q"]}}})
    with pytest.raises(ValidationError):
        topology.name = "x"
    with pytest.raises(TypeError):
        topology.processes["b"] = topology.processes["a"]  # type: ignore[index]
    with pytest.raises(TypeError):
        topology.processes["a"].uses["q"] = Access.READ  # type: ignore[index]


def test_extensions_are_carried() -> None:
    queue = PosixQueue.model_validate({"x-a": [1, {"b": None}], "mode": 0o644})
    assert dict(queue.extensions) == {"x-a": [1, {"b": None}]}


def test_short_forms_mean_the_long_ones() -> None:
    short = Process.model_validate({"command": "cat a", "uses": ["q"], "depends_on": ["b"]})
    long = Process.model_validate(
        {"command": ["cat", "a"], "uses": {"q": "read-write"}, "depends_on": {"b": {"condition": "ready"}}}
    )
    assert short == long
    assert short.depends_on == {"b": Dependency(condition=Condition.READY)}


@pytest.mark.parametrize(
    ("data", "held"),
    [
        ({}, None),
        ({"capacity": 5}, 5),
        ({"max_messages": 3, "message_size": 7}, 21),
        ({"max_messages": 3}, 3 * 8192),
        ({"message_size": 7}, 70),
    ],
)
def test_capacity_of_a_system_v_queue(data: dict[str, Any], held: int | None) -> None:
    assert SysvQueue.model_validate({"family": "sysv", **data}).bytes_held == held


def test_members_of_a_set() -> None:
    assert SysvSemaphore.model_validate({"family": "sysv"}).members == (0,)
    assert SysvSemaphore.model_validate({"family": "sysv", "value": 3}).members == (3,)
    assert SysvSemaphore.model_validate({"family": "sysv", "values": [1, 2]}).members == (1, 2)


@pytest.mark.parametrize(
    "data",
    [
        {"size": 2, "fill": {"text": "abc"}},
        {"size": 2, "fill": {"hex": "000000"}},
        {"size": 2, "fill": {}},
        {"size": 2, "fill": {"text": "a", "hex": "00"}},
        {},
        {"external": True},
        {"external": True, "name": "/x", "fill": "zeros"},
    ],
)
def test_what_a_segment_cannot_be(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PosixSegment.model_validate(data)


def test_objects_in_order() -> None:
    topology = Topology.model_validate({"version": 1, "semaphores": {"b": {}}, "queues": {"c": {}, "a": {}}})
    assert [(section, key) for section, key, _ in topology.objects()] == [
        ("queues", "c"),
        ("queues", "a"),
        ("semaphores", "b"),
    ]
    found = topology.object("b")
    assert found is not None
    assert (found.kind, found.family_name) == (Kind.SEMAPHORE, Family.POSIX)
    assert topology.object("x") is None
