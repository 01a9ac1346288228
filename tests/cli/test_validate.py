"""validate: every error of every file at once."""

from __future__ import annotations

from typing import Any

import jsonschema

from tests.support.shapes import NUMBER, TEXT, exactly

PROBLEM = exactly(file=TEXT, line=NUMBER, column=NUMBER, code=TEXT, path=TEXT, message=TEXT, help=TEXT)

PROBLEMS = {"type": "array", "items": PROBLEM}

VALIDATE = exactly(
    schema={"const": "orchestra/validate/1"},
    files={
        "type": "array",
        "items": exactly(file=TEXT, ok={"type": "boolean"}, errors=PROBLEMS, warnings=PROBLEMS),
    },
)


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
