"""Parameters that several commands share, with their help and completion."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from orchestra.cli import complete


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How to write the answer.", show_default=True)]
NameOption = Annotated[
    str | None,
    typer.Option("-n", "--name", metavar="NAME", help="The instance.", autocompletion=complete.instances),
]
FileOption = Annotated[
    str | None,
    typer.Option("-f", "--file", metavar="FILE", help="The instance of this file.", autocompletion=complete.files),
]
InstanceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[INSTANCE|FILE]",
        help="Default: the instance of ./orchestra.yaml, else the only live one.",
        show_default=False,
        autocompletion=complete.instances_and_files,
    ),
]
ProcessArguments = Annotated[
    list[str],
    typer.Argument(
        metavar="TARGET…",
        help="Processes or replicas: NAME, INSTANCE.NAME, INSTANCE.NAME.REPLICA; INSTANCE means all.",
        show_default=False,
        autocompletion=complete.processes,
    ),
]
PatienceOption = Annotated[
    str | None, typer.Option("--timeout", metavar="T", help="Do not wait for it longer than that: 5, 500ms, 1m.")
]
FileArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE]",
        help="The topology, or a folder with an orchestra.yaml. Default: ./orchestra.yaml",
        show_default=False,
        autocompletion=complete.files,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="V=X", help="Give a variable of the file a value. Repeatable.", show_default=False),
]
TopologyOption = Annotated[
    str | None,
    typer.Option("-f", "--file", metavar="FILE", help="The topology; the same as FILE.", autocompletion=complete.files),
]
InstanceNameOption = Annotated[
    str | None, typer.Option("-n", "--name", metavar="NAME", help="Name of the instance. Default: the file's.")
]
ScaleOption = Annotated[
    list[str] | None,
    typer.Option("--scale", metavar="P=N", help="Run N replicas of process P. Repeatable.", show_default=False),
]


def emit(text: str) -> None:
    """Write the answer."""
    sys.stdout.write(text)
