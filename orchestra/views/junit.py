"""Audit findings as JUnit XML, which every CI system can show: one test case an object, a failure for each leak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestra.views.ansi import clean


def render_junit(findings: Sequence[Mapping[str, Any]], *, failing: str = "leaked") -> str:
    """Return a JUnit document of the `findings` of `audit --format json`; those with verdict `failing` fail."""
    failures = sum(finding["verdict"] == failing for finding in findings)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="orchestra audit" tests="{len(findings)}" failures="{failures}" errors="0" skipped="0">',
        *(_case(finding, failing) for finding in findings),
        "</testsuite>",
    ]
    return "\n".join(lines) + "\n"


def _case(finding: Mapping[str, Any], failing: str) -> str:
    group = f"{finding['instance'] or 'host'}.{finding['family']}-{finding['kind']}"
    attributes = f"name={_attribute(_title(finding))} classname={_attribute(group)}"
    if finding["verdict"] != failing:
        return f"  <testcase {attributes}/>"
    words = f"{finding['verdict']}: {finding['evidence']}"
    detail = "\n".join(f"{key}: {value}" for key, value in finding.items() if value not in (None, "", []))
    return (
        f"  <testcase {attributes}>\n"
        f"    <failure type={_attribute(failing)} message={_attribute(words)}>{_escape(_legal(detail))}</failure>\n"
        "  </testcase>"
    )


def _title(finding: Mapping[str, Any]) -> str:
    for key in ("name", "id", "key"):
        if finding.get(key) is not None:
            return f"{finding['family']}-{finding['kind']}:{finding[key]}"
    return f"{finding['family']}-{finding['kind']}"


def _attribute(text: str) -> str:
    return '"' + _escape(_legal(text)).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;") + '"'


def _escape(text: str) -> str:
    """What xml.sax.saxutils.escape does; importing that loads a client for the web."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _legal(text: str) -> str:
    """XML 1.0 has no place for control characters, not even escaped: spell them out."""
    return "\n".join(clean(line) for line in text.split("\n"))
