"""What a request may say, and that the page about it follows from the same table."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.errors import UsageError
from orchestra.supervisor import protocol
from orchestra.supervisor.requests import OPERATIONS

NO_SECONDS: list[Any] = [-1, True, "5", float("nan"), float("inf"), []]


@pytest.mark.parametrize(
    "request_",
    [
        {"op": "state"},
        {"op": "stop", "leak": True, "timeout": 0},
        {"op": "stop", "leak": None, "timeout": None},
        {"op": "stop-processes", "targets": ["a", "b.2"]},
        {"op": "scale", "replicas": {"a": 3}},
        {"op": "wait", "for": "ready", "timeout": 1.5},
        {"op": "wiring", "uses": {"jobs": "read"}},
        {"op": "change", "plan": {}, "only": ["a"], "dry_run": True},
    ],
    ids=str,
)
def test_what_may_be_asked(request_: dict[str, Any]) -> None:
    assert protocol.check({"v": 1, **request_}) == request_["op"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ([], "one JSON object"),
        ({"op": "state"}, "one JSON object"),
        ({"v": 2, "op": "state"}, "speaks version 1, not 2"),
        ({"v": 1, "op": "dance"}, "unknown request 'dance'"),
        ({"v": 1, "op": ["state"]}, "unknown request"),
        ({"v": 1, "op": "state", "x": 1}, "state takes no 'x'"),
        ({"v": 1, "op": "scale"}, "scale needs 'replicas'"),
        ({"v": 1, "op": "scale", "replicas": {"a": True}}, "numbers by name"),
        ({"v": 1, "op": "scale", "replicas": [1]}, "numbers by name"),
        ({"v": 1, "op": "wait", "for": "spring"}, "one of started, ready"),
        ({"v": 1, "op": "start", "targets": "a"}, "a list of NAME"),
        ({"v": 1, "op": "start", "targets": [1]}, "a list of NAME"),
        *[({"v": 1, "op": "stop", "timeout": wrong}, "a number of seconds") for wrong in NO_SECONDS],
        ({"v": 1, "op": "stop", "leak": 1}, "true or false"),
        ({"v": 1, "op": "wiring", "uses": {"jobs": 1}}, "by name"),
    ],
    ids=str,
)
def test_what_may_not(request_: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        protocol.check(request_)


def test_every_operation_is_carried_out_and_described() -> None:
    assert set(OPERATIONS) == set(protocol.OPERATIONS)
    page = protocol.markdown()
    for name, operation in protocol.OPERATIONS.items():
        assert f"## `{name}`" in page
        assert all(f"| `{field}` |" in page for field in operation.fields)
