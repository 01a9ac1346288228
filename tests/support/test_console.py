"""What makes one run of a transcript look like the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.console import Session, commands_of


@pytest.mark.parametrize(
    ("text", "steady"),
    [
        ("started as pid 12345", "started as pid 4711"),
        ("ended well after 12.34 s", "ended well after 0.4 s"),
        ("12:34:56.123456", "12:00:00"),
        ("2026-11-23T12:34:56.123456Z", "2026-01-31T12:00:00Z"),
        ("sysv-queue:3  jobs", "sysv-queue:32769  jobs"),
        (
            "turns   sysv  semaphore  393263      0x00000017     -",
            "turns   sysv  semaphore  32769       0x00000017     -",
        ),
        ("remove   ?", "remove   -"),
        ("replica 2 of 3", "replica 2 of 3"),
    ],
)
def test_what_differs_from_run_to_run_is_replaced(text: str, steady: str, tmp_path: Path) -> None:
    assert Session(tmp_path / "s").steady(text) == steady


def test_processes_keep_apart(tmp_path: Path) -> None:
    session = Session(tmp_path / "s")
    assert session.steady("pid 500, pid 600") == "pid 4711, pid 4712"
    assert session.steady("pid 600") == "pid 4712"


def test_commands_and_their_output() -> None:
    assert commands_of("$ one\na\nb\n$ two \\\n    more\nc\n") == [("one", ["a", "b"]), ("two \\\n    more", ["c"])]
