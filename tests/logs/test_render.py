from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.logs.capture import Capture
from orchestra.logs.encode import event_record
from orchestra.logs.records import split
from orchestra.logs.render import Renderer, is_ours, text_of_record

REPLICAS = {"producer": 1, "worker": 3}


def record(text: bytes, *, process: str = "worker", replica: int | None = 2, stream: str = "stdout") -> dict[str, Any]:
    capture = Capture(run="r7", process=process, replica=replica, pid=5, stream=stream)
    found: dict[str, Any] = json.loads(capture.feed(text + b"\n", "T"))
    return found


def event(name: str, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event_record(name, run="r7", **fields))
    return found


def plain(found: dict[str, Any], **options: Any) -> str:
    return Renderer(colour=False, replicas=REPLICAS, **options).render(found)


class TestLines:
    def test_names_are_aligned_and_single_processes_have_no_number(self) -> None:
        assert plain(record(b"hello")) == "worker.2  │ hello\n"
        assert plain(record(b"hello", process="producer", replica=1)) == "producer  │ hello\n"
        assert plain(event("run.stopping", reason="asked")) == "orchestra ▸ stopping: asked\n"

    def test_standard_error_is_marked_without_colour(self) -> None:
        assert plain(record(b"oops", stream="stderr")) == "worker.2  ! oops\n"

    def test_levels_are_words(self) -> None:
        assert plain(record(b'{"msg":"careful","level":"warn"}')) == "worker.2  │ warning: careful\n"
        assert plain(record(b'{"msg":"fine","level":"info"}')) == "worker.2  │ fine\n"
        skipped = event("process.skipped", process="worker", replica=1, reason="producer failed")
        assert plain(skipped) == "orchestra ▸ warning: worker.1 skipped: producer failed\n"

    def test_several_lines_in_one_message_each_get_the_name(self) -> None:
        shown = plain(record(b'{"msg":"Traceback\\n  here","level":"error"}'))
        assert shown == "worker.2  │ error: Traceback\nworker.2  │   here\n"

    def test_a_process_nobody_announced(self) -> None:
        shown = plain(record(b"x", process="a-process-of-a-very-long-name", replica=1))
        assert shown == "a-process-of-a-very-long-name.1 │ x\n"

    def test_one_very_long_name_does_not_push_all_others_away(self) -> None:
        renderer = Renderer(colour=False, replicas={"n" * 31: 1, "producer": 1})
        assert renderer.render(record(b"x", process="producer")) == "producer  │ x\n"

    def test_a_line_that_goes_on_says_so(self) -> None:
        long = record(b"x")
        long["data"] = {"continued": True}
        assert plain(long) == "worker.2  │ x…\n"
        assert plain(long, encoding="ascii") == "worker.2  | x...\n"

    def test_terminals_that_are_not_utf8(self) -> None:
        assert plain(record("grüße →".encode()), encoding="latin-1") == "worker.2  | grüße \\u2192\n"


class TestData:
    @pytest.mark.parametrize(
        ("line", "text"),
        [
            (b'{"msg":"done","job":17,"who":"me"}', "done job=17 who=me"),
            (b'{"msg":"done","who":"me too","x":""}', 'done who="me too" x=""'),
            (b'{"msg":"done","x":[1,{"y":null}]}', 'done x=[1,{"y":null}]'),
            (b'{"msg":"done","data":[1]}', "done [1]"),
            (b'{"msg":"done"}', "done"),
            (b'{"job": 17}', '{"job": 17}'),
            (b"bad \xff", "bad \ufffd"),
        ],
    )
    def test_what_a_json_line_says_besides_its_message_is_shown(self, line: bytes, text: str) -> None:
        assert text_of_record(record(line)) == text

    def test_our_messages_say_it_already(self) -> None:
        assert text_of_record(event("process.exited", process="p", replica=1, exit_code=3)) == "p.1 exited with code 3"


