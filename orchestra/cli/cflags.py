"""`orchestra cflags`: what a C compiler needs to find orchestra.h."""

from __future__ import annotations

from pathlib import Path

import typer

import orchestra

EXAMPLES = """
cc $(orchestra cflags) -o worker worker.c
"""


def cflags() -> int:
    """Print the compiler flags for C programs.

    The header orchestra.h is all there is: nothing has to be linked.
    """
    typer.echo(f"-I{Path(orchestra.__file__).parent / 'client'}")
    return 0
