from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from orchestra.views.junit import render_junit


def finding(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "family": "posix", "kind": "queue", "name": "/jobs", "key": None, "id": None, "verdict": "leaked",
        "instance": "pipeline", "run": "r1", "evidence": "its run ended", "holders": [],
    }  # fmt: skip
    return {**base, **changes}


def test_every_object_is_a_case_and_every_leak_fails() -> None:
    kept = finding(verdict="kept", name="/board", kind="segment")
    suite = ET.fromstring(render_junit([finding(), kept]))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["posix-queue:/jobs", "posix-segment:/board"]
    assert [case.get("classname") for case in cases] == ["pipeline.posix-queue", "pipeline.posix-segment"]
    failure = cases[0].find("failure")
    assert failure is not None
    assert failure.get("message") == "leaked: its run ended"
    assert "run: r1" in (failure.text or "")
    assert cases[1].find("failure") is None


def test_the_document_is_xml_whatever_a_name_holds() -> None:
    suite = ET.fromstring(render_junit([finding(name='/<"&\x01\ud800\udc80')]))
    assert suite.findall("testcase")[0].get("name") == 'posix-queue:/<"&\\x01\\ud800\\udc80'


def test_an_object_without_a_name_is_named_by_its_id() -> None:
    suite = ET.fromstring(render_junit([finding(family="sysv", name=None, id=0, key="0x00000000")]))
    assert suite.findall("testcase")[0].get("name") == "sysv-queue:0"


def test_nothing_found_is_an_empty_suite() -> None:
    assert ET.fromstring(render_junit([])).get("tests") == "0"
