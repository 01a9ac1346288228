"""The last words about a run: how it ended, what failed and how, what was stopped for it, what stays behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestra.views.ansi import PLAIN, Paint, clean

_LISTED_AT_MOST = 12


@dataclass(frozen=True, slots=True)
class Ending:
    """What there is to say. Processes are named as `logs` takes them: `worker.2`, or `reader` when it is alone."""

    instance: str
    run: str
    state: str  # down, failed or crashed
    seconds: float
    stopped_by: str | None = None
    failed: Sequence[tuple[str, str]] = ()  # process, how
    skipped: Sequence[tuple[str, str]] = ()  # process, why
    stopped: Sequence[str] = ()
    kept: Sequence[tuple[str, str]] = ()  # object, what and why
    left: Sequence[tuple[str, str]] = ()  # object that should have gone, why it is still there
    diagnosis: str = ""  # file with what Python said about a defect of ours
    hints: Sequence[str] = ()  # what helps to understand the failures
    undeclared: Sequence[str] = ()  # what made the run fail by `undeclared: fail`, in words
    lines_lost: int = 0  # that could not be written to the log


def summarise(ending: Ending, paint: Paint = PLAIN) -> str:
    """Return the summary as lines for stderr."""
    lines = [_headline(ending, paint)]
    lines += _pairs(ending.failed, paint, "red")
    lines += _pairs([(who, f"skipped: {why}") for who, why in ending.skipped], paint, "yellow")
    if ending.stopped and ending.failed:
        lines.append(f"  stopped: {_some(ending.stopped)}")
    if ending.failed:
        who = ending.failed[0][0]
        lines.append(f"{paint('help', 'bold', 'cyan')}: orchestra logs {ending.instance}.{clean(who)}")
        lines += [f"{paint('help', 'bold', 'cyan')}: {clean(hint)}" for hint in ending.hints]
    lines += _undeclared(ending, paint)
    if ending.lines_lost:
        what = _count(ending.lines_lost, "line is", "lines are")
        lines.append(f"{paint('warning', 'bold', 'yellow')}: {what} missing in the log: it could not be written")
    if ending.diagnosis:
        lines.append(f"{paint('help', 'bold', 'cyan')}: this looks like a bug of orchestra: see {ending.diagnosis}")
    if ending.state == "crashed":
        lines.append(f"{paint('help', 'bold', 'cyan')}: orchestra down {ending.instance} ends and removes what is left")
    else:
        lines += _behind(ending.run, ending.kept, ending.left, paint)
    return "".join(line + "\n" for line in lines)


def _undeclared(ending: Ending, paint: Paint) -> list[str]:
    """What the run left beside what its file declares, where that makes it fail."""
    if not ending.undeclared:
        return []
    shown = ending.undeclared[:_LISTED_AT_MOST]
    lines = ["Failed because of `undeclared: fail`:", *(f"  {clean(words)}" for words in shown)]
    if len(ending.undeclared) > len(shown):
        lines.append(f"  … and {len(ending.undeclared) - len(shown)} more")
    lines.append(
        f"{paint('help', 'bold', 'cyan')}: declare it, or `undeclared: remove` removes what is proven to be the run's"
    )
    return lines


@dataclass(frozen=True, slots=True)
class Ended:
    """What `down` did. `survivors` counts processes of a crashed run that it ended, `stuck` are those it could not."""

    instance: str
    run: str
    nothing_to_do: bool = False
    removed: int = 0
    survivors: int = 0
    stuck: Sequence[int] = ()
    kept: Sequence[tuple[str, str]] = ()
    left: Sequence[tuple[str, str]] = ()


def summarise_down(ended: Ended, paint: Paint = PLAIN) -> str:
    """Return what `down` did as lines for stderr."""
    if ended.nothing_to_do:
        return f"{ended.instance} was down already\n"
    parts = [f"{_count(ended.removed, 'object')} removed"]
    if ended.survivors:
        parts.insert(0, f"{_count(ended.survivors, 'surviving process', 'surviving processes')} ended")
    word = paint("is down", "bold", "green")
    lines = [f"{ended.instance} {word}: {', '.join(parts)}"]
    if ended.stuck:
        lines.append(f"Could not be ended: {', '.join(map(str, ended.stuck))}")
    lines += _behind(ended.run, ended.kept, ended.left, paint)
    return "".join(line + "\n" for line in lines)


def _behind(run: str, kept: Sequence[tuple[str, str]], left: Sequence[tuple[str, str]], paint: Paint) -> list[str]:
    """What is still there: on purpose, and against our will."""
    lines: list[str] = []
    if kept:
        lines.append("Left behind on purpose:")
        lines += _pairs(kept, paint, "cyan")
        lines.append(f"{paint('help', 'bold', 'cyan')}: orchestra audit, orchestra clean --kept --run {run}")
    if left:
        lines.append("Should have been removed and is still there:")
        lines += _pairs(left, paint, "red")
        lines.append(f"{paint('help', 'bold', 'cyan')}: orchestra audit says who holds it; then orchestra clean")
    return lines


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _headline(ending: Ending, paint: Paint) -> str:
    how, style = {
        "down": ("ended well", "green"),
        "failed": ("failed", "red"),
        "crashed": ("crashed: its supervisor died", "red"),
    }.get(ending.state, (ending.state, "yellow"))
    if ending.state == "down" and ending.stopped_by:
        how = f"was stopped by {ending.stopped_by}"
    return f"{ending.instance}: run {ending.run} {paint(how, 'bold', style)} after {duration(ending.seconds)}"


def _pairs(pairs: Sequence[tuple[str, str]], paint: Paint, style: str) -> list[str]:
    shown = pairs[:_LISTED_AT_MOST]
    width = max((len(name) for name, _ in shown), default=0)
    lines = [f"  {paint(clean(name).ljust(width), style)}  {clean(words)}" for name, words in shown]
    if len(pairs) > len(shown):
        lines.append(f"  … and {len(pairs) - len(shown)} more")
    return lines


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _LISTED_AT_MOST
    return ", ".join(clean(name) for name in names[:_LISTED_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")


def duration(seconds: float) -> str:
    """Return a length of time as a person would say it: `0.31 s`, `12.4 s`, `3 min 5 s`, `2 h 4 min`."""
    if seconds < 60:
        return f"{max(seconds, 0.0):.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
