"""From a word on the command line to a checked topology and its plan. Imports pydantic and yaml: only where needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from orchestra.cli.clientfiles import library_folder
from orchestra.cli.exits import tell
from orchestra.cli.reading import read_topology
from orchestra.cli.targets import current_folder, topology_path
from orchestra.cli.values import parse_scale, parse_settings
from orchestra.errors import Problem, UsageError
from orchestra.kernel.hostfacts import RealHost
from orchestra.kinds import KernelLimits
from orchestra.runplan import RunPlan
from orchestra.statedir import is_text
from orchestra.topology.compile import compile_plan
from orchestra.topology.keys import check_key
from orchestra.topology.loader import Loaded
from orchestra.topology.rules import load_checked
from orchestra.views.ansi import paint_for
from orchestra.views.problems import render_problems, shown_path


@dataclass(frozen=True)
class Prepared:
    """A valid file and the plan of the run that was asked for."""

    loaded: Loaded
    plan: RunPlan

    def tell_warnings(self) -> None:
        """Say what is odd about the file, on stderr."""
        tell_warnings(self.loaded.warnings)


def tell_warnings(warnings: Sequence[Problem]) -> None:
    """Say what is odd about a file, on stderr."""
    if warnings:
        tell(render_problems([], warnings, paint_for(sys.stderr)))


def which_file(word: str | None, option: str | None) -> str:
    """Return the path as messages show it, of FILE or `-f FILE`; ./orchestra.yaml where neither is given.

    Raises UsageError when there is no such file, or both were given.
    """
    if word is not None and option is not None:
        raise UsageError(f"both `{word}` and `-f {option}` name a file", hint="Give one of them.")
    given = word if word is not None else option
    path = topology_path(given)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as err:
        where = "there is no orchestra.yaml here" if given is None else f"there is no {shown_path(path)}"
        hint = "Name a topology file, or a folder that holds an orchestra.yaml."
        raise UsageError(where, detail=path, hint=hint) from err
    except OSError as err:
        raise UsageError(f"{shown_path(path)} cannot be reached: {err.strerror}", detail=path) from err
    if not is_text(path):
        raise UsageError(
            "the path of the topology is not UTF-8", detail=path, hint="Logs and answers name it: rename or move it."
        )
    return shown_path(path)


def read_file(word: str | None, option: str | None, settings: Sequence[str], *, isolation: str | None = None) -> Loaded:
    """Load one file and check it against this host. Raises UsageError, TopologyError with every finding."""
    variables = parse_settings(settings)
    return load_checked(
        which_file(word, option),
        variables=variables,
        environment=os.environ,
        cwd=current_folder(),
        limits=_limits,
        host=RealHost(),
        read=read_topology,
        isolation=isolation,
    )


def _limits() -> KernelLimits:
    from orchestra.kernel.limits import read_limits  # of no use to a file without objects

    return read_limits()


def prepare(
    word: str | None,
    *,
    option: str | None = None,
    name: str | None,
    settings: Sequence[str] = (),
    scale: Sequence[str] = (),
    only: Sequence[str] = (),
    isolation: str | None = None,
    keep_going: bool = False,
) -> Prepared:
    """Load, check and compile; the keywords are those of `compile_plan`. Raises UsageError, TopologyError."""
    replicas = parse_scale(scale)
    if name is not None:
        check_instance(name)
    loaded = read_file(word, option, settings, isolation=isolation)
    plan = compile_plan(
        loaded,
        instance=name or loaded.topology.name,
        environment=os.environ,
        host=RealHost(),
        scale=replicas,
        only=only,
        python_path=str(library_folder()),
        isolation=isolation,
        keep_going=keep_going,
    )
    return Prepared(loaded, plan)


def check_instance(name: str) -> None:
    """Refuse a name that no instance can have. Raises UsageError."""
    try:
        check_key(name)
    except PydanticCustomError as err:
        words = (err.context or {}).get("message") or err.message()
        raise UsageError(f"-n: {words}", hint=str((err.context or {}).get("help") or "")) from None
