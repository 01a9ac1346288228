"""Rules over a whole file that need no host; the words are in the corpus, here is the logic."""

from __future__ import annotations

from orchestra.errors import Problem
from tests.support.topologies import load_text, problems_of


def warnings(uses: str, queue: str = "{}") -> list[str]:
    text = f"version: 1\nqueues: {{q: {queue}}}\nprocesses:\n  a: {{command: [cat], uses: {{{uses}}}}}\n"
    return [problem.message for problem in load_text(text).warnings]


def test_one_sided_queues() -> None:
    assert warnings("q: read") == ["`q` has only readers"]
    assert warnings("q: write") == ["`q` has only writers"]
    assert warnings("q: read-write") == []
    assert warnings("") == ["no process uses `q`"]
    assert warnings("q: write", "{external: true, name: /q}") == []


def test_two_sides_in_two_processes() -> None:
    text = "version: 1\npipes: {p: }\nprocesses:\n  a: {command: [cat], uses: {p: read}}\n"
    text += "  b: {command: [cat], uses: {p: write}}\n"
    assert load_text(text).warnings == []


def same(first: str, second: str, sections: tuple[str, str] = ("queues", "queues")) -> list[Problem]:
    text = f"version: 1\n{sections[0]}:\n  a: {first}\n"
    text += f"  b: {second}\n" if sections[0] == sections[1] else f"{sections[1]}:\n  b: {second}\n"
    return problems_of(text)


def test_names_may_meet_only_where_they_are_of_different_worlds() -> None:
    assert same("{name: /x}", "{name: /x}")
    assert not same("{name: /x}", "{name: /x, size: 1}", ("queues", "segments"))
    assert not same("{name: /x}", "{name: /x, size: 1}", ("semaphores", "segments"))
    assert same("{name: /x}", "{name: /sem.x, size: 1}", ("semaphores", "segments"))
    assert not same("{family: sysv, key: 1}", "{family: sysv, key: 1}", ("queues", "semaphores"))
    assert not same("{family: sysv, key: private}", "{family: sysv, key: private}")


def test_an_external_object_may_be_declared_beside_nothing_of_the_same_name() -> None:
    assert same("{name: /x, external: true}", "{name: /x}")
