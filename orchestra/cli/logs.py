"""`orchestra logs`: what the processes of a run wrote, and what orchestra did, in the order in which it was read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Annotated

import typer

from orchestra.cli import complete
from orchestra.cli.exits import tell
from orchestra.cli.options import FileOption, Format, FormatOption, NameOption
from orchestra.cli.state import Instance, State, open_state
from orchestra.cli.targets import is_file
from orchestra.errors import UsageError
from orchestra.logs.catalogue import EVENTS, LEVELS
from orchestra.logs.query import Filter, Line, Target, parse_grep, parse_level, parse_when, read
from orchestra.logs.render import Renderer

EXAMPLES = """
orchestra logs                              everything, of the clear instance
orchestra logs pipeline.worker              one process, all its replicas
orchestra logs worker.2 --stream stderr     what one replica complained about
orchestra logs --event 'process.*'          starts and ends
orchestra logs --since 5m --level warning   what went wrong lately
orchestra logs --tail 20 --grep 'total: '   the last matching lines
orchestra logs --format json | jq -r .message
"""

_BATCH = 1000  # lines

TargetsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TARGET]…",
        help="INSTANCE, or INSTANCE.NAME[.REPLICA], or NAME: processes and objects.",
        show_default=False,
        autocompletion=complete.targets,
    ),
]


def _levels(incomplete: str) -> list[str]:
    return [word for word in LEVELS if word.startswith(incomplete)]


def _events(incomplete: str) -> list[str]:
    return [word for word in EVENTS if word.startswith(incomplete)]


def _streams(incomplete: str) -> list[str]:
    return [word for word in ("stdout", "stderr") if word.startswith(incomplete)]


def logs(
    targets: TargetsArgument = None,
    name: NameOption = None,
    file: FileOption = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From then on: 5m (ago), 14:30, 2026-01-02T14:30:05Z.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only what came before then.")] = None,
    level: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help="Only what has this level or a worse one.", autocompletion=_levels),
    ] = None,
    grep: Annotated[str | None, typer.Option(metavar="REGEX", help="Only lines in which this is found.")] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(metavar="EVENT", help="Only these events; * matches. Repeatable.", autocompletion=_events),
    ] = None,
    stream: Annotated[
        str | None, typer.Option(metavar="STREAM", help="Only stdout, or only stderr.", autocompletion=_streams)
    ] = None,
    tail: Annotated[int | None, typer.Option(metavar="N", min=0, help="Only the last N of them.")] = None,
    format_: FormatOption = Format.TABLE,
) -> int:
    """Show the log of a run, live or ended.

    Without a target, everything: each line after the name of its process, and
    between them what orchestra did. `--format json` prints the stored lines,
    one JSON object each.
    """
    if stream not in (None, "stdout", "stderr"):
        raise UsageError(f"`{stream}` is no stream", hint="stdout or stderr.")
    wanted = Filter(
        since=parse_when(since) if since else "",
        until=parse_when(until) if until else "",
        level=parse_level(level) if level else "",
        grep=parse_grep(grep) if grep else None,
        events=tuple(event or ()),
        stream=stream or "",
    )
    with open_state() as state:
        chosen, members = _choose(state, targets or [], name, file)
        replicas = state.replicas(chosen.row.run)
        path = chosen.row.log or str(state.places.log(chosen.row.run))
    wanted = replace(wanted, targets=members)
    if not _show(path, wanted, tail, replicas, as_stored=format_ is Format.JSON):
        tell(f"no such line in the log of run {chosen.row.run} of {chosen.row.instance}")
    return 0


def _choose(state: State, words: list[str], name: str | None, file: str | None) -> tuple[Instance, list[Target]]:
    """Return the instance that all words are about, and what to show of it: [] is everything."""
    if not words:
        return state.choose(None, name=name, file=file), []
    found = [_resolve(state, word, name, file) for word in words]
    instances = {instance.row.instance: instance for instance, _ in found}
    if len(instances) > 1:
        names = " and ".join(sorted(instances))
        raise UsageError(f"the targets belong to several instances: {names}", hint="Show one log at a time.")
    members = [member for _, member in found]
    return found[0][0], [] if None in members else [member for member in members if member is not None]


def _resolve(state: State, word: str, name: str | None, file: str | None) -> tuple[Instance, Target | None]:
    if is_file(word):
        return state.choose(word, name=name, file=file), None
    target = state.resolve(word, name=name, file=file)
    instance = state.instances[target.instance.instance]
    return instance, None if target.name is None else Target(target.name, target.replica)


def _show(path: str, wanted: Filter, tail: int | None, replicas: dict[str, int], *, as_stored: bool) -> bool:
    """Write the lines; return whether there were any."""
    lines = read(path, wanted, tail=tail)
    found = False
    if as_stored:
        sys.stdout.flush()
        for batch in _batches(lines):
            found = True
            sys.stdout.buffer.write(b"".join([line.raw for line in batch]))
        sys.stdout.buffer.flush()
        return found
    renderer = Renderer.to(sys.stdout, replicas=replicas)
    for batch in _batches(lines):
        found = True
        sys.stdout.write("".join([renderer.render(line.record) for line in batch if line.record is not None]))
    return found


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """One write a batch: where Python does not buffer, a write a line is a system call a line."""
    while batch := list(islice(lines, _BATCH)):
        yield batch
