"""`orchestra cflags`: what a C compiler needs to find orchestra.h."""

from __future__ import annotations

import typer

from orchestra.cli.clientfiles import include_folder

EXAMPLES = """
cc $(orchestra cflags) -o worker worker.c
"""


def cflags() -> int:
    """Print the compiler flags for C programs.

    The header orchestra.h is all there is: nothing has to be linked.
    """
    typer.echo(f"-I{include_folder()}")
    return 0
