"""Parameters that several commands share."""

from __future__ import annotations

import pytest
from typer import Context
from typer.core import TyperOption

from orchestra.cli.app import COMMANDS, load_command
from orchestra.cli.options import emit

ANSWERS_AS_IT_IS = {"schema", "cflags", "down", "exec"}


def names(command: str) -> set[str]:
    return {
        name
        for parameter in load_command(command).params
        if isinstance(parameter, TyperOption)
        for name in parameter.opts
    }


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - ANSWERS_AS_IT_IS))
def test_every_command_that_answers_has_a_format(command: str) -> None:
    assert "--format" in names(command)


@pytest.mark.parametrize("command", ["ps", "objects", "logs", "inspect", "down", "up", "plan", "stop", "wait", "exec"])
def test_n_names_the_instance_everywhere(command: str) -> None:
    assert {"-n", "--name"} <= names(command)


@pytest.mark.parametrize("command", ["ps", "objects", "logs", "inspect", "down", "up", "plan", "config"])
def test_f_works_wherever_a_file_does(command: str) -> None:
    assert {"-f", "--file"} <= names(command)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command: str) -> None:
    built = load_command(command)
    context = Context(built, info_name=command)
    for parameter in built.params:
        record = parameter.get_help_record(context)
        assert record is None or record[1].strip(), f"{command} {parameter.opts}"


def test_emit_writes_the_answer_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    emit("x")
    assert capsys.readouterr().out == "x"
