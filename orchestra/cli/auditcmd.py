"""`orchestra audit -- CMD`: run a command as it is, then say what it left. Its streams stay its own."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from orchestra.audit.command import Member, NotStarted
from orchestra.audit.report import Report
from orchestra.audit.watch import Watched, recorded_by_others, watch
from orchestra.cli.exits import ExitCode, tell
from orchestra.cli.state import open_state
from orchestra.errors import OrchestraError
from orchestra.kernel import namespaces
from orchestra.kernel.host import has_capability
from orchestra.objects.newcomers import Key
from orchestra.views.ansi import paint_for, terminal_width
from orchestra.views.answer import render_json
from orchestra.views.findings import audit_table
from orchestra.views.junit import render_junit

_CAP_SYS_ADMIN = 21
_NAMED = 5  # processes that still run, by name


@dataclass(frozen=True, slots=True)
class Asked:
    """How the command is run and the answer written. `private` None: in a box where that takes no user namespace."""

    private: bool | None
    ignore: tuple[str, ...]
    format: str  # table, json, junit
    output: str | None
    exit_zero: bool


def run(words: Sequence[str], asked: Asked) -> int:
    """Run it to its end, write the report, return the exit status. Raises OrchestraError before it starts."""
    private = _is_private(asked.private)
    with _Answer(asked.output) as answer:
        try:
            watched = watch(words, private=private, ignore=asked.ignore, recorded=_recorded)
        except NotStarted as err:
            tell(f"error: cannot run `{words[0]}`: {err.why}")
            return err.code
        answer.write(_render(words, watched, asked))
    if asked.format == "table" and watched.findings and asked.output is None:
        tell("")
    tell(_last_words(words, watched))
    if watched.code == 0 and watched.leaked and not asked.exit_zero:
        return ExitCode.LEAKS
    return watched.code


def _is_private(wanted: bool | None) -> bool:
    if wanted is False or (wanted is None and not has_capability(_CAP_SYS_ADMIN)):
        return False
    why = namespaces.can_isolate()
    if why and wanted:
        raise OrchestraError(
            f"--private: {why}", hint="--host runs it beside everything else and counts by difference."
        )
    return not why


def _recorded(tree: Mapping[int, Member]) -> Mapping[Key, str]:
    with open_state() as state:
        return recorded_by_others(state.ledger)(tree)


class _Answer:
    """Where the report goes: a file that is opened before the command starts, else stderr."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._fd: int | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as err:
                raise OrchestraError(f"cannot write {self._path}: {err.strerror}") from err
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def write(self, text: str) -> None:
        """Write all of it, over what was there before."""
        if self._fd is None:
            if text:
                tell(text)
            return
        try:
            if stat.S_ISREG(os.fstat(self._fd).st_mode):  # not /dev/fd/3, nor a FIFO
                os.ftruncate(self._fd, 0)
            with open(self._fd, "w", encoding="utf-8", errors="backslashreplace", closefd=False) as file:
                file.write(text)
        except OSError as err:
            raise OrchestraError(f"cannot write {self._path}: {err.strerror}") from err


def _render(words: Sequence[str], watched: Watched, asked: Asked) -> str:
    content = _content(words, watched)
    if asked.format == "json":
        return render_json("audit", content)
    if asked.format == "junit":
        return render_junit(content["findings"])
    found = [(None, finding) for finding in content["findings"]]
    if asked.output is not None:
        return audit_table(found)
    return audit_table(found, width=terminal_width(sys.stderr), paint=paint_for(sys.stderr))


def _content(words: Sequence[str], watched: Watched) -> dict[str, Any]:
    report = Report(watched.ipc_ns, watched.findings, gaps=watched.gaps)
    return {
        **report.to_json(),
        "command": {
            "argv": list(words),
            "exit_code": watched.code,
            "private": watched.private,
            "still_running": [{"pid": each.pid, "command": each.command} for each in watched.survivors],
            "ignored": watched.ignored,
            "elsewhere": watched.elsewhere,
        },
    }


def _last_words(words: Sequence[str], watched: Watched) -> str:
    where = "in an IPC namespace of its own" if watched.private else "on the host, by difference"
    name = " ".join(shlex.join(words).split())
    name = name if len(name) <= 60 else f"{name[:57]}…"
    left = f"left {_count(watched.leaked, 'object')}" if watched.leaked else "left nothing"
    lines = [f"audit: `{name}` {left} (exit code {watched.code}; {where})"]
    if watched.survivors:
        named = [f"{each.pid} ({each.command})" for each in watched.survivors[:_NAMED]]
        more = f" and {len(watched.survivors) - _NAMED} more" if len(watched.survivors) > _NAMED else ""
        lines.append(f"note: processes it started still run: {', '.join(named)}{more}")
    if watched.ignored:
        lines.append(f"note: {_count(watched.ignored, 'object')} left and ignored, as --ignore asks")
    if watched.elsewhere:
        lines.append(f"note: {_count(watched.elsewhere, 'new object')} provably came from elsewhere")
    lines += [f"not seen: {gap}" for gap in watched.gaps]
    if watched.gaps and not watched.private and not namespaces.can_isolate():
        lines.append("help: --private runs it where all of them can be seen")
    return "\n".join(lines)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
