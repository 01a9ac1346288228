from __future__ import annotations

from orchestra.views.ansi import Paint
from orchestra.views.table import Column, display_width, render_table

COLUMNS = [Column("name", shrink=True), Column("pid", right=True), Column("state", styles=lambda _: ("green",))]


def test_columns_align_two_spaces_apart_under_an_upper_case_header() -> None:
    text = render_table(COLUMNS, [("reader", 7, "up"), ("w", 12345, "down")])
    assert text == (
        "NAME      PID  STATE\n"
        "reader      7  up\n"
        "w       12345  down\n"
    )  # fmt: skip


def test_no_rows_leave_the_header() -> None:
    assert render_table(COLUMNS, []) == "NAME  PID  STATE\n"


def test_nothing_is_shown_as_a_dash() -> None:
    assert render_table(COLUMNS, [(None, None, "")]).splitlines()[1] == "-       -  -"


def test_a_pipe_gets_every_character_and_a_terminal_cut_cells() -> None:
    rows = [("a" * 60, 1, "up")]
    assert "a" * 60 in render_table(COLUMNS, rows)
    lines = render_table(COLUMNS, rows, width=40).splitlines()
    assert [len(line) for line in lines] == [40, 37]
    assert lines[1].startswith("a" * 27 + "…  ")


def test_a_very_narrow_terminal_keeps_something_of_every_cell() -> None:
    line = render_table(COLUMNS, [("a" * 60, 1, "up")], width=10).splitlines()[1]
    assert line == "aaaaaaa…    1  up"


def test_wide_characters_count_twice() -> None:
    assert display_width("日本") == 4
    assert display_width("e\u0301") == 1
    lines = render_table(COLUMNS, [("日本", 1, "up"), ("abcd", 1, "up")]).splitlines()
    assert lines[1] == "日本    1  up"
    assert lines[2] == "abcd    1  up"


def test_control_characters_of_foreign_names_never_reach_the_terminal() -> None:
    text = render_table([Column("name")], [("\x1b]0;owned\x07\n\u202efdp",)])
    assert text.splitlines()[1] == "\\x1b]0;owned\\x07\\n\\u202efdp"


def test_colour_does_not_move_columns() -> None:
    text = render_table(COLUMNS, [("a", 1, "up")], paint=Paint(enabled=True))
    assert text.splitlines()[1] == "a       1  \x1b[32mup\x1b[0m"
