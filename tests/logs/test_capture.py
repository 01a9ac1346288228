"""Capture: every way through it must give valid JSON lines from which the stream can be rebuilt."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestra.logs import capture
from orchestra.logs.capture import LINE_LIMIT, Capture

STAMP = "2026-01-02T03:04:05.000006Z"


def captured(chunks: list[bytes], *, close: bool = True) -> list[dict[str, Any]]:
    stream = Capture(run="r7", process="worker", replica=2, pid=41, stream="stdout")
    output = b"".join([stream.feed(chunk, STAMP) for chunk in chunks])
    if close:
        output += stream.close(STAMP)
    assert not output or output.endswith(b"\n")
    return [json.loads(line) for line in output.split(b"\n")[:-1]]


def messages(*chunks: bytes) -> list[str]:
    return [record["message"] for record in captured(list(chunks))]


def rebuilt(records: list[dict[str, Any]]) -> bytes:
    stream = b""
    for record in records:
        data = record.get("data", {})
        stream += b64decode(data["base64"]) if "base64" in data else record["message"].encode()
        if not data.get("continued") and not data.get("unterminated"):
            stream += b"\n"
    return stream


def test_a_plain_line_has_the_documented_keys_in_order() -> None:
    line = Capture(run="r7", process="worker", replica=2, pid=41, stream="stderr").feed(b"hello\n", STAMP)
    assert line == (
        b'{"timestamp":"2026-01-02T03:04:05.000006Z","message":"hello",'
        b'"run":"r7","process":"worker","replica":2,"pid":41,"stream":"stderr"}\n'
    )


def test_a_json_line_has_the_documented_keys_in_order() -> None:
    line = Capture(run="r7", process="worker", replica=None, pid=41, stream="stdout").feed(
        b'{"a": 1, "level": "warn", "message": "hello"}\n', STAMP
    )
    assert line == (
        b'{"timestamp":"2026-01-02T03:04:05.000006Z","level":"warning","message":"hello",'
        b'"run":"r7","process":"worker","pid":41,"stream":"stdout","data":{"a":1}}\n'
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"one\ntwo\n\nfour\n", ["one", "two", "", "four"]),
        (b'say "hi"\n', ['say "hi"']),
        (b"back\\slash and \\n that is text\nnext\n", ["back\\slash and \\n that is text", "next"]),
        (b"tab\there\n\x1b[31mred\x1b[0m\n", ["tab\there", "\x1b[31mred\x1b[0m"]),
        (b"nul\0in the middle\n\0\n", ["nul\0in the middle", "\0"]),
        (b"dos\r\nline\r\n", ["dos\r", "line\r"]),
        (b"progress 1%\rprogress 2%\r\n", ["progress 1%\rprogress 2%\r"]),
        (b'delete \x7f and quote "\nnext\n', ['delete \x7f and quote "', "next"]),
        ("grüße 🎻\nnächste\n".encode(), ["grüße 🎻", "nächste"]),
        ('grüße "🎻"\tund\n'.encode(), ['grüße "🎻"\tund']),
        ("line separator \u2028 is text, so is \x85\n".encode(), ["line separator \u2028 is text, so is \x85"]),
    ],
)
def test_text_comes_through_unchanged(written: bytes, expected: list[str]) -> None:
    assert messages(written) == expected
    assert messages(*[bytes([byte]) for byte in written]) == expected, "the same, byte by byte"


def test_nothing_but_complete_lines_is_logged_before_the_end() -> None:
    stream = Capture(run="r", process="p", replica=1, pid=1, stream="stdout")
    assert stream.feed(b"half a li", STAMP) == b""
    assert stream.pending == 9
    assert json.loads(stream.feed(b"ne\nand", STAMP))["message"] == "half a line"
    last = json.loads(stream.close(STAMP))
    assert (last["message"], last["data"], stream.pending) == ("and", {"unterminated": True}, 0)


def test_an_ended_stream_leaves_nothing() -> None:
    stream = Capture(run="r", process="p", replica=1, pid=1, stream="stdout")
    stream.feed(b"whole\n", STAMP)
    assert stream.close(STAMP) == b""


def test_invalid_utf8_is_shown_and_kept() -> None:
    good, bad, last = captured([b"fine\nbad \xff\xfe byte\nafter\n"])
    assert (good["message"], last["message"]) == ("fine", "after")
    assert bad["message"] == "bad \ufffd\ufffd byte"
    assert b64decode(bad["data"]["base64"]) == b"bad \xff\xfe byte"
    assert "data" not in good


def test_utf8_split_over_two_reads_is_not_invalid() -> None:
    first, second = "x→y\n".encode()[:2], "x→y\n".encode()[2:]
    assert captured([first, second])[0] == captured(["x→y\n".encode()])[0]


@pytest.mark.parametrize("opened", [("[", "]"), ('{"d":', "}")])
def test_what_is_nested_deeper_than_readers_can_follow_is_text(opened: tuple[str, str]) -> None:
    def line(levels: int) -> str:
        return '{"message":"m","d":' + opened[0] * levels + ("" if opened[0] == "[" else "0") + opened[1] * levels + "}"

    *texts, last = messages(*[f"{line(levels)}\n".encode() for levels in (capture.NESTING, 900, 9_000, 50)])
    assert texts == [line(levels) for levels in (capture.NESTING, 900, 9_000)]
    assert last == "m"
    wide = '{"message":"m","d":[' + "[],{}," * 200 + "0]}"
    assert messages(f"{wide}\n".encode()) == ["m"]


class TestLongLines:
    def test_the_limit_itself_is_one_record(self) -> None:
        (record,) = captured([b"x" * LINE_LIMIT + b"\n"])
        assert "data" not in record

    def test_longer_lines_are_consecutive_records(self) -> None:
        line = b"y" * (2 * LINE_LIMIT + 10)
        records = captured([b"before\n" + line + b"\nafter\n"])
        assert [len(record["message"]) for record in records] == [6, LINE_LIMIT, LINE_LIMIT, 10, 5]
        assert [record.get("data") for record in records] == [
            None,
            {"continued": True},
            {"continued": True},
            None,
            None,
        ]

    def test_the_cut_never_divides_a_character(self) -> None:
        line = b"a" + "→".encode() * LINE_LIMIT
        records = captured([line + b"\n"])
        assert all("base64" not in record.get("data", {}) for record in records)
        assert "".join(record["message"] for record in records).encode() == line

    def test_a_cut_through_rubbish_is_at_the_limit(self) -> None:
        line = b"\x80" * (LINE_LIMIT + 1)
        first, second = captured([line])
        assert [len(b64decode(record["data"]["base64"])) for record in (first, second)] == [LINE_LIMIT, 1]

    def test_the_rest_of_a_long_line_is_never_taken_for_json(self) -> None:
        records = captured([b"z" * LINE_LIMIT + b'{"message": "no"}\n{"message": "yes"}\n'])
        assert [record["message"][:30] for record in records] == ["z" * 30, '{"message": "no"}', "yes"]

    @pytest.mark.parametrize("size", [1, 7, 4096, LINE_LIMIT - 1, LINE_LIMIT, LINE_LIMIT + 1, 3 * LINE_LIMIT])
    def test_memory_is_bounded(self, size: int) -> None:
        stream = Capture(run="r", process="p", replica=1, pid=1, stream="stdout")
        for _ in range(max(1, 200_000 // size) if size > 1 else 70_000):
            stream.feed(b"q" * size, STAMP)
            assert stream.pending <= LINE_LIMIT


class TestJsonLines:
    @pytest.mark.parametrize(
        ("line", "message", "level", "data"),
        [
            ('{"message":"m","a":1}', "m", None, {"a": 1}),
            ('{"msg":"m","a":1}', "m", None, {"a": 1}),
            ('{"event":"m","a":1}', "m", None, {"a": 1}),
            ('{"event":"e","msg":"m","message":"first"}', "first", None, {"event": "e", "msg": "m"}),
            ('{"message":"m"}', "m", None, None),
            ('{"message":"m","level":"ERROR"}', "m", "error", None),
            ('{"message":"m","level":"fatal"}', "m", "critical", None),
            ('{"message":"m","level":"purple"}', "m", None, {"level": "purple"}),
            ('{"message":"m","level":30}', "m", None, {"level": 30}),
            ('{"message":"m","level":"info","data":{"x":[1,2]}}', "m", "info", {"x": [1, 2]}),
            ('{"message":"m","data":[1]}', "m", None, [1]),
            ('{"message":"m","data":{"x":1},"other":2}', "m", None, {"data": {"x": 1}, "other": 2}),
            ('{"message":5,"msg":"m"}', "m", None, {"message": 5}),
            ('{"a":1}', '{"a":1}', None, {"a": 1}),
            ("{}", "{}", None, None),
            ('{"message":"two\\nlines \\"quoted\\" →"}', 'two\nlines "quoted" →', None, None),
            ('{"message":"m","a":1}\r', "m", None, {"a": 1}),
            ('{"timestamp":"2001","message":"m"}', "m", None, {"timestamp": "2001"}),
        ],
    )
    def test_its_parts_become_fields(self, line: str, message: str, level: str | None, data: object) -> None:
        (record,) = captured([line.encode() + b"\n"])
        assert (record["message"], record.get("level"), record.get("data")) == (message, level, data)

    @pytest.mark.parametrize(
        "line",
        [
            '{"a":1,"a":2}',  # one would be lost
            '{"outer":{"a":1,"a":2}}',
            '{"a":NaN}',
            '{"a":-Infinity}',
            '{"a":1e999}',
            '{"a":"\\ud800"}',
            '{"message":"\\ud800"}',
            '{"a":' + "9" * 5000 + "}",
            '{"a":1',
            '{"a":1} {"b":2}',
            "{not json}",
            ' {"a":1}',  # not from its first byte
            "[1,2]",
            '{"a":' * 20_000 + "1" + "}" * 20_000,
        ],
        ids=lambda line: line[:20],
    )
    def test_what_json_would_not_give_back_stays_text(self, line: str) -> None:
        assert rebuilt(captured([line.encode() + b"\n"])) == line.encode() + b"\n"

    def test_an_unterminated_object_stays_text(self) -> None:
        (record,) = captured([b'{"message":"m"}'])
        assert (record["message"], record["data"]) == ('{"message":"m"}', {"unterminated": True})

    def test_between_other_lines(self) -> None:
        assert messages(b'a "quoted"\n{"msg":"b"}\nc\xff\n{"msg":"d"}\n\n') == ['a "quoted"', "b", "c\ufffd", "d", ""]


# Pieces that reach every branch; random bytes alone would hardly ever form a long line or an object.
PIECES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [b"\n", b"\n\n", b"\r\n", b"{", b"\n{", b"}", b'"', b"\\n", b"\0", b"\x7f", b"\xed\xa0\x80", "→🎻".encode()]
    ),
    st.sampled_from([b"plain text of a line\n", b'{"a":1,"a":2}\n', b"{broken}\n", b"\x1b[1m\n"]),
    st.integers(LINE_LIMIT - 5, LINE_LIMIT + 5).map(lambda size: b"L" * size),
    st.integers(LINE_LIMIT - 5, LINE_LIMIT + 5).map(lambda size: "é".encode() * (size // 2)),
)


def is_object(line: bytes) -> bool:
    """Whether a line might be taken apart as a JSON object: then bytes need not come back, values do."""
    return re.fullmatch(rb"\{.*\}[ \t\r]*", line, re.DOTALL) is not None and b'"a":1,"a"' not in line


@pytest.mark.slow
@given(st.lists(PIECES, max_size=12).map(b"".join), st.lists(st.integers(0, 200_000), max_size=8))
@example(b"\xc3", [])
@example(b"{" * (LINE_LIMIT + 1) + b"\n", [LINE_LIMIT])
def test_no_byte_is_lost(stream: bytes, cuts: list[int]) -> None:
    stream = b"\n".join([b"not an object: " + line if is_object(line) else line for line in stream.split(b"\n")])
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    records = captured(chunks)
    assert rebuilt(records) == stream
    assert all(len(record["message"].encode()) <= 3 * LINE_LIMIT for record in records)  # U+FFFD takes three


@pytest.mark.slow
@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)))
def test_no_value_of_an_object_is_lost(sent: dict[str, Any]) -> None:
    (record,) = captured([json.dumps(sent).encode() + b"\n"])
    data = record.get("data", {})
    for key in ("message", "msg", "event"):
        if isinstance(sent.get(key), str):
            assert record["message"] == sent.pop(key)
            break
    if (level := record.get("level")) is not None:
        assert capture.KNOWN_LEVELS[sent.pop("level").lower()] == level
    assert data == (sent["data"] if list(sent) == ["data"] else sent)
