"""Help for wrong words: every hint names something that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from orchestra.kinds import Access, OnDown
from orchestra.topology import hints
from orchestra.topology.fields import Condition, Isolation, Output, Policy, StdinWord
from orchestra.topology.findings import keys_of
from orchestra.topology.hints import bounded, nearest, nearest_help
from orchestra.topology.model import Process, Topology
from orchestra.topology.objectmodels import OBJECT_MODELS, Fill, Ftok
from orchestra.topology.processmodels import Bounds, Limit, Log, Ready, Restart, Rotate, Stop, ValueBounds, Waiting

PARTS: dict[str, tuple[dict[str, str], type[BaseModel]]] = {
    "stop": (hints.STOP, Stop),
    "ready": (hints.READY, Ready),
    "restart": (hints.RESTART, Restart),
    "wait_for": (hints.WAITING, Waiting),
    "bounds": (hints.BOUNDS, Bounds),
    "log": (hints.LOG, Log),
}
TABLES = {
    "top": hints.TOP,
    "process": hints.PROCESS,
    "limits": hints.LIMITS,
    **{name: table for name, (table, _) in PARTS.items()},
    **hints.OBJECT,
}
MODELS: list[type[BaseModel]] = [Topology, Process, Fill, Ftok, Rotate, ValueBounds, Limit]
MODELS += [model for _, model in PARTS.values()]
MODELS += [model for models in OBJECT_MODELS.values() for model in models.values()]
EVERY_KEY = {key for model in MODELS for key in keys_of(model)}


@pytest.mark.parametrize("table", TABLES)
def test_a_foreign_word_is_no_key_of_ours(table: str) -> None:
    models: dict[str, type[BaseModel]] = {"top": Topology, "process": Process}
    models |= {name: model for name, (_, model) in PARTS.items()}
    ours = set(keys_of(models[table])) if table in models else set()
    if table in OBJECT_MODELS:
        ours = set.intersection(*(set(keys_of(model)) for model in OBJECT_MODELS[table].values()))
    assert ours.isdisjoint(TABLES[table])


@pytest.mark.parametrize("table", TABLES)
def test_a_hint_names_only_keys_that_exist(table: str) -> None:
    for word, text in TABLES[table].items():
        for key in re.findall(r"`([a-z_]+):", text):
            assert key in EVERY_KEY, f"{word}: {key}"


def test_words_of_other_tools_lead_to_words_of_ours() -> None:
    for table, words in (
        (hints.POLICIES, Policy), (hints.CONDITIONS, Condition), (hints.OUTPUT, Output), (hints.STDIN, StdinWord),
        (hints.ISOLATION, Isolation), (hints.ACCESS, Access), (hints.ON_DOWN, OnDown),
    ):  # fmt: skip
        assert set(table.values()) <= set(words)
        assert set(words).isdisjoint(table)


def test_nearest() -> None:
    assert nearest("comand", ["command", "uses"]) == "command"
    assert nearest("max-messages", ["max_messages"]) == "max_messages"
    assert nearest("Jobs", ["jobs"]) == "jobs"
    assert nearest("zzz", ["command"]) is None
    assert nearest("x", []) is None
    assert nearest("JOBS", ["jobs-a", "jobs", "Jobs"]) == "jobs"
    assert nearest("worker-17-qeue-23", [f"worker-{a}-queue-{b}" for a in range(40) for b in range(40)]) == (
        "worker-17-queue-23"
    )
    assert nearest("k" * 10_000, ["k" * 9_000]) == "k" * 9_000


def test_what_many_slips_cost_is_bounded() -> None:
    asked: list[str] = []

    def names() -> Iterator[str]:
        for number in range(1000):
            asked.append(f"object-{number}")
            yield asked[-1]

    with bounded(3000):
        found = [nearest("objcet-7", names()) for _ in range(1000)]
        with bounded():
            assert nearest("jbos", ["jobs"]) == "jobs", "a pass within has an effort of its own"
        assert nearest("jbos", ["jobs"]) is None
    assert nearest("jbos", ["jobs"]) == "jobs"
    assert found[:2] == ["object-7", "object-7"]
    assert found[-1] is None
    assert len(asked) <= 4000


def test_nearest_help() -> None:
    assert nearest_help("jbos", ["jobs"], "One of {}.") == "Did you mean `jobs`?"
    assert nearest_help("zzz", ["jobs", "log"], "One of {}.") == "One of jobs, log."
    assert nearest_help("zzz", [f"n{i}{i}" for i in range(50)], "One of {}.") == ""
    assert nearest_help("zzz", [], "One of {}.") == ""
    assert nearest_help("jbos", ["jobs", "log"], "One of {}.", but="jobs") == "One of log."
    assert nearest_help("jbos", ["jobs"], "One of {}.", but="jobs") == ""
