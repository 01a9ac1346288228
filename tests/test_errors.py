"""Errors keep their class and their words on the way from one process to another."""

from __future__ import annotations

import pytest

from orchestra import errors
from orchestra.errors import Conflict, KernelError, ObjectExists, OrchestraError, from_wire


def test_the_three_parts_are_shown_in_order() -> None:
    error = OrchestraError("no room", detail="shmget -> ENOSPC", hint="Run ipcs -l.")
    assert str(error).splitlines() == ["no room", "detail: shmget -> ENOSPC", "help: Run ipcs -l."]


@pytest.mark.parametrize("cls", [Conflict, KernelError, ObjectExists, errors.NotFound, errors.StateError])
def test_an_error_crosses_processes_with_its_class(cls: type[OrchestraError]) -> None:
    back = from_wire(cls("p", detail="d", hint="h").to_wire())
    assert (type(back), back.problem, back.detail, back.hint) == (cls, "p", "d", "h")


def test_a_taken_name_is_both_a_kernel_error_and_a_conflict() -> None:
    assert issubclass(ObjectExists, Conflict)
    assert issubclass(ObjectExists, KernelError)
    assert ObjectExists.exit_code == 5


def test_an_unknown_class_still_is_an_error_of_ours() -> None:
    assert type(from_wire({"class": "Sneaky", "problem": "x"})) is OrchestraError
