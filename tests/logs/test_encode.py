from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from orchestra.logs.encode import GUARDIAN, event_record, how_it_ended, now_text, text_of


def test_keys_stand_in_the_documented_order() -> None:
    line = event_record(
        "process.exited", timestamp="T", data=None, exit_code=3, pid=9, replica=2, process="worker", run="r7"
    )
    assert line == (
        b'{"timestamp":"T","level":"info","logger":"orchestra.supervisor","message":"worker.2 exited with code 3",'
        b'"event":"process.exited","run":"r7","process":"worker","replica":2,"pid":9,"data":{"exit_code":3}}\n'
    )


def test_what_does_not_apply_is_left_out() -> None:
    record = json.loads(event_record("object.removed", run="r7", object="jobs", family="posix", kind="queue", id=None))
    assert list(record) == ["timestamp", "level", "logger", "message", "event", "run", "object", "data"]
    assert record["data"] == {"family": "posix", "kind": "queue"}


def test_the_logger_and_the_name_in_the_message_can_be_given() -> None:
    line = event_record("process.started", logger=GUARDIAN, who="worker", run="r7", process="worker", replica=1, pid=4)
    record = json.loads(line)
    assert (record["logger"], record["message"]) == (GUARDIAN, "worker started as pid 4")
    assert (record["process"], record["replica"]) == ("worker", 1)


def test_a_missing_field_is_no_reason_to_die() -> None:
    assert json.loads(event_record("process.killed", run="r7"))["message"] == " sent SIGKILL: ?"


def test_an_unknown_event_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        event_record("process.danced", run="r7")


def test_any_text_can_be_written() -> None:
    line = event_record("process.skipped", run="r7", process="p", replica=1, reason='a "b"\n\x1b[31m→ \udcff {x}')
    assert line.count(b"\n") == 1
    assert json.loads(line)["data"]["reason"] == 'a "b"\n\x1b[31m→ ? {x}'


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_767_323_045_000_006_999, "2026-01-02T03:04:05.000006Z"),
        (1_767_323_045_999_999_999, "2026-01-02T03:04:05.999999Z"),
        (1_767_323_046_000_000_000, "2026-01-02T03:04:06.000000Z"),
    ],
)
def test_times_are_rfc3339_in_utc_with_microseconds(nanoseconds: int, text: str) -> None:
    assert text_of(nanoseconds) == text


def test_now_is_now() -> None:
    before = datetime.now(UTC).replace(tzinfo=None)
    text = now_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert before.isoformat(timespec="microseconds") <= text[:-1]


@pytest.mark.parametrize(
    ("exit_code", "signal", "words"),
    [
        (0, None, "exited with code 0"),
        (None, "SIGSEGV", "was ended by SIGSEGV"),
        (None, None, "ended"),
    ],
)
def test_an_end_in_words(exit_code: int | None, signal: str | None, words: str) -> None:
    assert how_it_ended(exit_code, signal) == words


def test_lists_are_words_for_people() -> None:
    line = event_record(
        "process.waiting", run="r7", process="a", replica=1, conditions=["jobs: messages 1", "x exists"]
    )
    assert json.loads(line)["message"] == "a waits for jobs: messages 1, x exists"
