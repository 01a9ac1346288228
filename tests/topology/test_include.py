"""Files merged into one, each with its own places and its own folder."""

from __future__ import annotations

import pytest

from orchestra.topology.compile import compile_plan
from orchestra.topology.composer import BYTES_MAX
from orchestra.topology.include import read_file
from tests.support.hosts import FakeHost
from tests.support.topologies import load_text, problem_of, problems_of

ROOT = (
    "version: 1\ninclude: [parts/b.yaml]\nqueues: {a: }\nprocesses: {p: {command: [./x], directory: ., uses: [a, b]}}\n"
)


def test_entries_of_an_included_file_come_first() -> None:
    loaded = load_text(ROOT, others={"/w/parts/b.yaml": "version: 1\nname: other\nqueues: {b: }\n"})
    assert list(loaded.topology.queues) == ["b", "a"]
    assert loaded.topology.name == "w"


def test_relative_paths_count_from_the_file_they_stand_in() -> None:
    part = "version: 1\nqueues: {b: }\nsegments: {s: {family: file, path: s.bin, size: 1}}\n"
    part += "processes: {q: {command: [./y], uses: [s], directory: d}, r: {command: [./z]}}\n"
    loaded = load_text(ROOT, others={"/w/parts/b.yaml": part})
    plan = compile_plan(loaded, instance="i", environment={}, host=FakeHost())
    by_name = {process.name: process for process in plan.processes}
    assert by_name["q"].command[0] == ("/w/parts/y",)
    assert by_name["q"].directory == ("/w/parts/d",)
    assert (by_name["r"].command[0], by_name["r"].directory) == (("./z",), ("/w/parts",))
    assert (by_name["p"].command[0], by_name["p"].directory) == (("/w/x",), ("/w",))
    assert next(item.name for item in plan.objects if item.key == "s") == "/w/parts/s.bin"
    assert (plan.file, plan.folder) == ("/w/orchestra.yaml", "/w")


def test_the_same_name_twice_names_both_places() -> None:
    problem = problem_of(ROOT, others={"/w/parts/b.yaml": "version: 1\n\nqueues: {a: , b: }\n"})
    assert (problem.code, problem.file, problem.line) == ("duplicate_key", "orchestra.yaml", 3)
    assert problem.message == "`a` is declared in parts/b.yaml:3 already"


def test_a_file_reached_twice_is_merged_once() -> None:
    others = {
        "/w/parts/b.yaml": "version: 1\ninclude: [../c.yaml]\nqueues: {b: }\n",
        "/w/c.yaml": "version: 1\nqueues: {c: }\n",
    }
    text = ROOT.replace("[parts/b.yaml]", "[parts/b.yaml, ./c.yaml, parts/../c.yaml]")
    assert list(load_text(text, others=others).topology.queues) == ["c", "b", "a"]


def test_a_file_that_includes_itself() -> None:
    others = {"/w/parts/b.yaml": "version: 1\ninclude: [../orchestra.yaml]\nqueues: {b: }\n"}
    problem = problem_of(ROOT, others=others)
    assert (problem.code, problem.file) == ("cycle", "parts/b.yaml")
    assert problem.message == "the file includes itself: orchestra.yaml → b.yaml → orchestra.yaml"


def test_an_included_file_that_is_missing_is_reported_where_it_is_asked_for() -> None:
    problem = problems_of(ROOT)[0]
    assert (problem.code, problem.line, problem.column) == ("unreadable", 2, 11)


def test_errors_of_an_included_file_are_shown_in_it() -> None:
    problem = problem_of(ROOT, others={"/w/parts/b.yaml": "version: 1\nqueues:\n  b: {mood: 3}\n"})
    assert (problem.file, problem.line, problem.excerpt) == ("parts/b.yaml", 3, "  b: {mood: 3}")


def test_variables_of_an_included_file() -> None:
    text = "version: 1\ninclude: ['${which}.yaml']\nvariables: {which: b}\nqueues: {a: {max_messages: '${n}'}}\n"
    loaded = load_text(text, others={"/w/b.yaml": "version: 1\nvariables: {n: 3}\nqueues: {b: }\n"})
    assert getattr(loaded.topology.queues["a"], "max_messages", None) == 3
    assert loaded.topology.include == ("b.yaml",)


def test_extensions_at_the_top_are_not_in_each_others_way() -> None:
    loaded = load_text("version: 1\ninclude: [b.yaml]\nx-a: 1\n", others={"/w/b.yaml": "version: 1\nx-a: 2\nx-b: 3\n"})
    assert dict(loaded.topology.extensions) == {"x-a": 1, "x-b": 3}


@pytest.mark.parametrize("section", ["queues:", "queues: {}"])
def test_an_empty_section_is_in_nobodys_way(section: str) -> None:
    others = {"/w/b.yaml": f"version: 1\n{section}\n"}
    assert list(load_text("version: 1\ninclude: [b.yaml]\nqueues: {a: }\n", others=others).topology.queues) == ["a"]
    others = {"/w/b.yaml": "version: 1\nqueues: {a: }\n"}
    assert list(load_text(f"version: 1\ninclude: [b.yaml]\n{section}\n", others=others).topology.queues) == ["a"]


def test_too_many_files() -> None:
    others = {f"/w/f{n}.yaml": f"version: 1\ninclude: [f{n + 1}.yaml]\n" for n in range(100)}
    assert problem_of("version: 1\ninclude: [f0.yaml]\n", others=others).code == "too_large"


def test_an_absolute_path() -> None:
    loaded = load_text("version: 1\ninclude: [/else/b.yaml]\n", others={"/else/b.yaml": "version: 1\nqueues: {b: }\n"})
    assert loaded.marks.folder(("queues", "b")) == "/else"


def test_reading_stops_behind_the_limit() -> None:
    assert len(read_file("/dev/zero")) == BYTES_MAX + 1
