from __future__ import annotations

import pytest

from orchestra.errors import OrchestraError, Problem, TopologyError
from orchestra.views.ansi import Paint
from orchestra.views.problems import render_error, render_problem, render_problems, shown_path

SLIP = Problem(
    file="orchestra.yaml",
    line=12,
    column=5,
    code="unknown_key",
    path="processes.worker.use",
    message="unknown key",
    help="did you mean `uses`?",
    excerpt="    use: { jobs: read }",
    width=3,
)


def test_a_finding_shows_its_place_the_line_a_caret_and_what_helps() -> None:
    assert render_problem(SLIP, "error") == (
        "orchestra.yaml:12:5: error[unknown_key]: processes.worker.use: unknown key\n"
        "   12 |     use: { jobs: read }\n"
        "      |     ^^^\n"
        "help: did you mean `uses`?\n"
    )


def test_a_finding_about_the_whole_file_has_no_line() -> None:
    whole = Problem("orchestra.yaml", 0, 0, "unreadable", "", "cannot be read: Permission denied")
    assert render_problem(whole, "error") == "orchestra.yaml: error[unreadable]: cannot be read: Permission denied\n"


def test_the_caret_stands_under_its_character_whatever_the_line_holds() -> None:
    tab = Problem("f.yaml", 1, 3, "tab", "", "a tab", excerpt="\t\x1b\tx", width=99)
    assert render_problem(tab, "error").splitlines()[1:] == ["    1 |  \ufffd x", "      |   ^^"]


def test_findings_come_in_reading_order_errors_first_and_the_rest_is_counted() -> None:
    later = Problem("orchestra.yaml", 30, 1, "b", "", "later")
    earlier = Problem("orchestra.yaml", 2, 1, "a", "", "earlier")
    odd = Problem("orchestra.yaml", 1, 1, "unused", "queues.jobs", "nobody uses it")
    text = render_problems([later, earlier], [odd])
    assert [line.split(": ")[1] for line in text.splitlines() if line] == ["error[a]", "error[b]", "warning[unused]"]
    assert render_problems([later] * 23).endswith("\n… and 3 more errors\n")


def test_an_error_has_three_parts_and_empty_ones_are_left_out() -> None:
    full = OrchestraError("it failed", detail="mq_open -> EACCES", hint="look at its mode")
    assert render_error(full) == "error: it failed\ndetail: mq_open -> EACCES\nhelp: look at its mode\n"
    assert render_error(OrchestraError("it failed")) == "error: it failed\n"


def test_a_topology_error_is_shown_by_its_findings() -> None:
    assert render_error(TopologyError([SLIP])) == render_problem(SLIP, "error")


def test_words_from_a_file_cannot_paint() -> None:
    evil = Problem("f.yaml", 1, 1, "c", "x\x1b[31m", "y\x1b[0m", help="\x07")
    assert "\x1b" not in render_problem(evil, "error")
    assert "\x07" not in render_problem(evil, "error")
    assert "\x1b[1;31merror[c]" in render_problem(evil, "error", Paint(enabled=True))


def test_paths_are_shown_as_the_user_would_type_them(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert shown_path(f"{tmp_path}/a/b.yaml") == "a/b.yaml"
    assert shown_path("/etc/hosts") == "/etc/hosts"


def far(column: int, length: int = 400, width: int = 3) -> list[str]:
    line = "".join(str(i // 10 % 10) if i % 10 == 0 else "." for i in range(1, length + 1))
    line = line[: column - 1] + "XYZ" + line[column + 2 :]
    problem = Problem("f.yaml", 1, column, "bad", "", "wrong", excerpt=line, width=width)
    return [row[8:] for row in render_problem(problem, "error").splitlines()[1:]]


@pytest.mark.parametrize("column", [1, 50, 111, 200, 330, 398])
def test_of_a_long_line_the_part_around_the_caret_is_shown(column: int) -> None:
    shown, caret = far(column)
    assert len(shown) <= 120
    place = caret.index("^^^")
    assert shown[place : place + 3] == "XYZ"
    assert (shown.startswith("…"), shown.endswith("…")) == (column > 80, column < 360)


def test_a_caret_does_not_go_on_beyond_the_part_that_is_shown() -> None:
    shown, caret = far(200, width=150)
    assert len(caret) <= len(shown)
