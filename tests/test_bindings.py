"""What a child is told: names, JSON, placeholders."""

from __future__ import annotations

import json

import pytest

from orchestra.bindings import (
    Binding,
    Placeholder,
    inherited,
    object_variables,
    render,
    value_of,
    variable,
)
from orchestra.kinds import Access, Family, Kind

JOBS = Binding("jobs", Family.POSIX, Kind.QUEUE, Access.WRITE, name="/orc.a.jobs.n1", fd=3)
TABLE = Binding("free-table", Family.SYSV, Kind.SEGMENT, Access.READ, id=0, ipc_key=0xDEADBEEF, size=4096)
JOURNAL = Binding("journal", Family.FILE, Kind.SEGMENT, Access.READ, name="/tmp/j.bin", size=1)


def test_variable_names_are_upper_case_with_underscores() -> None:
    assert variable("free-slots") == "ORCHESTRA_FREE_SLOTS"


def test_a_posix_object_gives_its_name_and_descriptor() -> None:
    env = object_variables([JOBS])
    assert (env["ORCHESTRA_JOBS"], env["ORCHESTRA_JOBS_FD"]) == ("/orc.a.jobs.n1", "3")
    assert (env["LISTEN_FDS"], env["LISTEN_FDNAMES"]) == ("1", "jobs")


def test_a_sysv_object_gives_its_id_even_when_it_is_0_and_its_key_unsigned() -> None:
    env = object_variables([TABLE])
    assert (env["ORCHESTRA_FREE_TABLE"], env["ORCHESTRA_FREE_TABLE_KEY"]) == ("0", "0xdeadbeef")
    assert "LISTEN_FDS" not in env  # nothing is passed, so nothing is promised


def test_the_json_document_holds_every_used_object_with_its_own_keys() -> None:
    shaped = Binding("board", Family.POSIX, Kind.SEGMENT, Access.READ, name="/b", fd=3, size=8, extra={"x-shape": [2]})
    document = json.loads(object_variables([shaped, TABLE])["ORCHESTRA_BINDINGS"])
    assert document["board"] == {
        "family": "posix",
        "kind": "segment",
        "name": "/b",
        "id": None,
        "key": None,
        "fd": 3,
        "size": 8,
        "access": "read",
        "x-shape": [2],
    }
    assert document["free-table"]["key"] == "0xdeadbeef"


def test_descriptors_are_named_in_the_order_given() -> None:
    board = Binding("board", Family.MEMFD, Kind.SEGMENT, Access.READ_WRITE, fd=4)
    assert object_variables([JOBS, TABLE, board])["LISTEN_FDNAMES"] == "jobs:board"


def test_a_child_does_not_inherit_what_belongs_to_a_supervisor_above_us() -> None:
    env = {
        "PATH": "/bin",
        "LISTEN_PID": "1",
        "NOTIFY_SOCKET": "/x",
        "WATCHDOG_USEC": "1",
        "ORCHESTRA_HOME": "/h",
        "NOTIFY_SOCKETS": "kept",
    }
    assert inherited(env) == {"PATH": "/bin", "NOTIFY_SOCKETS": "kept"}


def test_templates_are_filled_in_from_bindings_and_the_replica() -> None:
    template = ("--queue=", Placeholder("jobs", "name"), ":", Placeholder("", "replica"))
    assert render(template, {"jobs": JOBS}, 3) == "--queue=/orc.a.jobs.n1:3"


@pytest.mark.parametrize(
    ("binding", "field", "value"),
    [
        (TABLE, "id", "0"),
        (TABLE, "key", "0xdeadbeef"),
        (TABLE, "size", "4096"),
        (JOURNAL, "path", "/tmp/j.bin"),
        (JOBS, "fd", "3"),
    ],
)
def test_every_field_a_placeholder_may_ask_for(binding: Binding, field: str, value: str) -> None:
    assert value_of(binding, field) == value


@pytest.mark.parametrize(("binding", "field"), [(TABLE, "name"), (JOURNAL, "name"), (JOBS, "id"), (JOBS, "nonsense")])
def test_a_field_an_object_lacks_is_a_key_error(binding: Binding, field: str) -> None:
    with pytest.raises(KeyError):
        value_of(binding, field)
