"""Topologies out of text, for tests that are not about files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestra.errors import Problem, TopologyError
from orchestra.topology.loader import Loaded, examine, load


def load_text(
    text: str | bytes,
    *,
    name: str = "orchestra.yaml",
    variables: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    others: Mapping[str, str] | None = None,
) -> Loaded:
    """Load a text as if it stood in /w/<name>; `others` are the files it may include, by absolute path."""
    return load(
        name,
        variables=variables,
        environment=environment or {},
        cwd="/w",
        read=reader(name, text, others or {}),
    )


def problems_of(text: str | bytes, **how: object) -> list[Problem]:
    """Return every finding of a text; the keywords are those of `load_text`."""
    try:
        load_text(text, **how)  # type: ignore[arg-type]
    except TopologyError as err:
        return err.problems
    return []


def problem_of(text: str | bytes, **how: object) -> Problem:
    """Return the only finding of a text."""
    found = problems_of(text, **how)
    assert len(found) == 1, found
    return found[0]


def partly(text: str) -> Loaded:
    """Return what is valid of a text with errors."""
    loaded, problems = examine("orchestra.yaml", environment={}, cwd="/w", read=reader("orchestra.yaml", text, {}))
    assert problems
    assert loaded is not None
    return loaded


def reader(name: str, text: str | bytes, others: Mapping[str, str]) -> Callable[[str], bytes]:
    """Return a `read` that knows a few files."""
    files = {f"/w/{name}": text if isinstance(text, bytes) else text.encode()}
    files |= {path: content.encode() for path, content in others.items()}

    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return files[path]

    return read
