"""cflags: the way to the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_cflags_lead_to_the_header(run: Any) -> None:
    flags = run("cflags").out.strip()
    assert flags.startswith("-I")
    assert (Path(flags[2:]) / "orchestra.h").is_file()
