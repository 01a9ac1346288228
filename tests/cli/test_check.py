"""plan, validate, config, schema, cflags: looking before running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestra.cli.plan import enforcer
from orchestra.kinds import OBJECT_KINDS, Access, Family, Kind
from orchestra.runplan import ObjectPlan
from tests.cli.test_look import MAYBE_TEXT, NUMBER, TEXT, exactly
from tests.support.cli import Answer, inside

GOOD = """\
version: 1
name: pipeline
variables: { rate: 100 }
queues:
  jobs: { max_messages: 8, message_size: 256 }
semaphores:
  locks: { family: sysv, values: [1, 0] }
segments:
  table: { family: sysv, size: 1KiB, on_down: keep }
processes:
  first: { command: ["true", "${rate}"], uses: { jobs: write, table: read } }
  second: { command: ["true"], uses: { jobs: read, locks: read-write }, depends_on: { first: completed } }
  server: { command: [sleep, "9"], service: true }
"""
BAD = """\
version: 1
queues: { jobs: { famly: posix } }
processes:
  a: { command: [nonesuch-program] }
  b: { command: ["true"], uses: [job] }
"""

PROBLEM = exactly(file=TEXT, line=NUMBER, column=NUMBER, code=TEXT, path=TEXT, message=TEXT, help=TEXT)
PROBLEMS = {"type": "array", "items": PROBLEM}
VALIDATE = exactly(
    schema={"const": "orchestra/validate/1"},
    files={
        "type": "array",
        "items": exactly(file=TEXT, ok={"type": "boolean"}, errors=PROBLEMS, warnings=PROBLEMS),
    },
)
PLAN = exactly(
    schema={"const": "orchestra/plan/1"},
    instance=TEXT,
    steps={
        "type": "array",
        "items": exactly(
            n=NUMBER,
            action={"enum": ["create", "start", "wait", "stop", "remove", "keep"]},
            object=MAYBE_TEXT,
            process=MAYBE_TEXT,
            detail=TEXT,
        ),
    },
    uses={
        "type": "array",
        "items": exactly(
            process=TEXT,
            object=TEXT,
            access={"enum": ["read", "write", "read-write"]},
            enforced_by={"enum": ["kernel", "program", None]},
            how=TEXT,
        ),
    },
)


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Give a function that runs a command beside good.yaml and bad.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)

    def command(*words: str) -> Answer:
        answer = inside(capsys, *words)
        assert not home.exists()
        return answer

    return command


def test_plan_is_the_order_of_a_run(run: Any) -> None:
    answer = run("plan", "good.yaml", "--format", "json")
    assert (answer.code, answer.err) == (0, "")
    jsonschema.validate(answer.json, PLAN)
    assert [(s["action"], s["object"] or s["process"]) for s in answer.json["steps"]] == [
        ("create", "jobs"),
        ("create", "table"),
        ("create", "locks"),
        ("start", "first"),
        ("wait", "first"),
        ("start", "second"),
        ("start", "server"),
        ("wait", "second"),
        ("stop", "server"),
        ("remove", "locks"),
        ("keep", "table"),
        ("remove", "jobs"),
    ]
    by = {(u["process"], u["object"]): u["enforced_by"] for u in answer.json["uses"]}
    assert by == {
        ("first", "jobs"): "kernel",
        ("first", "table"): "program",
        ("second", "jobs"): "kernel",
        ("second", "locks"): None,
    }


def test_plan_as_a_table(run: Any) -> None:
    lines = run("plan", "good.yaml", "--scale", "second=3").out.splitlines()
    assert lines[0].split() == ["STEP", "ACTION", "WHAT", "DETAIL"]
    assert "3 replicas" in "\n".join(lines)
    assert "PROCESS  OBJECT  ACCESS      ENFORCED BY" in lines


@pytest.mark.parametrize(("family", "kind"), OBJECT_KINDS, ids=str)
@pytest.mark.parametrize("access", Access, ids=str)
def test_every_use_has_an_enforcer(family: Family, kind: Kind, access: Access) -> None:
    by, how = enforcer(ObjectPlan("x", family, kind), access)
    assert by in ("kernel", "program", None)
    assert how


def test_validate_of_good_and_bad(run: Any) -> None:
    answer = run("validate", "good.yaml", "bad.yaml", "--format", "json")
    assert answer.code == 2
    jsonschema.validate(answer.json, VALIDATE)
    good, bad = answer.json["files"]
    assert (good["file"], good["ok"], good["errors"]) == ("good.yaml", True, [])
    assert (bad["file"], bad["ok"]) == ("bad.yaml", False)
    assert [(e["line"], e["column"], e["code"]) for e in bad["errors"]] == [
        (2, 19, "unknown_key"),
        (4, 18, "executable"),
        (5, 34, "unknown_name"),
    ]
    assert bad["errors"][0]["path"] == "queues.jobs.famly"
    assert "family" in bad["errors"][0]["help"]


def test_validate_in_words(run: Any) -> None:
    good = run("validate", "good.yaml")
    assert (good.code, good.out, good.err) == (0, "", "good.yaml is valid\n")
    bad = run("validate", "bad.yaml", "good.yaml")
    assert (bad.code, bad.err) == (2, "3 errors in 1 of 2 files\n")
    assert bad.out.startswith("bad.yaml:2:19: error[unknown_key]: queues.jobs.famly: ")
    missing = run("validate", "nothing.yaml")
    assert (missing.code, missing.out) == (2, "")
    assert "there is no nothing.yaml" in missing.err


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


def test_schema_is_a_json_schema_that_the_example_meets(run: Any) -> None:
    schema = run("schema").json
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"version": 1, "processes": {"a": {"command": ["true"]}}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "services": {}}, schema)


def test_cflags_lead_to_the_header(run: Any) -> None:
    flags = run("cflags").out.strip()
    assert flags.startswith("-I")
    assert (Path(flags[2:]) / "orchestra.h").is_file()


def test_one_file_at_a_time(run: Any) -> None:
    for command in ("plan", "config"):
        answer = run(command, "good.yaml", "-f", "bad.yaml")
        assert answer.code == 2
        assert "name a file" in answer.err
