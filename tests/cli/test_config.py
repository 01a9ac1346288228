"""config: the resolved file, which is a file again."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_config_is_a_file_again_with_origins(run: Any, tmp_path: Path) -> None:
    first = run("config", "good.yaml", "--set", "rate=7")
    assert (first.code, first.err) == (0, "")
    assert 'command: ["true", "7"]  # good.yaml:11 (--set rate)' in first.out
    assert "on_down: remove  # default" in first.out
    (tmp_path / "again.yaml").write_text(first.out)
    again = run("config", "again.yaml")
    assert again.code == 0
    assert [line.split("  #")[0] for line in again.out.splitlines()] == [
        line.split("  #")[0] for line in first.out.splitlines()
    ]
    content = run("config", "good.yaml", "--format", "json").json
    assert content["schema"] == "orchestra/config/1"
    assert content["file"] == str(tmp_path / "good.yaml")
    assert content["topology"]["queues"]["jobs"]["max_messages"] == 8
    assert content["origins"]["queues.jobs.max_messages"]["line"] == 5
