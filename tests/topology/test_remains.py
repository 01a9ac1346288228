"""What is left of a file without its errors: as much as can be, so that one pass finds everything."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from orchestra.kinds import Access
from orchestra.topology.composer import compose
from orchestra.topology.fields import Condition
from orchestra.topology.model import Topology
from orchestra.topology.processmodels import Dependency
from orchestra.topology.remains import broken_entries, remains
from tests.support.topologies import problems_of


def error_of(root: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Topology.model_validate(root)
    return caught.value


def rest_of(text: str) -> Topology:
    root, problems = compose(("version: 1\n" + text).encode(), "x.yaml", "/w")
    assert root is not None
    assert problems == []
    before = repr(root)
    found = remains(root, error_of(root))
    assert found is not None
    assert repr(root) == before, "the file itself stays as it is"
    return found


def test_a_wrong_key_goes_and_its_object_stays() -> None:
    topology = rest_of("queues: {a: {mode: 600, max_messages: 3}, b: {colour: red}}\n")
    assert list(topology.queues) == ["a", "b"]
    assert (topology.queues["a"].mode, topology.queues["a"].max_messages) == (0o600, 3)


@pytest.mark.parametrize("entry", ["{family: amqp}", "{family: [posix]}", "3", "[posix]", "{family: sysv, x: 1, y: 2}"])
def test_an_object_of_no_known_family_goes(entry: str) -> None:
    topology = rest_of(f"queues: {{a: {entry}, b: }}\nsegments: {{c: {{size: 1}}}}\n")
    assert (list(topology.queues)[-1], list(topology.segments)) == ("b", ["c"])
    assert ("a" in topology.queues) == ("sysv" in entry)


def test_what_cannot_be_left_out_gets_a_stopgap() -> None:
    topology = rest_of("segments: {a: {size: much}, b: {}, c: {family: file, size: 1}}\nprocesses: {p: {uses: [a]}}\n")
    assert topology.segments["a"].size == 1
    assert topology.processes["p"].uses == {"a": Access.READ_WRITE}


def test_a_wrong_word_of_uses_leaves_the_others() -> None:
    text = "queues: {a: }\nsemaphores: {s: }\nprocesses: {p: {command: [x], uses: {a: raed, s: rw, b: write}}}\n"
    uses = rest_of(text).processes["p"].uses
    assert uses == {"a": Access.READ, "s": Access.READ_WRITE, "b": Access.WRITE}


def test_a_wrong_word_of_depends_on_leaves_the_others() -> None:
    text = "processes: {p: {command: [x], depends_on: {q: soon, r: {condition: ended}}}}\n"
    assert rest_of(text).processes["p"].depends_on == {
        "q": Dependency(condition=Condition.READY),
        "r": Dependency(condition=Condition.ENDED),
    }


@pytest.mark.parametrize("uses", ["[a, b, a]", "[a, [x], b]", "[{a: read}, b, a]", "[3, a, b, 3]"])
def test_the_names_in_a_list_stay_beside_a_wrong_one(uses: str) -> None:
    topology = rest_of(f"queues: {{a: , b: }}\nprocesses: {{p: {{command: [x], uses: {uses}}}}}\n")
    assert set(topology.processes["p"].uses) == {"a", "b"}


def test_a_single_name_without_brackets_is_taken_for_a_list() -> None:
    topology = rest_of("queues: {a: }\nprocesses: {q: {command: [x]}, p: {command: [x], uses: a, depends_on: q}}\n")
    assert topology.processes["p"].uses == {"a": Access.READ_WRITE}
    assert topology.processes["p"].depends_on == {"q": Dependency(condition=Condition.READY)}
    assert rest_of("processes: {p: {command: [x], uses: 'a, b'}}\n").processes["p"].uses == {}


@pytest.mark.parametrize("uses", ["[a, a]", "[a, [b]]", "a"])
def test_a_slip_in_uses_does_not_make_placeholders_wrong(uses: str) -> None:
    text = f"version: 1\nqueues: {{a: }}\nprocesses: {{p: {{command: [x, '${{queues.a.name}}'], uses: {uses}}}}}\n"
    assert [problem.path.split(".")[2] for problem in problems_of(text)] == ["uses"]


def test_sections_and_words_of_the_top_that_are_wrong_go() -> None:
    topology = rest_of("version: 2\nname: [x]\nqueues: 3\ncolour: red\npipes: {a: }\n".replace("version: 2\n", ""))
    assert (topology.name, list(topology.queues), list(topology.pipes)) == ("orchestra", [], ["a"])
    root = {"version": 7, "queues": {"Bad Name": {}, "good": {}}}
    found = remains(root, error_of(root))
    assert found is not None
    assert (found.version, list(found.queues)) == (1, ["good"])


def test_where_the_errors_are() -> None:
    root = {"version": 1, "queues": {"a": {"mode": "x"}, "b": {}}, "segments": {"c": {}}, "name": 3}
    assert broken_entries(error_of(root)) == {("queues", "a"), ("segments", "c")}