class TestSafety:
    def test_the_end_of_a_dos_line_is_not_shown(self) -> None:
        assert plain(record(b"dos\r")) == "worker.2  │ dos\n"

    @given(st.binary(max_size=80), st.booleans())
    def test_whatever_a_child_writes(self, text: bytes, colour: bool) -> None:
        text = text.replace(b"\n", b"")
        shown = Renderer(colour=colour, replicas=REPLICAS).render(record(text))
        if colour:
            for sent in ("\x1b[36m", "\x1b[33m", "\x1b[0m"):
                shown = shown.replace(sent, "")
        assert shown.count("\n") == 1
        assert not [c for c in shown[:-1] if c != "\t" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)]

    def test_data_and_names_are_escaped_too(self) -> None:
        found = record(b'{"msg":"m","key\\u001b":"\\u001b[2J","x":"\\u009b"}')
        assert "\x1b" not in plain(found)
        assert "\x9b" not in plain(found)
        found["process"] = "evil\x1b[2J"
        assert "\x1b" not in plain(found)
        assert "\x1b" not in plain(event("process.skipped", process="p", replica=1, reason="\x1b[2J"))


class TestColour:
    def test_each_process_has_one(self) -> None:
        renderer = Renderer(colour=True, replicas=REPLICAS)
        first, second = (renderer.render(record(b"x", replica=n)).split("m")[0] for n in (1, 2))
        other = renderer.render(record(b"x", process="producer")).split("m")[0]
        assert first == second != other

    def test_an_unknown_process_has_the_same_in_every_run(self) -> None:
        one, two = (Renderer(colour=True).render(record(b"x")) for _ in range(2))
        assert one == two
        assert one.startswith("\x1b[")

    def test_without_colour_there_are_no_escapes_at_all(self) -> None:
        assert "\x1b" not in plain(event("object.left", object="o", family="f", kind="k", reason="r"))

    def test_text_is_the_same_with_and_without(self) -> None:
        for found in (record(b"x"), record(b'{"msg":"m","level":"error"}'), event("run.stopping", reason="r")):
            import re

            coloured = Renderer(colour=True, replicas=REPLICAS).render(found)
            assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == plain(found)

    def test_a_renderer_for_a_stream(self) -> None:
        raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        assert Renderer.to(raw, environment={}).render(record(b"x")) == "worker.2  | x\n"


class TestManyLines:
    """Plain lines of children are rendered without being parsed: the result must not tell."""

    TEXTS = st.sampled_from(
        [b"x", b"", b'say "hi"', b"tab\there", b"\x1b[2J", b"gr\xc3\xbc\xc3\x9fe", b"dos\r", b"bad \xff", b"\\u0041",
         b"\xe2\x80\xae", b'{"msg":"m","level":"error","n":1}', b'{"no', b"\x7f", b"\xf0\x9f\x8e\xbb", b"x" * 70_000]
    )  # fmt: skip

    @given(
        st.lists(
            st.tuples(TEXTS, st.sampled_from(["producer", "worker", "o\u202ex"]), st.sampled_from([None, 1, 12]),
                      st.sampled_from(["stdout", "stderr", ""])),
            max_size=8,
        ),
        st.booleans(),
        st.sampled_from(["utf-8", "latin-1"]),
    )  # fmt: skip
    def test_they_look_as_they_do_one_by_one(
        self, lines: list[tuple[bytes, str, int | None, str]], colour: bool, encoding: str
    ) -> None:
        stored = b""
        for text, process, replica, stream in lines:
            if stream:
                capture = Capture(run="r7", process=process, replica=replica, pid=5, stream=stream)
                stored += capture.feed(text + b"\n", "2026-01-02T03:04:05.000006Z")
            else:
                stored += event_record("process.skipped", run="r7", process=process, replica=1, reason="r")
        out = Renderer(colour=colour, replicas=REPLICAS, encoding=encoding)
        err = Renderer(colour=not colour, replicas=REPLICAS)
        expected = [
            (is_ours(record), (err if is_ours(record) else out).render(record))
            for record in map(json.loads, split(stored))
        ]
        found = out.render_lines(stored, ours=err)
        assert "".join(text for _, text in found) == "".join(text for _, text in expected)
        for ours in (True, False):
            assert "".join(t for o, t in found if o is ours) == "".join(t for o, t in expected if o is ours)

    def test_torn_lines_and_the_hidden_event_are_left_out(self) -> None:
        stored = b'{"timestamp":"2026-01-02T03:04\n\n\xff\n'
        stored += event_record("object.failed", run="r", object="o", family="f", kind="k", reason="r")
        stored += event_record("run.stopping", run="r", reason="asked")
        renderer = Renderer(colour=False)
        assert renderer.render_lines(stored, hidden="object.failed") == [(True, "orchestra ▸ stopping: asked\n")]
        assert len(renderer.render_lines(stored)) == 2
