"""plan: the order of a run, and who enforces what."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from orchestra.cli.plan import enforcer
from orchestra.kinds import OBJECT_KINDS, Access, Family, Kind
from orchestra.runplan import ObjectPlan
from tests.support.shapes import MAYBE_TEXT, NUMBER, TEXT, exactly

PLAN = exactly(
    schema={"const": "orchestra/plan/1"},
    instance=TEXT,
    changes={"enum": [None]},  # nothing is up
    steps={
        "type": "array",
        "items": exactly(
            n=NUMBER,
            action={"enum": ["create", "start", "wait", "stop", "remove", "keep"]},
            object=MAYBE_TEXT,
            process=MAYBE_TEXT,
            detail=TEXT,
        ),
    },
    uses={
        "type": "array",
        "items": exactly(
            process=TEXT,
            object=TEXT,
            access={"enum": ["read", "write", "read-write"]},
            enforced_by={"enum": ["kernel", "program", None]},
            how=TEXT,
        ),
    },
)


def test_plan_is_the_order_of_a_run(run: Any) -> None:
    answer = run("plan", "good.yaml", "--format", "json")
    assert (answer.code, answer.err) == (0, "")
    jsonschema.validate(answer.json, PLAN)
    assert [(s["action"], s["object"] or s["process"]) for s in answer.json["steps"]] == [
        ("create", "jobs"),
        ("create", "table"),
        ("create", "locks"),
        ("start", "first"),
        ("wait", "first"),
        ("start", "second"),
        ("start", "server"),
        ("wait", "second"),
        ("stop", "server"),
        ("remove", "locks"),
        ("keep", "table"),
        ("remove", "jobs"),
    ]
    by = {(u["process"], u["object"]): u["enforced_by"] for u in answer.json["uses"]}
    assert by == {
        ("first", "jobs"): "kernel",
        ("first", "table"): "program",
        ("second", "jobs"): "kernel",
        ("second", "locks"): None,
    }


def test_plan_as_a_table(run: Any) -> None:
    lines = run("plan", "good.yaml", "--scale", "second=3").out.splitlines()
    assert lines[0].split() == ["STEP", "ACTION", "WHAT", "DETAIL"]
    assert "3 replicas" in "\n".join(lines)
    assert "PROCESS  OBJECT  ACCESS      ENFORCED BY" in lines


@pytest.mark.parametrize(("family", "kind"), OBJECT_KINDS, ids=str)
@pytest.mark.parametrize("access", Access, ids=str)
def test_every_use_has_an_enforcer(family: Family, kind: Kind, access: Access) -> None:
    by, how = enforcer(ObjectPlan("x", family, kind), access)
    assert by in ("kernel", "program", None)
    assert how


def test_one_file_at_a_time(run: Any) -> None:
    for command in ("plan", "config"):
        answer = run(command, "good.yaml", "-f", "bad.yaml")
        assert answer.code == 2
        assert "name a file" in answer.err
