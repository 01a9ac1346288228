"""A question before something is removed; and which objects a file is about."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestra.audit.declared import declared, unnamed
from orchestra.audit.report import Finding
from orchestra.cli.exits import tell
from orchestra.cli.state import State
from orchestra.errors import UsageError
from orchestra.kernel.aside import put_back_all
from orchestra.ledger.journal import Ledger
from orchestra.views.ansi import is_terminal


def counted(count: int) -> str:
    """Return "1 object", "2 objects"."""
    return f"{count} object{'' if count == 1 else 's'}"


def agreed(question: str, shown: str, *, what: str) -> bool:
    """Show a list and ask on the terminal whether to go on. Raises UsageError when there is nobody to ask.

    `what` is what the question is about, for that error.
    """
    if not is_terminal(sys.stdin):
        raise UsageError(
            f"{what} would be removed, and there is nobody to ask; nothing was removed",
            hint="--yes removes without a question, --dry-run only lists.",
        )
    tell(shown)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if answer.strip().lower() in ("y", "yes"):
        return True
    if not answer:  # end of file: the cursor still stands behind the question
        tell("")
    tell("nothing was removed")
    return False


def name_again() -> None:
    """Finish what an interrupted removal began: what it had moved aside gets its name back, and is looked at anew."""
    for path in put_back_all():
        tell(f"note: {path} has its name back: its removal was cut off")


@contextmanager
def on_record(state: State) -> Iterator[Ledger]:
    """Yield a ledger that can be written to: where nothing was ever started there is none yet."""
    if state.places.ledger.exists():
        yield state.ledger
        return
    state.places.create()
    with Ledger.open(state.places.ledger) as ledger:
        yield ledger


def declared_in(file: str, state: State) -> Callable[[Finding], bool]:
    """Return a test of findings: is it an object of this file? Raises UsageError, TopologyError.

    Says which objects nobody can find that way: an address that each run makes up is known to our record alone.
    """
    from orchestra.cli.prepare import prepare

    prepared = prepare(None, option=file, name=None)
    instances = [known.instance for known in state.known if known.file == prepared.plan.file]
    hidden = unnamed(prepared.plan.objects)
    if hidden and not instances:
        words = ", ".join(hidden)
        tell(f"note: {words}: no `name` or `key` in the file, so they can only be found when orchestra made them")
    return declared(prepared.plan.objects, instances)
