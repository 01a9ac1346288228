"""Who makes what, and so who waits for whom."""

from __future__ import annotations

from orchestra.topology.makers import awaited, blocked, made_by, makers, watched
from tests.support.topologies import load_text

TOPOLOGY = load_text("""version: 1
queues:
  jobs: { name: /orct.j, made_by: maker }
  more: { name: /orct.m, made_by: maker }
  own: { name: /orct.o, made_by: user }
  other:
pipes: { feed: }
processes:
  maker: { command: [a], ready: { exists: more } }
  reader: { command: [a], uses: { feed: read } }
  first: { command: [a] }
  user:
    command: [a]
    uses: [more, jobs, own]
    depends_on: { first: completed }
    wait_for: { reader: { blocked_on: feed }, other: { messages: 1 } }
""").topology


def test_makers_of_what_is_used() -> None:
    assert makers("user", TOPOLOGY) == {"maker": "more"}
    assert makers("maker", TOPOLOGY) == {}
    assert made_by("maker", TOPOLOGY) == ["jobs", "more"]


def test_everything_that_is_awaited() -> None:
    assert blocked("user", TOPOLOGY) == ["reader"]
    assert awaited("user", TOPOLOGY) == ["first", "maker", "reader"]


def test_everything_a_process_has_to_do_with() -> None:
    assert watched("user", TOPOLOGY) == {"more", "jobs", "own", "feed", "other"}
    assert watched("maker", TOPOLOGY) == {"jobs", "more"}
