"""The comparison of records with the catalogue notices what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestra.logs.encode import event_record
from tests.support.events import breaches

RIGHT = json.loads(event_record("process.exited", run="r", process="p", replica=1, pid=5, exit_code=0))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"event": "process.vanished"}, "no such event"),
        ({"level": "error"}, "level error, not info"),
        ({"pid": None}, "pid is None, no integer"),
        ({"replica": True}, "replica is True, no integer"),
        ({"data": {"exit_code": 0, "mood": "bad"}}, "mood is not in the catalogue"),
        ({"stream": "stdout", "event": "process.vanished"}, None),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], why: str | None) -> None:
    found = breaches([{**RIGHT, **change}])
    assert (why is None and found == []) or any(str(why) in text for text in found)


def test_a_field_that_is_missing_and_keys_in_another_order_are_noticed() -> None:
    assert any("no pid" in text for text in breaches([{k: v for k, v in RIGHT.items() if k != "pid"}]))
    assert any("order" in text for text in breaches([dict(reversed(RIGHT.items()))]))
