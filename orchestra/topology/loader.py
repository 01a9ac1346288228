"""Reading a topology file: bytes → nodes → includes → variables → models → references, all findings in one pass.

Pure but for `read`, which the caller may replace. What depends on this host (limits, executables) is `rules.check`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from orchestra.errors import Problem, TopologyError
from orchestra.topology import order, references
from orchestra.topology.findings import contradictions, findings
from orchestra.topology.hints import bounded, nearest_help
from orchestra.topology.include import Reader, Reading, normal, read_file
from orchestra.topology.interpolation import Interpolator, Scope
from orchestra.topology.keys import default_name
from orchestra.topology.marks import Marks
from orchestra.topology.model import Topology
from orchestra.topology.nodes import Map, Place, Scalar, Source
from orchestra.topology.references import Document, declared_objects, declared_processes
from orchestra.topology.remains import broken_entries, remains


@dataclass(frozen=True)
class Loaded:
    """A valid file: its model, where everything stands, and what is merely odd."""

    topology: Topology
    marks: Marks
    document: Document
    path: str  # as it was given
    file: str  # absolute
    folder: str  # absolute
    environment: Mapping[str, str] = field(default_factory=dict)  # the caller's
    broken: frozenset[tuple[str, str]] = frozenset()  # (section, key) of entries that are only partly valid
    sources: list[Source] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def load(
    path: str,
    *,
    variables: Mapping[str, str] | None = None,
    environment: Mapping[str, str],
    cwd: str,
    read: Reader = read_file,
) -> Loaded:
    """Return the topology of a file. `variables` are those of --set, `cwd` is the caller's folder, absolute.

    Raises TopologyError with every finding of the file and of all it includes.
    """
    loaded, problems = examine(path, variables=variables, environment=environment, cwd=cwd, read=read)
    if loaded is None or problems:
        raise TopologyError(problems)  # no warnings: what is odd may be the error's fault
    return loaded


@bounded()
def examine(
    path: str,
    *,
    variables: Mapping[str, str] | None = None,
    environment: Mapping[str, str],
    cwd: str,
    read: Reader = read_file,
) -> tuple[Loaded | None, list[Problem]]:
    """Like `load`, but return the findings, and what is valid beside them; None when nothing can be read."""
    given = dict(variables or {})
    path = str(path)
    reading = Reading(read, given, dict(environment), cwd)
    root = reading.root(path)
    problems = reading.problems
    if root is None:
        return None, in_order(problems, reading.sources)
    file = normal(path, cwd)
    folder = posixpath.dirname(file)
    if "name" not in root:
        root["name"] = default_name(posixpath.basename(file), posixpath.basename(folder))
    marks = Marks(root)
    scope = Scope(given, _variables(root), reading.environment, cwd)
    interpolator = Interpolator(scope)
    interpolator.tree(root)
    problems += interpolator.problems
    problems += _variable_problems(root, scope, marks)
    topology, found, broken = _validate(root, marks)
    problems += found + contradictions(marks)
    if topology is None:
        return None, in_order(problems, reading.sources)
    document = Document(
        topology, marks, declared_objects(root), declared_processes(root), tuple(interpolator.placeholders)
    )
    problems += references.errors(document) + order.errors(document)
    loaded = Loaded(
        topology,
        marks,
        document,
        path,
        file,
        folder,
        environment=reading.environment,
        broken=_broken(problems) | broken,
        sources=reading.sources,
        warnings=references.warnings(document) + order.warnings(document),
    )
    return loaded, in_order(problems, reading.sources)


def in_order(problems: list[Problem], sources: list[Source]) -> list[Problem]:
    """Return findings without repetitions, in the order of the files and of their lines."""
    files = {source.path: index for index, source in enumerate(sources)}
    unique = {(item.file, item.line, item.column, item.code, item.message): item for item in problems}
    return sorted(unique.values(), key=lambda item: (files.get(item.file, -1), item.line, item.column))


def _broken(problems: list[Problem]) -> frozenset[tuple[str, str]]:
    paths = (problem.path.split(".", 2) for problem in problems)
    return frozenset((path[0], path[1]) for path in paths if len(path) > 1)


def _variables(root: Map) -> dict[str, Scalar]:
    entries = root.get("variables")
    if not isinstance(entries, Map):
        return {}
    return {name: node for name, node in entries.items() if isinstance(node, Scalar) and not node.broken}


def _variable_problems(root: Map, scope: Scope, marks: Marks) -> list[Problem]:
    """Variables that must be given and were not, and values given to names that nobody asked for."""
    found = []
    for name in scope.variables:
        if scope.is_required(name):
            message = f"the variable `{name}` must be given"
            found.append(
                marks.problem(("variables", name), "undefined_variable", message, f"Add --set {name}=…", key=True)
            )
    names = [*scope.variables, *sorted(scope.mentioned - set(scope.variables))]
    for name in scope.given:
        if name not in names:
            hint = nearest_help(name, names, "Variables are {}.") if names else "The file has no variables."
            place = Place(root.source, 0, 0)
            found.append(
                place.problem("unknown_variable", "", f"--set {name}: the file has no variable `{name}`", hint)
            )
    return found


def _validate(root: Map, marks: Marks) -> tuple[Topology | None, list[Problem], set[tuple[str, str]]]:
    """Return the topology, what is wrong, and the entries it is in; with errors, the topology of what is right."""
    try:
        return Topology.model_validate(root), [], set()
    except ValidationError as err:
        return remains(root, err), findings(err, marks), broken_entries(err)
