"""What the shell offers on Tab: instances, processes, objects, files. Reads only the ledger; never fails aloud."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from orchestra.errors import OrchestraError

if TYPE_CHECKING:
    from orchestra.cli.state import State

_ENDINGS = (".yaml", ".json")


def instances(incomplete: str) -> list[str]:
    """Names of the instances on record."""
    return _matching(incomplete, _from_state(lambda state: state.instances))


def live_instances(incomplete: str) -> list[str]:
    """Names of the instances, for `down`: those that still have something to end or remove."""
    return _matching(
        incomplete, _from_state(lambda s: [n for n, i in s.instances.items() if i.live or not i.row.finished])
    )


def runs(incomplete: str) -> list[str]:
    """Ids of the runs on record, newest first."""
    return _matching(incomplete, _from_state(lambda state: [row.run for row in reversed(state.ledger.runs())]))


def files(incomplete: str) -> list[str]:
    """Topology files and the folders on the way to them."""
    folder, _, start = incomplete.rpartition("/")
    prefix = f"{folder}/" if "/" in incomplete else ""
    found = []
    with suppress(OSError), os.scandir(prefix or ".") as entries:
        for entry in entries:
            if not entry.name.startswith(start) or (entry.name.startswith(".") and not start.startswith(".")):
                continue
            if entry.is_dir():
                found.append(f"{prefix}{entry.name}/")
            elif entry.name.endswith(_ENDINGS):
                found.append(prefix + entry.name)
    return sorted(found)


def instances_and_files(incomplete: str) -> list[str]:
    """Instances, and files as soon as it looks like a path."""
    return [*instances(incomplete), *files(incomplete)]


def targets(incomplete: str) -> list[str]:
    """Instances, `INSTANCE.NAME`, and the names of the clear instance."""
    return _matching(incomplete, _from_state(lambda state: _names(state, incomplete, objects_only=False)))


def processes(incomplete: str) -> list[str]:
    """Live instances, their `INSTANCE.PROCESS[.REPLICA]`, and the processes of the clear instance."""
    return _matching(incomplete, _from_state(lambda state: _processes(state, incomplete)))


def scales(incomplete: str) -> list[str]:
    """`PROCESS=` of the clear instance; what comes after is a number."""
    return _matching(incomplete, [f"{name}=" for name in _from_state(lambda s: s.names_in(s.choose(None)).processes)])


def signals(incomplete: str) -> list[str]:
    """Names of signals, with or without SIG, as what was typed begins."""
    import signal

    names = [item.name for item in signal.Signals]
    upper = incomplete.upper()
    return _matching(upper, names if upper.startswith("SIG") else [name.removeprefix("SIG") for name in names])


def uses(incomplete: str) -> list[str]:
    """`OBJECT:ACCESS` of the clear instance."""
    found = _from_state(lambda state: sorted(state.names_in(state.choose(None)).objects))
    return _matching(incomplete, [f"{key}:{access}" for key in found for access in ("read", "write", "read-write")])


def objects(incomplete: str) -> list[str]:
    """`INSTANCE.OBJECT`, the objects of the clear instance, and the kinds that can be addressed."""
    from orchestra.cli.targets import ADDRESS_LABELS

    known = _from_state(lambda state: _names(state, incomplete, objects_only=True))
    return _matching(incomplete, [*known, *(f"{label}:" for label in ADDRESS_LABELS)])


def files_and_processes(incomplete: str) -> list[str]:
    """Files, and the processes of the clear instance; for `up FILE PROCESS…`."""
    names = _from_state(lambda state: sorted(state.names_in(state.choose(None)).processes))
    return [*files(incomplete), *_matching(incomplete, names)]


def _processes(state: State, incomplete: str) -> list[str]:
    """Replicas are offered only once the process is written out: a list of hundreds helps nobody."""
    found = [name for name, instance in state.instances.items() if instance.live]
    with suppress(OrchestraError):
        found += sorted(state.names_in(state.choose(None)).processes)
    for name, instance in state.instances.items():
        if not instance.live:
            continue
        for process, replicas in state.replicas(instance.row.run).items():
            found.append(f"{name}.{process}")
            if replicas > 1 and incomplete.startswith(f"{name}.{process}."):
                found += [f"{name}.{process}.{number}" for number in range(1, replicas + 1)]
    return found


def _names(state: State, incomplete: str, *, objects_only: bool) -> list[str]:
    owner, dot, _ = incomplete.partition(".")
    found: list[str] = []
    if not objects_only:
        found += state.instances
    for known in state.known:
        if dot and known.instance != owner:
            continue
        names = state.names(known)
        of_instance = sorted(names.objects) if objects_only else names.all()
        found += [f"{known.instance}.{name}" for name in of_instance]
    if not dot:
        with suppress(OrchestraError):
            names = state.names_in(state.choose(None))
            found += sorted(names.objects) if objects_only else names.all()
    return found


def _from_state(read: Callable[[State], Iterable[str]]) -> list[str]:
    # A Tab must not print anything into the line being typed, whatever is wrong with the ledger.
    from orchestra.cli.state import open_state

    with suppress(OrchestraError, OSError), open_state() as state:
        return list(read(state))
    return []


def _matching(incomplete: str, words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word for word in words if word.startswith(incomplete)))
