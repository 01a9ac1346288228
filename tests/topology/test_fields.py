"""What all models share: closed, frozen, with `x-…` keys carried along, and keys with nothing behind them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from pydantic import ValidationError

from orchestra.topology.fields import Closed, Contradiction, Extensible, Replicas, empty_if_nothing, no_entries
from orchestra.topology.nodes import Map, Scalar, Source
from tests.support.topologies import load_text, problem_of

SOURCE = Source("x.yaml", "/w", "")


def scalar(text: str, *, plain: bool = True) -> Scalar:
    return Scalar(SOURCE, 1, 1, len(text), text, plain)


class Thing(Extensible):
    """A model with one key, and one that does not go with it."""

    size: Replicas = 1
    external: bool = False

    @classmethod
    def contradictions(cls, given: Collection[str], *, external: bool) -> list[Contradiction]:
        return [Contradiction("contradiction", "not both")] if external and "size" in given else []


def test_nothing_means_all_defaults_and_an_empty_text_does_not() -> None:
    assert [empty_if_nothing(item) for item in (None, scalar(""), scalar("~"), scalar("null"))] == [{}] * 4
    quoted = scalar("", plain=False)
    assert empty_if_nothing(quoted) is quoted
    assert empty_if_nothing([]) == []


@pytest.mark.parametrize("nothing", ["", "~", "null"])
def test_nothing_behind_a_key_of_a_file(nothing: str) -> None:
    text = f"version: 1\nqueues:\n  a: {nothing}\nsegments: {nothing}\n"
    text += f"processes:\n  p: {{command: [cat], uses: {nothing or '{}'}, depends_on: {nothing or '{}'}}}\n"
    topology = load_text(text).topology
    assert (list(topology.queues), list(topology.segments)) == (["a"], [])
    assert topology.processes["p"].uses == {}


def test_null_in_json_is_what_the_schema_says_it_is() -> None:
    topology = load_text('{"version": 1, "queues": {"a": null}, "pipes": null}', name="x.json").topology
    assert (list(topology.queues), list(topology.pipes)) == (["a"], [])


def test_a_segment_of_nothing_has_no_size() -> None:
    assert problem_of("version: 1\nsegments: {a: ~}\n").message == "`size` is missing"


def test_extensions_become_ordinary_data_that_nobody_changes() -> None:
    inner = Map(SOURCE, 1, 1)
    inner["deep"] = scalar("1")
    thing = Thing.model_validate({"size": scalar("2"), "x-a": inner, "x-": scalar("b")})
    assert dict(thing.extensions) == {"x-a": {"deep": 1}, "x-": "b"}
    with pytest.raises(TypeError):
        thing.extensions["x-b"] = 1  # type: ignore[index]
    assert thing.extensions is not Thing().extensions
    assert dict(no_entries()) == {}


def test_a_gathered_model_can_be_read_again() -> None:
    assert Thing.model_validate({"x-*": {"x-a": 1}}) == Thing.model_validate({"x-a": 1})


@pytest.mark.parametrize("text", ["x-*: {a: 1}\n", "x-*: 1\n", "x-*: {a: 1}\nx-b: 2\n", "x-*: [1]\n"])
def test_a_key_that_looks_like_our_own_is_one_like_others(text: str) -> None:
    found = load_text("version: 1\n" + text).topology.extensions["x-*"]
    assert found in ({"a": 1}, 1, [1])
    assert type(found) in (dict, int, list)


def test_a_leading_zero_in_an_extension_is_shown_at_its_key() -> None:
    problem = problem_of("version: 1\nqueues:\n  a:\n    x-shape: [480, 0640]\n")
    assert (problem.code, problem.path, problem.line) == ("leading_zero", "queues.a.x-shape", 4)


@pytest.mark.parametrize("data", [{"colour": 1}, {"x": 1}, {"X-a": 1}, {"extensions": {}}])
def test_other_keys_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Thing.model_validate(data)


def test_contradictions_are_asked_with_the_keys_that_were_written() -> None:
    assert Thing.model_validate({"external": True}).size == 1
    with pytest.raises(ValidationError, match="not both"):
        Thing.model_validate({"external": True, "size": 1})
    assert Closed.contradictions((), external=True) == []
