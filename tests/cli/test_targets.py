from __future__ import annotations

import pytest

from orchestra.cli.targets import Known, Names, clear_instance, is_address, is_file, parse_address, resolve
from orchestra.errors import NotFound, UsageError
from orchestra.kinds import Family, Kind, ObjectRef

HERE = "/home/me/orchestra.yaml"
PIPELINE = Known("pipeline", "r1", "pipeline", "/srv/pipeline.yaml", live=True)
SECOND = Known("second", "r2", "pipeline", "/srv/pipeline.yaml", live=True)
RING = Known("ring", "r3", "ring", "/srv/ring.yaml", live=False)
LOCAL = Known("local", "r4", "local", HERE, live=False)
NAMES = {
    "pipeline": Names(frozenset({"reader", "worker"}), frozenset({"jobs"})),
    "second": Names(frozenset({"reader", "worker"}), frozenset({"jobs"})),
    "ring": Names(frozenset({"ring", "pipeline"}), frozenset({"frames"})),
    "local": Names(frozenset({"main"}), frozenset()),
}


def names_of(known: Known) -> Names:
    return NAMES[known.instance]


def look(word: str, known: list[Known], **options: str) -> tuple[str, str | None, int | None]:
    target = resolve(word, known, names_of, default_file=HERE, **options)
    return target.instance.instance, target.name, target.replica


@pytest.mark.parametrize("word", ["a.yaml", "a.json", "./a", "a/b", "/x", ".", "..", "topologies/ring/"])
def test_words_that_are_files(word: str) -> None:
    assert is_file(word)


@pytest.mark.parametrize("word", ["pipeline", "pipeline.jobs", "worker.2", "a.yml", "posix-queue:/jobs"])
def test_words_that_are_not(word: str) -> None:
    assert not is_file(word)


@pytest.mark.parametrize(
    ("word", "ref"),
    [
        ("posix-queue:/jobs", ObjectRef(Family.POSIX, Kind.QUEUE, name="/jobs")),
        ("posix-segment:/board", ObjectRef(Family.POSIX, Kind.SEGMENT, name="/board")),
        ("posix-semaphore:/slots", ObjectRef(Family.POSIX, Kind.SEMAPHORE, name="/slots")),
        ("sysv-queue:32769", ObjectRef(Family.SYSV, Kind.QUEUE, id=32769)),
        ("sysv-semaphore:0", ObjectRef(Family.SYSV, Kind.SEMAPHORE, id=0)),
        ("sysv-segment:0x4f524331", ObjectRef(Family.SYSV, Kind.SEGMENT, key=0x4F524331)),
        ("sysv-segment:0XFFFFFFFF", ObjectRef(Family.SYSV, Kind.SEGMENT, key=0xFFFFFFFF)),
        ("file-segment:/tmp/j.bin", ObjectRef(Family.FILE, Kind.SEGMENT, name="/tmp/j.bin")),
        ("fifo:/tmp/f", ObjectRef(Family.FIFO, Kind.PIPE, name="/tmp/f")),
    ],
)
def test_addresses(word: str, ref: ObjectRef) -> None:
    assert is_address(word)
    assert parse_address(word) == ref
    if ref.key is None:
        assert str(ref) == word  # what we print can be typed back


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("posix-queue:jobs", "posix-queue:/jobs"),
        ("posix-queue:/a/b", "One slash"),
        ("posix-queue:", "One slash"),
        ("sysv-queue:abc", "ipcs"),
        ("sysv-queue:-1", "ipcs"),
        ("sysv-queue:0x", "0x…"),
        ("sysv-queue:0x100000000", "0x…"),
        ("sysv-queue:99999999999", "ipcs"),
        ("sysv-queue:0x0", "IPC_PRIVATE"),
        ("memfd-segment:x", "Kinds: posix-queue"),
        ("fifo:relative", "whole path"),
    ],
)
def test_addresses_that_cannot_be(word: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(word)
    assert hint in caught.value.hint


def test_the_instance_of_the_local_file_comes_before_the_only_live_one() -> None:
    assert clear_instance([PIPELINE, LOCAL], name=None, file=None, default_file=HERE) == LOCAL


def test_the_only_live_one_is_clear() -> None:
    assert clear_instance([PIPELINE, RING], name=None, file=None, default_file=HERE) == PIPELINE


def test_several_live_ones_are_listed() -> None:
    with pytest.raises(UsageError, match="which instance") as caught:
        clear_instance([SECOND, PIPELINE, RING], name=None, file=None, default_file=HERE)
    assert "Live: pipeline, second." in caught.value.hint


def test_without_a_live_one_the_known_ones_are_listed() -> None:
    with pytest.raises(UsageError) as caught:
        clear_instance([RING], name=None, file=None, default_file=HERE)
    assert "Known: ring." in caught.value.hint


def test_nothing_started_yet() -> None:
    with pytest.raises(NotFound, match="nothing has been started yet"):
        clear_instance([], name=None, file=None, default_file=HERE)


def test_a_name_wins_over_everything() -> None:
    assert clear_instance([PIPELINE, RING, LOCAL], name="ring", file=None, default_file=HERE) == RING


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(NotFound) as caught:
        clear_instance([PIPELINE, RING], name="pipelin", file=None, default_file=HERE)
    assert caught.value.hint == "Did you mean `pipeline`?"


def test_of_the_instances_of_one_file_the_live_one_then_the_one_with_its_own_name() -> None:
    ended = Known("second", "r2", "pipeline", "/srv/pipeline.yaml", live=False)
    assert clear_instance([PIPELINE, ended], name=None, file="/srv/pipeline.yaml", default_file=HERE) == PIPELINE
    assert clear_instance([SECOND, PIPELINE], name=None, file="/srv/pipeline.yaml", default_file=HERE) == PIPELINE


def test_of_several_live_instances_of_one_file_none_is_clear() -> None:
    third = Known("third", "r5", "pipeline", "/srv/pipeline.yaml", live=True)
    with pytest.raises(UsageError) as caught:
        clear_instance([SECOND, third], name=None, file="/srv/pipeline.yaml", default_file=HERE)
    assert "Live: second, third." in caught.value.hint


def test_a_file_never_started() -> None:
    with pytest.raises(NotFound, match="nothing has been started from that file"):
        clear_instance([PIPELINE], name=None, file="/srv/other.yaml", default_file=HERE)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("pipeline", ("pipeline", None, None)),
        ("pipeline.jobs", ("pipeline", "jobs", None)),
        ("pipeline.worker", ("pipeline", "worker", None)),
        ("pipeline.worker.2", ("pipeline", "worker", 2)),
        ("worker", ("pipeline", "worker", None)),
        ("worker.3", ("pipeline", "worker", 3)),
        ("jobs", ("pipeline", "jobs", None)),
    ],
)
def test_words_of_the_only_live_instance(word: str, expected: tuple[str, str | None, int | None]) -> None:
    assert look(word, [PIPELINE]) == expected


