"""The resolved file and where each value comes from."""

from __future__ import annotations

from orchestra.topology.resolved import Origin, resolve
from tests.support.topologies import load_text

TEXT = """version: 1
variables: { n: 3 }
queues:
  jobs: { mode: 0o640, x-shape: [1, 2] }
  old: { family: sysv, key: 0x4f524331 }
processes:
  a:
    command: [./tool, "${n}", "${queues.jobs.name}", "$${x}"]
    uses: [jobs, old]
    environment: { HOME_OF: "${HOME}" }
"""


def test_every_line_has_its_origin() -> None:
    resolved = resolve(load_text(TEXT, environment={"HOME": "/root"}))
    assert resolved.to_yaml().splitlines() == [
        "version: 1  # orchestra.yaml:1",
        "name: w  # default",
        "queues:",
        "  jobs:",
        "    mode: 0o640  # orchestra.yaml:4",
        "    x-shape: [1, 2]  # orchestra.yaml:4",
        "  old:",
        "    family: sysv  # orchestra.yaml:5",
        "    key: 0x4f524331  # orchestra.yaml:5",
        "processes:",
        "  a:",
        (
            '    command: [/w/tool, "3", "${queues.jobs.name}", "$${x}"]'
            "  # orchestra.yaml:8 (variable n, orchestra.yaml:2)"
        ),
        "    directory: /w  # default",
        "    environment:",
        "      HOME_OF: /root  # orchestra.yaml:10 (environment HOME)",
        "    uses:",
        "      jobs: read-write  # orchestra.yaml:9",
        "      old: read-write  # orchestra.yaml:9",
    ]


def test_json() -> None:
    found = resolve(load_text(TEXT, variables={"n": "4"}, environment={"HOME": "/"})).to_json()
    assert found["topology"]["queues"]["jobs"]["mode"] == "0640"
    assert found["topology"]["queues"]["old"]["key"] == "0x4f524331"
    assert found["origins"]["processes.a.command"] == {
        "file": "orchestra.yaml",
        "line": 8,
        "filled_from": ["--set n"],
    }


def test_defaults_are_shown_when_asked_for() -> None:
    resolved = resolve(load_text(TEXT, environment={"HOME": "/"}), defaults=True)
    assert resolved.data["queues"]["jobs"]["max_messages"] == 10
    assert resolved.origins["queues", "jobs", "max_messages"] == Origin()
    assert str(Origin()) == "default"


def test_values_of_an_included_file_name_it() -> None:
    text = "version: 1\ninclude: [parts/b.yaml]\n"
    resolved = resolve(load_text(text, others={"/w/parts/b.yaml": "version: 1\nqueues: {b: {max_messages: 2}}\n"}))
    assert str(resolved.origins["queues", "b", "max_messages"]) == "parts/b.yaml:2"
