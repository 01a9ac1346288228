"""Stored lines as bytes."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from orchestra.logs.capture import Capture
from orchestra.logs.encode import event_record
from orchestra.logs.records import PLAIN, PLAIN_BYTES, message_of, record_of, split, without_torn

WHEN = "2026-01-02T03:04:05.000006Z"


def stored(text: bytes, *, process: str = "worker", replica: int | None = 2) -> bytes:
    return Capture(run="r7", process=process, replica=replica, pid=5, stream="stdout").feed(text + b"\n", WHEN)


@given(st.binary(max_size=60).filter(lambda text: b"\n" not in text), st.sampled_from([None, 1, 17]))
def test_a_plain_line_says_without_json_what_it_says_with(text: bytes, replica: int | None) -> None:
    line = stored(text, replica=replica)
    record = json.loads(line)
    found = PLAIN_BYTES.fullmatch(line)
    assert (found is not None) == ("data" not in record and "level" not in record)
    if found is not None:
        when, message, process, number, stream = (group.decode() for group in found.groups(b""))
        assert (when, process, stream) == (WHEN, record["process"], record["stream"])
        assert message_of(message) == record["message"]
        assert record.get("replica") == (int(number) if number else None)
        assert PLAIN.fullmatch(line.decode()) is not None


def test_what_is_not_plain_is_not_taken_for_it() -> None:
    event = event_record("run.stopping", run="r", reason="asked")
    inside = stored(json.dumps({"msg": "m", "data": json.loads(stored(b"x"))}).encode())
    odd = stored(b"x").replace(b'"x"', b'"\\x"')
    for line in (event, inside, odd, stored(b"x")[:-1], stored(b"x").replace(b'"x"', b'"\t"')):
        assert PLAIN_BYTES.search(line) is None, line


def test_a_line_is_a_record_or_nothing() -> None:
    assert record_of(stored(b"x")) is not None
    for torn in (b"", b"{", b"null", b"[]", b"\xff", b"[" * 100_000):
        assert record_of(torn) is None


def test_lines_end_with_newlines_only() -> None:
    assert split(b"a\rb\n\x0b\n\x85\xe2\x80\xa8\n") == [b"a\rb\n", b"\x0b\n", b"\x85\xe2\x80\xa8\n"]


def test_torn_lines_are_taken_out() -> None:
    whole = stored(b"x") + stored(b'{"msg":"m"}')
    assert without_torn(whole) is whole
    assert without_torn(b"") == b""
    for torn in (b"\n", stored(b"y")[:-2] + b"\n", b"rest\n", b'{"timestamp":"2026\n'):
        assert without_torn(torn + whole) == without_torn(whole + torn) == whole
