"""Who made it: what the kernel's pids prove, and what they do not."""

from __future__ import annotations

from orchestra.audit.attribute import CLOCK_GRAIN, Clue, Life, deeds_of, makers
from orchestra.kernel.census import Process
from tests.support.seen import file_seen, queue_seen, segment_seen, set_seen


def alive(pid: int) -> Process | None:
    """Process 100 runs since 900, 200 since 5000, 300 since nobody knows when; nothing else runs."""
    return {
        100: Process(100, "maker", 1, 900.0), 200: Process(200, "late", 2, 5000.0), 300: Process(300, "", None, None),
    }.get(pid)  # fmt: skip


def test_a_living_creator_is_named() -> None:
    found = makers(segment_seen(cpid=100), alive, sees_all=True)
    assert found.living == Clue("created it", 100, Life.ALIVE, "maker")
    assert found.living.words == "process 100 (maker), which created it, is alive"
    assert not found.all_gone


def test_a_creator_that_is_gone_is_proof() -> None:
    found = makers(segment_seen(cpid=101), alive, sees_all=True)
    assert (found.living, found.all_gone) == (None, True)
    assert found.clues[0].words == "process 101, which created it, is gone"


def test_a_pid_that_was_given_out_again_is_not_the_creator() -> None:
    assert makers(segment_seen(cpid=200), alive, sees_all=True).all_gone
    just_before = segment_seen(cpid=200, ctime=int(5000 - CLOCK_GRAIN))
    assert makers(just_before, alive, sees_all=True).living is not None, "clocks are coarse: it counts as in use"


def test_who_attached_last_lives_although_the_creator_is_gone() -> None:
    found = makers(segment_seen(cpid=101, lpid=100, atime=1500), alive, sees_all=True)
    assert found.living is not None
    assert found.living.deed == "attached or detached it last"


def test_pid_0_is_a_process_outside_and_proves_nothing() -> None:
    found = makers(segment_seen(cpid=0), alive, sees_all=True)
    assert not found.all_gone
    assert found.clues[0].words == "a process outside of this pid namespace created it"


def test_a_process_that_proc_hides_may_be_the_one() -> None:
    found = makers(segment_seen(cpid=300), alive, sees_all=True)
    assert (found.living, found.all_gone) == (None, False)
    assert "cannot be told to be gone" in found.clues[0].words


def test_queues_know_who_sent_and_received_last() -> None:
    assert deeds_of(queue_seen(lspid=7, lrpid=8)) == (), "never used: the pids mean nothing"
    both = queue_seen(lspid=101, stime=1100, lrpid=100, rtime=1200)
    assert [(deed[1], deed[2]) for deed in deeds_of(both)] == [(101, 1100), (100, 1200)]
    assert makers(both, alive, sees_all=True).living is not None
    assert [deed[1] for deed in deeds_of(queue_seen(lspid=7, stime=1, lrpid=7, rtime=2))] == [7]
    outside = makers(queue_seen(lspid=0, stime=1100), alive, sees_all=True)
    assert not outside.all_gone, "sent by a process of another pid namespace"


def test_sets_know_who_changed_each_member_last() -> None:
    assert not makers(set_seen(), alive, sees_all=True).clues
    assert makers(set_seen(), alive, last_changers=(101, 101, 0), sees_all=True).all_gone
    assert makers(set_seen(), alive, last_changers=(101, 100), sees_all=True).living is not None


def test_a_pid_in_a_name_proves_a_death_only_where_everybody_would_be_seen() -> None:
    assert makers(file_seen(), alive, named=101, sees_all=True).all_gone
    hidden = makers(file_seen(), alive, named=101, sees_all=False)
    assert (hidden.all_gone, hidden.clues[0].life) == (False, Life.UNPROVEN)
    assert makers(file_seen(), alive, named=200, sees_all=False).clues[0].life is Life.UNPROVEN
    assert makers(file_seen(), alive, named=100, sees_all=False).living is not None


def test_nothing_tells_about_a_file() -> None:
    assert makers(file_seen(), alive, sees_all=True).clues == ()
