"""The line between a command and its supervisor."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from orchestra.supervisor.channel import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = (Channel(sock) for sock in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    big = {"event": "big", "text": "ä\n" * 20_000}
    assert ours.send({"event": "a"})
    assert ours.send(big)
    found: list[object] = []
    while len(found) < 2:
        messages, ended = theirs.receive(wait=True)
        found += messages
        assert not ended
    assert found == [{"event": "a"}, big]
    assert theirs.receive() == ([], False)


def test_ticks_do_not_pile_up(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    for _ in range(10_000):
        ours.tick()
    assert ours.send({"event": "ended"}), "however many ticks, what matters fits"
    messages, _ = theirs.receive()
    assert messages == [None, {"event": "ended"}]
    ours.tick()
    assert theirs.receive(wait=True) == ([None], False), "a tick is sent again once the last was read"


def test_the_other_side_going_away(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.send({"event": "last"})
    theirs.close()
    assert ours.receive(wait=True) == ([{"event": "last"}], False)
    assert ours.receive(wait=True) == ([], True)
    assert not ours.send({"op": "stop"})
    ours.tick()


def test_somebody_who_does_not_read_is_given_up(ends: tuple[Channel, Channel]) -> None:
    ours, _ = ends
    assert not ours.send({"text": "x" * 10_000_000}, timeout=0.05)


def test_a_descriptor_taken_over_does_not_reach_children() -> None:
    ours, theirs = socket.socketpair()
    fd = theirs.detach()
    import os

    os.set_inheritable(fd, True)
    channel = Channel.from_fd(fd)
    assert not os.get_inheritable(channel.fileno())
    channel.close()
    ours.close()


def test_descriptors_come_along_as_copies(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    text = "x" * 300_000  # longer than the socket takes at once
    with open("/dev/null") as file:
        sender = threading.Thread(target=lambda: ours.send({"op": "run", "text": text}, descriptors=[file.fileno()]))
        sender.start()
        found: list[object] = []
        while not found:
            found, _ = theirs.receive(wait=True)  # type: ignore[assignment]
        sender.join()
        assert found == [{"op": "run", "text": text}]
        (copy,) = theirs.descriptors
        assert os.path.samestat(os.fstat(copy), os.fstat(file.fileno()))
        assert copy != file.fileno()
        assert not os.get_inheritable(copy)
        os.close(copy)


def test_what_was_given_back_comes_first(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send({"op": "run"})
    ours.send({"op": "stop"})
    found: list[object] = []
    while len(found) < 2:
        messages, _ = theirs.receive(wait=True)
        found += messages
    theirs.unread([{"op": "stop"}])
    assert theirs.receive(wait=True) == ([{"op": "stop"}], False)
    assert theirs.receive() == ([], False)
