"""What a command knows of this user's instances: the ledger's rows, and the locks that say which are live."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

from orchestra.cli.targets import (
    Known,
    Names,
    Target,
    clear_instance,
    default_path,
    is_file,
    named,
    resolve,
    topology_path,
)
from orchestra.errors import NotFound, OrchestraError, UsageError
from orchestra.ledger.journal import Ledger
from orchestra.ledger.rows import RUNNING_STATES, ObjectRow, ProcessRow, RunRow
from orchestra.statedir import StateDir, is_locked


class Instance(NamedTuple):
    """One instance: its newest run, whether a supervisor holds its lock now, and the state word to show."""

    row: RunRow
    live: bool
    state: str


class State:
    """Read access to what is on record. Opens the ledger when first asked and never creates one."""

    def __init__(self, places: StateDir, ledger: Ledger) -> None:
        self.places = places
        self.ledger = ledger

    @cached_property
    def instances(self) -> dict[str, Instance]:
        """Every instance by name, the newest run of each; the most recently started first."""
        newest: dict[str, RunRow] = {}
        for row in reversed(self.ledger.runs()):
            newest.setdefault(row.instance, row)
        return {name: self._look(row) for name, row in newest.items()}

    def choose(self, word: str | None, *, name: str | None = None, file: str | None = None) -> Instance:
        """Return the instance a command is about: INSTANCE or FILE given as `word`, `-n`, `-f`, or the clear one.

        Raises UsageError or NotFound as `targets.clear_instance` does.
        """
        if word is not None and name is not None and word != name:
            raise UsageError(f"both `{word}` and `-n {name}` name an instance", hint="Give one of them.")
        if word is not None and is_file(word):
            if file is not None:
                raise UsageError(f"both `{word}` and `-f {file}` name a file", hint="Give one of them.")
            file = word
        elif word is not None:
            return self.instances[self._named(word, file).instance]
        found = clear_instance(
            self.known,
            name=name,
            file=None if file is None else topology_path(file),
            default_file=default_path(),
        )
        return self.instances[found.instance]

    def _named(self, word: str, file: str | None) -> Known:
        """Return the instance of that name. Raises NotFound, which says so when a part of an instance was named."""
        try:
            return named(self.known, word)
        except NotFound as missing:
            try:
                target = self.resolve(word, file=file)
            except OrchestraError:
                raise missing from None
            whole = target.instance.instance
            what = "a process" if target.name in self.names(target.instance).processes else "an object"
            raise NotFound(
                f"`{word}` is {what} of {whole}, not an instance",
                hint=f"For the whole instance write {whole}; single processes: orchestra stop, start, restart, logs.",
            ) from None

    def resolve(self, word: str, *, name: str | None = None, file: str | None = None) -> Target:
        """Return what a word means that is neither a file nor an address. Raises as `targets.resolve` does."""
        return resolve(
            word,
            self.known,
            self.names,
            name=name,
            file=None if file is None else topology_path(file),
            default_file=default_path(),
        )

    def declared_object(self, word: str, *, name: str | None, file: str | None, of_a_file: str) -> ObjectRow:
        """Return the newest row of the object that a word names; `of_a_file` is the hint for one that is a file.

        Raises UsageError for anything but an object, and as `resolve` does.
        """
        if is_file(word):
            raise UsageError(f"`{word}` is a file, not an object", hint=of_a_file)
        target = self.resolve(word, name=name, file=file)
        instance = target.instance.instance
        rows = [row for row in self.ledger.objects(run=target.instance.run) if row.key == target.name]
        if not rows:
            what = "an instance" if target.name is None else "a process"
            raise UsageError(f"`{word}` is {what}, not an object", hint=f"`orchestra objects {instance}`")
        return rows[-1]

    @cached_property
    def known(self) -> list[Known]:
        """The instances in the form the target rule takes."""
        return [
            Known(name, i.row.run, i.row.topology, i.row.file, i.live, i.row.started_at)
            for name, i in self.instances.items()
        ]

    def names(self, known: Known) -> Names:
        """Return the processes and objects that an instance's newest run declared."""
        return self.names_in(self.instances[known.instance])

    def names_in(self, instance: Instance) -> Names:
        """Return the processes and objects of one instance's newest run."""
        run = instance.row.run
        return Names(
            frozenset(row.process for row in self.ledger.processes(run)),
            frozenset(row.key for row in self.ledger.objects(run=run)),
        )

    def processes(self, run: str) -> list[ProcessRow]:
        """Return the processes of a run in the order of its file, as far as its plan is still there."""
        try:
            plan = json.loads((self.places.run_folder(run) / "plan.json").read_bytes())
            order = {process["name"]: n for n, process in enumerate(plan["processes"])}
        except (OSError, ValueError, KeyError, TypeError):
            order = {}
        rows = self.ledger.processes(run)
        return sorted(rows, key=lambda row: (order.get(row.process, len(order)), row.process, row.replica))

    def replicas(self, run: str) -> dict[str, int]:
        """Return how many replicas each process of a run has, in the order of its file."""
        return Counter(row.process for row in self.processes(run))

    def _look(self, row: RunRow) -> Instance:
        # The lock is held for a moment longer than the run lasts, and again while an old run is being finished.
        live = row.ended_at is None and is_locked(self.places.lock(row.instance))
        return Instance(row, live, row.state if live else _settled(row))


def _settled(row: RunRow) -> str:
    """State of a run nobody supervises: one that says it is running has crashed."""
    return "crashed" if row.state in RUNNING_STATES else row.state


@contextmanager
def open_state() -> Iterator[State]:
    """Open this user's state for reading; everything is empty where nothing was ever started."""
    places = StateDir.locate()
    with Ledger.open(places.ledger, create=False) as ledger:
        yield State(places, ledger)


def live_answer(state: State, instance: Instance) -> dict[str, object] | None:
    """Ask the supervisor of a live instance for its state; None when it does not answer (yet, or any more)."""
    if not instance.live:
        return None
    from orchestra.supervisor.control import ControlClient

    path = instance.row.socket or str(state.places.socket(instance.row.instance))
    try:
        return ControlClient(path).state()
    except (OrchestraError, OSError):
        return None
