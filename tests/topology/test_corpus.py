"""The shared corpus: good files load and fit the schema, bad files say what is wrong in exactly these words.

ORCT_UPDATE_GOLDEN=1 rewrites the expected messages; read the diff before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestra.errors import TopologyError
from orchestra.kinds import KernelLimits
from orchestra.topology.composer import compose
from orchestra.topology.dump import dump, to_json
from orchestra.topology.loader import Loaded
from orchestra.topology.nodes import plain_data
from orchestra.topology.resolved import resolve
from orchestra.topology.rules import load_checked
from orchestra.topology.schema import json_schema
from orchestra.views.problems import render_problems
from tests.support.hosts import USUAL_LIMITS, FakeHost

CORPUS = Path(__file__).parent / "corpus"
GOOD = sorted(path for path in (CORPUS / "good").iterdir() if path.suffix in (".yaml", ".json"))
BAD = sorted(path for path in CORPUS.glob("bad/*/*") if path.suffix in (".yaml", ".json"))
STRUCTURE = [path for path in BAD if path.parent.name == "structure"]
SCHEMA = json_schema()

ORDINARY = USUAL_LIMITS._replace(capabilities=0)
SMALL = USUAL_LIMITS._replace(
    rlimit_msgqueue=100_000, mq_queues_max=2, shmmax=2**20, semmsl=3, semmns=5, msgmni=2, shm_free=16384
)


LIMITS = {"limits.yaml": SMALL, "privileges.yaml": ORDINARY}


def a_host(folder: str, uid: int = 0) -> FakeHost:
    """Return the host that the corpus is checked against: the files it names are there, or not, as it needs them."""
    programs = {f"/usr/bin/{name}": b"\x7fELF" for name in ("cat", "python3", "sh", "make", "env", "echo", "printf")}
    scripts = {
        "not-executable": b"#!/usr/bin/sh\n",
        "bad-interpreter.sh": b"#!/opt/none/bash -e\n",
        "env-missing.py": b"#!/usr/bin/env pyhton3\n",
        "crlf.sh": b"#!/usr/bin/sh\r\n",
        "empty-line.sh": b"#! \n",
        "fine.sh": b"#!/usr/bin/env python3\n",
        "present": b"\x7fELF",
        "bin/tool": b"\x7fELF",
        "tool": b"\x7fELF",
        "collector": b"\x7fELF",
        "parts/logger": b"\x7fELF",
        "words.txt": b"words",
        "f": b"",
        "secret.txt": b"abcd",
        "long.txt": b"12345",
        "1.txt": b"",
        "variables.env": b'A=1\nexport B="x y"\n',
        "more.env": b"MODE='file'\n",
        "secret.env": b"A=1\n",
        "bad.env": b"A=1\nB\n=x\nORCHESTRA_X=1\nC='never closed\n",
        "pipeline/__init__.py": b"",
        "pipeline/workers.py": b"",
    }
    local = {f"{folder}/{name}": content for name, content in scripts.items()}
    return FakeHost(
        files={**programs, **local},
        executable={*programs, *local} - {f"{folder}/not-executable"},
        folders={f"{folder}/folder", "/readonly"},
        special={f"{folder}/a.fifo"},
        unreadable={f"{folder}/secret.txt", f"{folder}/secret.env"},
        unwritable={"/readonly"},
        closed={"/root/secret"},
        uid=uid,
    )


def load(path: Path, limits: KernelLimits = USUAL_LIMITS) -> Loaded:
    folder = str(path.parent)
    return load_checked(
        path.name,
        environment={"PATH": "/usr/bin", "empty": ""},
        cwd=folder,
        limits=lambda: limits,
        host=a_host(folder, 1000 if limits is ORDINARY else 0),
    )


def parsed(path: Path) -> Any:
    root, problems = compose(path.read_bytes(), path.name, str(path.parent))
    assert not problems, problems
    return plain_data(root)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_a_good_file_loads(path: Path) -> None:
    assert load(path).topology.version == 1


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_a_good_file_fits_the_schema(path: Path) -> None:
    if path.name == "everything.yaml":  # a word that only the loader keeps as text
        text = path.read_text().replace("0644", "'0644'")
        root, _ = compose(text.encode(), path.name, "/")
        jsonschema.Draft202012Validator(SCHEMA).validate(plain_data(root))
    else:
        jsonschema.Draft202012Validator(SCHEMA).validate(parsed(path))


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_a_good_file_in_its_resolved_form_is_the_same_run(path: Path) -> None:
    loaded = load(path)
    resolved = resolve(loaded)
    again = load_text(resolved.to_yaml(), str(path.parent))
    assert resolve(again).data == resolved.data
    jsonschema.Draft202012Validator(SCHEMA).validate(to_json(resolved.data))
    assert dump(again.topology) == dump(load_text(dump(again.topology), str(path.parent)).topology)


def load_text(text: str, folder: str) -> Loaded:
    host = a_host(folder)
    return load_checked(
        "x.yaml",
        environment={"PATH": "/usr/bin"},
        cwd=folder,
        limits=lambda: USUAL_LIMITS,
        host=host,
        read=lambda _: text.encode(),
    )


@pytest.mark.parametrize("path", BAD, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_bad_file_says_what_is_wrong(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    limits = LIMITS.get(path.name, USUAL_LIMITS)
    with pytest.raises(TopologyError) as caught:
        load(path, limits)
    text = render_problems(caught.value.problems, caught.value.warnings, limit=1000)
    text = text.replace(str(path.parent), "/CORPUS")
    golden = path.with_name(path.name + ".txt")
    if os.environ.get("ORCT_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("path", BAD, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_finding_has_a_place_a_code_and_words(path: Path) -> None:
    with pytest.raises(TopologyError) as caught:
        load(path, LIMITS.get(path.name, USUAL_LIMITS))
    for problem in caught.value.problems:
        assert problem.message
        assert problem.code.replace("_", "").isalpha()
        assert problem.line >= 1 or problem.code in ("empty",)
        if problem.line and problem.excerpt:
            assert 1 <= problem.column <= len(problem.excerpt) + 1
            assert problem.width >= 1
        assert "PydanticCustomError" not in problem.message
        assert "Scalar" not in problem.message


@pytest.mark.parametrize("path", STRUCTURE, ids=lambda path: path.name)
def test_a_file_of_the_wrong_structure_does_not_fit_the_schema_either(path: Path) -> None:
    data = parsed(path)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert not validator.is_valid(data)


@pytest.mark.parametrize("path", STRUCTURE, ids=lambda path: path.name)
def test_each_entry_of_the_wrong_structure_is_refused_by_both(path: Path) -> None:
    """Entry by entry, so that one wrong entry does not hide that the schema lets another pass."""
    data = parsed(path)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    with pytest.raises(TopologyError) as caught:
        load(path)
    wrong = {tuple(problem.path.split(".")[:2]) for problem in caught.value.problems}
    disagreed = [
        (section, key)
        for section in ("queues", "segments", "semaphores", "pipes", "processes")
        for key, entry in (data.get(section).items() if isinstance(data.get(section), dict) else ())
        if validator.is_valid({"version": 1, section: {key: entry}}) == ((section, key) in wrong)
    ]
    assert disagreed == []