def test_an_instance_can_be_named_where_no_other_is_clear() -> None:
    assert look("ring", [PIPELINE, SECOND, RING]) == ("ring", None, None)


def test_a_name_needs_a_clear_instance() -> None:
    with pytest.raises(UsageError, match="which instance"):
        look("worker", [PIPELINE, SECOND])
    assert look("worker", [PIPELINE, SECOND], name="second") == ("second", "worker", None)
    assert look("worker", [PIPELINE, RING], file="/srv/pipeline.yaml") == ("pipeline", "worker", None)


def test_a_word_that_is_both_says_so() -> None:
    ring = Known("ring", "r3", "ring", "/srv/ring.yaml", live=True)
    with pytest.raises(UsageError, match="is an instance, and also a name in it") as caught:
        look("ring", [ring])
    assert "ring.ring" in caught.value.hint
    ended = Known("pipeline", "r1", "pipeline", "/srv/pipeline.yaml", live=False)
    with pytest.raises(UsageError, match="`pipeline` is an instance, and also a name in instance ring") as caught:
        look("pipeline", [ring, ended])
    assert "ring.pipeline" in caught.value.hint
    assert look("ring", [ring], name="ring") == ("ring", "ring", None)


@pytest.mark.parametrize("word", ["a..b", ".a", "a.", "a.b.c", "a.b.2.3", ""])
def test_malformed_words(word: str) -> None:
    with pytest.raises(UsageError, match="is no target"):
        look(word, [PIPELINE])


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(NotFound) as caught:
        look("worke", [PIPELINE])
    assert caught.value.hint == "Did you mean `worker`?"
    with pytest.raises(NotFound) as caught:
        look("pipeline.zzz", [PIPELINE])
    assert caught.value.hint == "Known: jobs, reader, worker."


def test_an_object_has_no_replicas() -> None:
    with pytest.raises(UsageError, match="has no replicas"):
        look("pipeline.jobs.1", [PIPELINE])


def test_two_names_for_one_instance_must_agree() -> None:
    with pytest.raises(UsageError, match="-n says second"):
        look("pipeline.worker", [PIPELINE, SECOND], name="second")
