"""`orchestra logs`: what the processes of a run wrote, and what orchestra did, in the order in which it was read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, TextIO

import typer

from orchestra.cli import complete
from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.options import Format, FormatOption, NameOption
from orchestra.cli.pager import paged
from orchestra.cli.state import Instance, State, open_state
from orchestra.cli.targets import is_address, is_file, parse_address
from orchestra.errors import NotFound, UsageError
from orchestra.logs.catalogue import EVENTS, LEVELS
from orchestra.logs.files import Snapshot
from orchestra.logs.query import Filter, Target, open_log, parse_grep, parse_level, read
from orchestra.logs.render import Renderer
from orchestra.logs.when import parse_when

EXAMPLES = """
orchestra logs                              everything, of the clear instance
orchestra logs -f pipeline                  and go on until the run ends
orchestra logs pipeline.worker              one process, all its replicas
orchestra logs worker.2 --stream stderr     what one replica complained about
orchestra logs --event 'process.*'          starts and ends
orchestra logs --since 5m --level warning   what went wrong lately
orchestra logs --tail 20 --grep 'total: '   the last matching lines
orchestra logs --format json | jq -r .message
orchestra logs --lnav-format > orchestra.json && lnav -i orchestra.json
"""

LNAV_FORMAT = Path(__file__).parents[1] / "logs" / "orchestra.lnav.json"

Show = Callable[[bytes], None]  # writes whole stored lines

TargetsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TARGET]…",
        help="INSTANCE, or INSTANCE.NAME[.REPLICA], or NAME, or INSTANCE NAME: processes and objects.",
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
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="The instance of this file.", autocompletion=complete.files),
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is written, to its end.")] = False,
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
    lnav_format: Annotated[
        bool, typer.Option("--lnav-format", help="Print a format file for lnav, and nothing else.")
    ] = False,
) -> int:
    """Show the log of a run, live or ended.

    Without a target, everything: each line after the name of its process, and
    between them what orchestra did. `--format json` prints the stored lines,
    one JSON object each.
    """
    if lnav_format:
        sys.stdout.write(LNAV_FORMAT.read_text())
        return ExitCode.OK
    if follow and until:
        raise UsageError("--until with -f: what is followed ends with its run", hint="Leave one of them out.")
    wanted = _wanted(since, until, level, grep, event, stream)
    with open_state() as state:
        chosen, members = _choose(state, targets or [], name, file)
        replicas = state.replicas(chosen.row.run)
        path = chosen.row.log or str(state.places.log(chosen.row.run))
        lock = state.places.lock(chosen.row.instance)
    wanted = replace(wanted, targets=members)
    if follow and chosen.live:
        return _follow(path, lock, chosen.row.run, wanted, tail, _writer(sys.stdout, replicas, format_))
    with open_log(path) as log, paged() as out:
        found = _show(log, wanted, tail, _writer(out, replicas, format_))
    if not found:
        tell(f"no such line in the log of run {chosen.row.run} of {chosen.row.instance}")
    return ExitCode.OK


def _wanted(
    since: str | None, until: str | None, level: str | None, grep: str | None, event: list[str] | None,
    stream: str | None,
) -> Filter:  # fmt: skip
    if stream not in (None, "stdout", "stderr"):
        raise UsageError(f"`{stream}` is no stream", hint="stdout or stderr.")
    begin, end = parse_when(since) if since else "", parse_when(until) if until else ""
    if end and begin >= end:
        raise UsageError(
            f"--until {until} is not after --since {since}: there is nothing between them",
            hint="How long ago, both of them: --since 10m --until 5m are five minutes.",
        )
    for pattern in event or ():
        if not any(fnmatchcase(known, pattern) for known in EVENTS):
            raise _unknown_event(pattern)
    return Filter(
        since=begin,
        until=end,
        level=parse_level(level) if level else "",
        grep=parse_grep(grep) if grep else None,
        events=tuple(event or ()),
        stream=stream or "",
    )


def _unknown_event(pattern: str) -> UsageError:
    near = get_close_matches(pattern, EVENTS, 3, 0.5)
    meant = f"Did you mean {' or '.join(f'`{name}`' for name in near)}? " if near else ""
    return UsageError(
        f"there is no event `{pattern}`", hint=f"{meant}`--event '*'` shows all of a run; the reference lists them."
    )


def _choose(state: State, words: list[str], name: str | None, file: str | None) -> tuple[Instance, list[Target]]:
    """Return the instance that all words are about, and what to show of it: [] is everything.

    An instance (or a file) that comes first says whose the names after it are: `pipeline worker`.
    """
    if name is not None and name.isdigit() and name not in state.instances:
        raise NotFound(f"there is no instance `{name}`", hint=f"-n names one. The last {name} lines: --tail {name}.")
    if not words:
        return state.choose(None, name=name, file=file), []
    found = [_resolve(state, words[0], name, file)]
    if found[0][1] is None and len(words) > 1:
        name, file = found[0][0].row.instance, None
    found += [_resolve(state, word, name, file) for word in words[1:]]
    instances = {instance.row.instance: instance for instance, _ in found}
    if len(instances) > 1:
        names = " and ".join(sorted(instances))
        raise UsageError(f"the targets belong to several instances: {names}", hint="Show one log at a time.")
    return found[0][0], [member for _, member in found if member is not None]


def _resolve(state: State, word: str, name: str | None, file: str | None) -> tuple[Instance, Target | None]:
    if is_file(word):
        return state.choose(word, name=name, file=file), None
    if is_address(word):
        return _at_address(state, word, name, file)
    target = state.resolve(word, name=name, file=file)
    instance = state.instances[target.instance.instance]
    return instance, None if target.name is None else Target(target.name, target.replica)


def _at_address(state: State, word: str, name: str | None, file: str | None) -> tuple[Instance, Target]:
    """Return the most recently started instance whose newest run had the object of that address, and the object."""
    ref = parse_address(word)
    asked = name is not None or file is not None
    for instance in [state.choose(None, name=name, file=file)] if asked else state.instances.values():
        for row in state.ledger.objects(run=instance.row.run):
            at = {ref.name: row.name, ref.id: row.id, ref.key: row.ipc_key}
            at.pop(None, None)  # an address has one of the three
            if (row.family, row.kind) == (ref.family, ref.kind) and all(here == there for here, there in at.items()):
                return instance, Target(row.key)
    raise NotFound(f"no run of an instance had the object `{word}`", hint="`orchestra objects` lists those of one.")


def _writer(out: TextIO, replicas: dict[str, int], format_: Format) -> Show:
    """Return what writes lines: as they are stored, or as people read them."""
    if format_ is Format.JSON:
        out.flush()
        return lambda lines: _write_bytes(out, lines)
    renderer = Renderer.to(sys.stdout, replicas=replicas)

    def show(lines: bytes) -> None:
        out.write("".join([text for _, text in renderer.render_lines(lines)]))
        out.flush()

    return show


def _write_bytes(out: TextIO, lines: bytes) -> None:
    out.buffer.write(lines)
    out.buffer.flush()


def _show(log: Snapshot, wanted: Filter, tail: int | None, show: Show) -> bool:
    """Write the lines there are; return whether there were any."""
    found = False
    for lines in read(log, wanted, tail=tail):
        found = True
        show(lines)
    if log.dropped:
        from orchestra.cli.following import words_of_dropped

        tell(words_of_dropped(log.dropped))
    return found


def _follow(path: str, lock: Path, run: str, wanted: Filter, tail: int | None, show: Show) -> int:
    """Write the lines there are and those that come, until the run ends."""
    from orchestra.cli.following import follow
    from orchestra.logs.follow import Follower

    def show_wanted(lines: bytes) -> None:
        if passed := wanted.select(lines):
            show(passed)

    follower = Follower(path)
    with suppress(NotFound), open_log(path) as log:  # a run that has just begun may have none
        _show(log, wanted, tail, show)
        follower = Follower.after(path, log)
    with follower:
        ended = follow(follower, lock, run, show_wanted)
    if not ended.told and not ended.code:
        tell(f"the supervisor of run {run} is gone, and did not say how the run ended\nhelp: orchestra ps")
    return ended.code
