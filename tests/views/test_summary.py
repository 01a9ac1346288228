from __future__ import annotations

from dataclasses import replace

import pytest

from orchestra.views.summary import Ended, Ending, duration, summarise, summarise_down

WELL = Ending("pipeline", "r1", "down", 2.5)


def test_a_good_end_is_one_line() -> None:
    assert summarise(WELL) == "pipeline: run r1 ended well after 2.50 s\n"
    assert summarise(replace(WELL, stopped_by="SIGINT")) == "pipeline: run r1 was stopped by SIGINT after 2.50 s\n"


def test_a_failure_names_who_how_what_was_stopped_and_where_to_look() -> None:
    ending = replace(
        WELL,
        state="failed",
        failed=[("worker.2", "exited with code 3"), ("loader", "was ended by SIGSEGV")],
        skipped=[("report", "loader failed: was ended by SIGSEGV")],
        stopped=["reader", "worker.1"],
    )
    assert summarise(ending) == (
        "pipeline: run r1 failed after 2.50 s\n"
        "  worker.2  exited with code 3\n"
        "  loader    was ended by SIGSEGV\n"
        "  report  skipped: loader failed: was ended by SIGSEGV\n"
        "  stopped: reader, worker.1\n"
        "help: orchestra logs pipeline.worker.2\n"
    )
    assert summarise(replace(ending, hints=["mind the gap"])).endswith("worker.2\nhelp: mind the gap\n")


def test_what_is_declared_nowhere_is_named_where_it_fails_the_run() -> None:
    words = [f"sysv-segment:{number} was left and is declared nowhere: made by process 4 (p)" for number in range(14)]
    ending = replace(WELL, state="failed", undeclared=words[:1])
    assert summarise(ending).splitlines()[1:] == [
        "Failed because of `undeclared: fail`:",
        f"  {words[0]}",
        "help: declare it, or `undeclared: remove` removes what is proven to be the run's",
    ]
    assert summarise(replace(ending, undeclared=words)).splitlines()[-2] == "  … and 2 more"


def test_what_stays_behind_is_named_with_what_to_do() -> None:
    ending = replace(WELL, kept=[("board", "posix-segment:/board, on_down: keep")], left=[("jobs", "held by 7 (sh)")])
    assert summarise(ending).splitlines()[1:] == [
        "Left behind on purpose:",
        "  board  posix-segment:/board, on_down: keep",
        "help: orchestra audit, orchestra clean --kept --run r1",
        "Should have been removed and is still there:",
        "  jobs  held by 7 (sh)",
        "help: orchestra audit says who holds it; then orchestra clean",
    ]


def test_a_crash_says_what_finishes_it() -> None:
    text = summarise(replace(WELL, state="crashed", left=[("jobs", "x")], diagnosis="/home/me/runs/r1/stderr.txt"))
    assert text.splitlines() == [
        "pipeline: run r1 crashed: its supervisor died after 2.50 s",
        "help: this looks like a bug of orchestra: see /home/me/runs/r1/stderr.txt",
        "help: orchestra down pipeline ends and removes what is left",
    ]


def test_missing_lines_are_said() -> None:
    text = summarise(replace(WELL, lines_lost=1))
    assert text.splitlines()[1:] == ["warning: 1 line is missing in the log: it could not be written"]
    assert "1200 lines are missing in the log" in summarise(replace(WELL, lines_lost=1200))


def test_a_hundred_failures_do_not_fill_the_screen() -> None:
    ending = replace(WELL, state="failed", failed=[(f"w.{n}", "x") for n in range(100)], stopped=["s"] * 40)
    lines = summarise(ending).splitlines()
    assert len(lines) < 20
    assert "  … and 88 more" in lines
    assert lines[-2].endswith(" and 28 more")


def test_names_and_reasons_cannot_paint() -> None:
    assert "\x1b" not in summarise(replace(WELL, state="failed", failed=[("w", "\x1b[2J")]))


def test_down_in_words() -> None:
    assert summarise_down(Ended("pipeline", "r1", nothing_to_do=True)) == "pipeline was down already\n"
    assert summarise_down(Ended("pipeline", "r1", removed=1)) == "pipeline is down: 1 object removed\n"
    crashed = Ended("pipeline", "r1", removed=2, survivors=1, stuck=[7, 8], kept=[("board", "on_down: keep")])
    assert summarise_down(crashed).splitlines() == [
        "pipeline is down: 1 surviving process ended, 2 objects removed",
        "Could not be ended: 7, 8",
        "Left behind on purpose:",
        "  board  on_down: keep",
        "help: orchestra audit, orchestra clean --kept --run r1",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0.00 s"), (0.314, "0.31 s"), (12.41, "12.4 s"), (185, "3 min 5 s"), (7440, "2 h 4 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
