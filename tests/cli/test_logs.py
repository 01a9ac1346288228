"""logs of a run, whole and in part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import orchestra
from tests.support.small_runs import (
    topology,
)

pytestmark = pytest.mark.slow


def test_logs_of_a_run(home: Path, tmp_path: Path) -> None:
    topology(
        tmp_path,
        "  talker: {command: [sh, -c, 'echo one; echo two >&2; echo three'], replicas: 2}\n"
        "  quiet: {command: ['true']}\n",
    )
    orchestra("up", home=home, cwd=tmp_path)

    def shown(*words: str) -> list[str]:
        answer = orchestra("logs", *words, home=home, cwd=tmp_path)
        assert answer.code == 0
        return answer.out.splitlines()

    assert len(shown("talker.2")) > len(shown("talker.2", "--stream", "stdout")) == 2
    assert [line.split()[-1] for line in shown("demo.talker.1", "--stream", "stdout")] == ["one", "three"]
    assert all("talker" in line for line in shown("demo.talker", "--grep", "two|three"))
    assert len(shown("--event", "process.started")) == 3
    assert len(shown("--tail", "1")) == 1
    assert shown("--level", "error") == []
    assert shown("--until", "1h") == []
    stored = [json.loads(line) for line in shown("demo", "--format", "json")]
    assert stored[0]["event"] == "run.started"
    assert stored[-1]["event"] == "run.ended"
    assert shown("./orchestra.yaml") == shown()


def test_a_question_that_no_line_answers_is_answered_in_words(home: Path, tmp_path: Path) -> None:
    (tmp_path / "orchestra.yaml").write_text("version: 1\nname: demo\nprocesses: {a: {command: [echo, here]}}\n")
    assert orchestra("up", home=home, cwd=tmp_path).code == 0
    for words in (["demo.a.7"], ["--event", "no.such"], ["--grep", "nowhere", "--format", "json"]):
        answer = orchestra("logs", *words, home=home, cwd=tmp_path)
        assert (answer.code, answer.out, "no such line" in answer.err) == (0, "", True), answer
    assert orchestra("logs", "demo.a", home=home, cwd=tmp_path).err == ""
