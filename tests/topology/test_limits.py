"""What the kernel can hold: the borders of each rule, and what does not count."""

from __future__ import annotations

import pytest

from orchestra.errors import Problem
from orchestra.kinds import KernelLimits
from orchestra.topology.limits import LIMITS, counted, made, queue_bytes, sized
from orchestra.topology.objectmodels import PosixQueue, SysvSegment
from tests.support.hosts import USUAL_LIMITS
from tests.support.topologies import load_text, partly


def found(text: str, **changes: object) -> list[Problem]:
    loaded = load_text("version: 1\n" + text)
    limits: KernelLimits = USUAL_LIMITS._replace(**changes)  # type: ignore[arg-type]
    return [problem for rule in LIMITS for problem in rule(loaded, limits)]


def paths(text: str, **changes: object) -> list[str]:
    return [problem.path for problem in found(text, **changes)]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1KiB"), (1536, "1536 bytes"), (2**20, "1MiB"),
        (3 * 2**29, "1536MiB"), (2**40, "1024GiB"),
    ],
)  # fmt: skip
def test_sizes_are_exact(number: int, text: str) -> None:
    assert sized(number) == text


def test_one_is_no_plural() -> None:
    assert [counted(number, "POSIX queues") for number in (0, 1, 2)] == [
        "0 POSIX queues",
        "1 POSIX queue",
        "2 POSIX queues",
    ]


def test_only_what_this_run_makes_is_counted() -> None:
    loaded = partly("version: 1\nqueues: {a: , b: {name: /b, external: true}, c: {mode: 600}, d: {family: sysv}}\n")
    assert [path for path, _ in made(loaded, PosixQueue)] == [("queues", "a")]
    assert made(loaded, SysvSegment) == []


def test_a_message_costs_its_records_up_to_the_number_of_priorities() -> None:
    few = PosixQueue.model_validate({"max_messages": 32768, "message_size": 1})
    many = PosixQueue.model_validate({"max_messages": 32769, "message_size": 1})
    assert queue_bytes(few) == 32768 * (48 + 48 + 1)
    assert queue_bytes(many) - queue_bytes(few) == 48 + 1


def test_the_largest_of_several_queues_is_shown() -> None:
    text = "queues: {a: , b: {message_size: 100}, c: {max_messages: 9}}\n"
    (problem,) = found(text, rlimit_msgqueue=100_000)
    assert problem.path == "queues.a"
    assert problem.message.startswith("3 POSIX queues need ")
    (alone,) = found("queues: {a: }\n", rlimit_msgqueue=queue_bytes(PosixQueue()) - 1)
    assert alone.message.startswith("this queue needs ")
    assert found("queues: {a: }\n", rlimit_msgqueue=queue_bytes(PosixQueue())) == []


def test_the_key_that_makes_a_capacity_too_large_is_shown() -> None:
    assert paths("queues: {a: {family: sysv, max_messages: 2, message_size: 8193}}\n", msgmax=8193) == [
        "queues.a.max_messages"
    ]
    assert paths("queues: {a: {family: sysv, max_messages: 2, message_size: 8192}}\n") == []
    assert paths("queues: {a: {family: sysv, message_size: 8193, max_messages: 1}}\n") == ["queues.a.message_size"]


def test_pages_of_system_v_segments_are_rounded_up_and_summed() -> None:
    text = "segments: {a: {family: sysv, size: 1}, b: {family: sysv, size: 4097}}\n"
    assert paths(text, shmall_pages=3) == []
    assert paths(text, shmall_pages=2) == ["segments.a"]
    assert paths(text, shmmax=4096) == ["segments.b.size"]
    (problem,) = found("segments: {a: {family: sysv, size: 1}}\n", shmall_pages=0)
    assert problem.message == "System V segments of 1 page: this kernel allows 0 in all (kernel.shmall)"


def test_sets_of_semaphores() -> None:
    text = "semaphores: {a: {family: sysv, values: [1, 2, 3]}, b: {family: sysv, value: 32768}}\n"
    assert paths(text) == ["semaphores.b.value"]
    assert paths(text, semvmx=2) == ["semaphores.a.values.2", "semaphores.b.value"]
    assert paths(text, semvmx=2**31, semmsl=2) == ["semaphores.a.values"]
    assert paths(text, semvmx=2**31, semmns=4) == []
    assert paths(text, semvmx=2**31, semmns=3) == ["semaphores.a"]
    assert paths(text, semvmx=2**31, semmns=10, sysv_semaphores_now=7) == ["semaphores.a"]


FULL = {
    "queues: {a: {family: sysv%s}}\n": {"msgmni": 5, "sysv_queues_now": 5},
    "segments: {a: {family: sysv, size: 1%s}}\n": {"shmmni": 5, "sysv_segments_now": 5},
    "semaphores: {a: {family: sysv%s}}\n": {"semmni": 5, "sysv_sets_now": 5},
    "queues: {a: {name: /a%s}}\n": {"mq_queues_max": 5, "queues_now": 5},
}


@pytest.mark.parametrize("text", FULL)
def test_a_full_table_takes_no_new_object(text: str) -> None:
    full = FULL[text]
    (bound, now) = full
    (problem,) = found(text % "", **full)
    assert " beside 5 that exist already: this kernel allows 5 (" in problem.message
    assert problem.message.startswith("1 ")
    assert "s beside" not in problem.message
    assert found(text % "", **{**full, now: 4}) == []
    assert [item.code for item in found(text % "", **{bound: 0, now: 0})] == ["limit"]


@pytest.mark.parametrize("text", FULL)
def test_a_kept_object_may_be_among_those_that_exist(text: str) -> None:
    full = FULL[text]
    (_, now) = full
    assert found(text % ", on_down: keep", **full) == []
    assert found(text % ", on_down: keep", **{**full, now: 6}) == [], "the limit was lowered since"


def test_who_may_pass_the_number_of_posix_queues() -> None:
    assert found("queues: {a: }\n", mq_queues_max=0, cap_sys_resource=True) == []


def test_room_on_dev_shm() -> None:
    text = "segments: {a: {size: 4097}, b: {size: 1}}\nsemaphores: {c: }\n"
    assert paths(text, shm_free=16384) == []
    (problem,) = found(text, shm_free=16383)
    assert problem.path == "segments.a.size"
    assert problem.message == "3 POSIX segments and semaphores need 16KiB, and /dev/shm has 16383 bytes free"
    assert paths("semaphores: {a: , b: }\n", shm_free=4096) == ["semaphores.a"]


def test_what_is_kept_may_have_its_room_already() -> None:
    assert paths("segments: {a: {size: 1MiB, on_down: keep}}\n", shm_free=0) == []
    assert paths("semaphores: {a: {on_down: keep}}\n", shm_free=0) == []
    text = "segments: {a: {size: 1MiB, on_down: keep}}\nsemaphores: {b: }\n"
    (problem,) = found(text, shm_free=1)
    assert problem.path == "semaphores.b"
    assert problem.message == "this needs 4KiB, and /dev/shm has 1 byte free"
