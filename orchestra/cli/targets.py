"""What a word on the command line means: a file, an instance, a process or object in it, or an object by address.

The rule, in order:

1. `FAMILY-KIND:REF` is an object, declared or not: `posix-queue:/jobs`, `sysv-segment:0x4f524331` (0x = key, else id).
2. With a `/`, or ending in .yaml or .json, it is a topology file.
3. `INSTANCE`, `INSTANCE.NAME`, `INSTANCE.NAME.REPLICA`, or `NAME` of the clear instance: the one of `-n`, else of
   `-f`, else of ./orchestra.yaml, else the only live one. A word that is an instance and a name says so.

Nothing here reads the ledger: instances come in as data, the names of an instance through a function.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orchestra.errors import NotFound, UsageError
from orchestra.kinds import Family, Kind, ObjectRef

DEFAULT_FILE = "orchestra.yaml"
FILE_ENDINGS = (".yaml", ".json")

_ADDRESSES = {
    "posix-queue": (Family.POSIX, Kind.QUEUE),
    "posix-segment": (Family.POSIX, Kind.SEGMENT),
    "posix-semaphore": (Family.POSIX, Kind.SEMAPHORE),
    "sysv-queue": (Family.SYSV, Kind.QUEUE),
    "sysv-segment": (Family.SYSV, Kind.SEGMENT),
    "sysv-semaphore": (Family.SYSV, Kind.SEMAPHORE),
    "file-segment": (Family.FILE, Kind.SEGMENT),
    "fifo": (Family.FIFO, Kind.PIPE),
}
ADDRESS_LABELS = tuple(_ADDRESSES)
_ADDRESS = re.compile(r"(?P<label>[a-z]+-(?:queue|segment|semaphore|pipe)|fifo):(?P<ref>.*)", re.DOTALL)
_KEY_LIMIT = 0xFFFF_FFFF
_ID_LIMIT = 0x7FFF_FFFF


class Known(NamedTuple):
    """One instance as the ledger knows it: its newest run. `file` is absolute."""

    instance: str
    run: str
    topology: str
    file: str
    live: bool
    started_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Names:
    """What an instance's newest run declared."""

    processes: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        """Whether a process or an object has this name."""
        return name in self.processes or name in self.objects

    def all(self) -> list[str]:
        """Return every name, for lists and suggestions."""
        return sorted(self.processes | self.objects)


class Target(NamedTuple):
    """An instance, or a process or object in it. `replica` None means all of them."""

    instance: Known
    name: str | None = None
    replica: int | None = None


NamesOf = Callable[[Known], Names]


def is_file(word: str) -> bool:
    """Whether a word can only mean a topology file."""
    return not is_address(word) and ("/" in word or word in ("", ".", "..") or word.endswith(FILE_ENDINGS))


def is_address(word: str) -> bool:
    """Whether a word has the form FAMILY-KIND:REF."""
    return _ADDRESS.fullmatch(word) is not None


def parse_address(word: str) -> ObjectRef:
    """Read `FAMILY-KIND:REF`. Raises UsageError for an unknown kind or a reference that this kind cannot have."""
    match = _ADDRESS.fullmatch(word)
    label = match["label"] if match else word
    if match is None or label not in _ADDRESSES:
        raise UsageError(f"`{word}` is no object address", hint=f"Kinds: {', '.join(_ADDRESSES)}.")
    family, kind = _ADDRESSES[label]
    ref = match["ref"]
    if family is Family.SYSV:
        return _sysv(label, family, kind, ref)
    if family is Family.POSIX and not re.fullmatch(r"/[^/\0]+", ref):
        raise UsageError(
            f"`{ref}` is no POSIX name",
            hint=f"One slash, then a name without slashes: {label}:/{ref.strip('/') or 'jobs'}",
        )
    if family is not Family.POSIX and not ref.startswith("/"):
        raise UsageError(f"`{ref}` is no absolute path", hint=f"Write the whole path: {label}:/tmp/…")
    return ObjectRef(family, kind, name=ref)


def _sysv(label: str, family: Family, kind: Kind, ref: str) -> ObjectRef:
    by_key = ref[:2].lower() == "0x"
    try:
        number = int(ref, 16 if by_key else 10)
    except ValueError:
        number = -1
    if by_key and 0 < number <= _KEY_LIMIT:
        return ObjectRef(family, kind, key=number)
    if not by_key and 0 <= number <= _ID_LIMIT:
        return ObjectRef(family, kind, id=number)
    hint = f"An id as `ipcs` shows it ({label}:32769), or a key as 0x… ({label}:0x4f524331)."
    if by_key and number == 0:
        hint = f"Key 0 is IPC_PRIVATE, which many objects share. Use the id: {label}:ID"
    raise UsageError(f"`{ref}` is neither a System V id nor a key", hint=hint)


def topology_path(word: str | None) -> str:
    """Return the absolute path of a topology file: ./orchestra.yaml by default, a folder's own for a folder.

    Raises UsageError when the path is empty, or counts from a folder that is gone.
    """
    if word == "":
        raise UsageError("the name of the file is empty", hint="Leave it out to use ./orchestra.yaml.")
    given = word or DEFAULT_FILE
    path = os.path.normpath(given if os.path.isabs(given) else os.path.join(current_folder(), given))
    return os.path.join(path, DEFAULT_FILE) if os.path.isdir(path) else path


def default_path() -> str:
    """Return the path of ./orchestra.yaml, "" when the current folder is gone: then nothing was started there."""
    try:
        return topology_path(None)
    except UsageError:
        return ""


def current_folder() -> str:
    """Return the current folder. Raises UsageError when it was removed."""
    try:
        return os.getcwd()
    except OSError as err:
        raise UsageError(
            f"the current folder cannot be used: {err.strerror}", hint="Go to another one with cd."
        ) from err


def clear_instance(known: Sequence[Known], *, name: str | None, file: str | None, default_file: str) -> Known:
    """Return the instance that is meant when none is spelt out.

    `file` and `default_file` (./orchestra.yaml) are absolute. Raises NotFound when `name` or `file` has none, and
    UsageError with a list when the choice is not clear.
    """
    if name is not None:
        return named(known, name)
    if file is not None:
        of_file = [item for item in known if item.file == file]
        if not of_file:
            raise NotFound(
                "nothing has been started from that file", detail=file, hint="`orchestra ls` lists instances."
            )
        return _one_of(of_file)
    here = [item for item in known if item.file == default_file]
    live = [item for item in known if item.live]
    if here:
        return _one_of(here)
    if len(live) == 1:
        return live[0]
    if not known:
        raise NotFound("there is no instance: nothing has been started yet", hint="Start one: orchestra up FILE")
    raise UsageError("which instance?", hint=f"Name it, or use -n. {_list(live or known, live=bool(live))}")


def named(known: Sequence[Known], name: str) -> Known:
    """Return the instance of that name. Raises NotFound with the nearest names."""
    for item in known:
        if item.instance == name:
            return item
    raise NotFound(f"there is no instance `{name}`", hint=_nearest(name, [item.instance for item in known], known))


def resolve(
    word: str,
    known: Sequence[Known],
    names_of: NamesOf,
    *,
    name: str | None = None,
    file: str | None = None,
    default_file: str = "",
) -> Target:
    """Find what a word that is neither file nor address means.

    Raises UsageError when it is ambiguous or malformed, NotFound when nothing has that name.
    """
    parts = word.split(".")
    if not all(parts) or len(parts) > 3 or (len(parts) == 3 and not parts[2].isdecimal()):
        raise UsageError(f"`{word}` is no target", hint="INSTANCE, INSTANCE.NAME, INSTANCE.NAME.REPLICA or NAME.")
    if len(parts) == 1 and name is None:
        return _bare(word, known, names_of, file, default_file)
    if len(parts) == 1 or (len(parts) == 2 and parts[1].isdecimal()):  # names start with a letter: NAME.REPLICA
        instance = clear_instance(known, name=name, file=file, default_file=default_file)
        rest = parts
    else:
        if name is not None and name != parts[0]:
            raise UsageError(f"`{word}` names instance {parts[0]}, but -n says {name}")
        _must_not_be_a_process(parts, known, names_of, file, default_file)
        instance, rest = named(known, parts[0]), parts[1:]
    replica = int(rest[1]) if len(rest) == 2 else None
    return _member(instance, rest[0], replica, names_of)


def _must_not_be_a_process(
    parts: Sequence[str], known: Sequence[Known], names_of: NamesOf, file: str | None, default_file: str
) -> None:
    """Raise UsageError for NAME.WORD: what follows the name of a process is a number."""
    if any(item.instance == parts[0] for item in known):
        return
    try:
        clear = clear_instance(known, name=None, file=file, default_file=default_file)
    except (NotFound, UsageError):
        return
    if parts[0] in names_of(clear).processes:
        raise UsageError(f"`{parts[1]}` is no number of a replica of {parts[0]}", hint=f"Write {parts[0]}.1")


def _bare(word: str, known: Sequence[Known], names_of: NamesOf, file: str | None, default_file: str) -> Target:
    as_instance = next((item for item in known if item.instance == word), None)
    try:
        clear = clear_instance(known, name=None, file=file, default_file=default_file)
    except UsageError:
        if as_instance is None:
            raise
        return Target(as_instance)
    is_name = word in names_of(clear)
    if as_instance is not None and is_name and as_instance.instance != clear.instance:
        raise UsageError(
            f"`{word}` is an instance, and also a name in instance {clear.instance}",
            hint=f"For the one in {clear.instance} write {clear.instance}.{word}; for the instance use -n {word}.",
        )
    if as_instance is not None and is_name:
        raise UsageError(
            f"`{word}` is an instance, and also a name in it",
            hint=f"For what is in it write {word}.{word}; for the instance use -n {word}.",
        )
    if as_instance is not None:
        return Target(as_instance)
    return _member(clear, word, None, names_of)


def _member(instance: Known, name: str, replica: int | None, names_of: NamesOf) -> Target:
    names = names_of(instance)
    if name not in names:
        raise NotFound(
            f"instance {instance.instance} has no process or object `{name}`", hint=_nearest(name, names.all(), ())
        )
    if replica is not None and name not in names.processes:
        raise UsageError(f"`{name}` is an object of {instance.instance}: it has no replicas")
    return Target(instance, name, replica)


def _one_of(choice: list[Known]) -> Known:
    """Of the instances of one file: the only live one, else the one with the file's own name, else the only one."""
    live = [item for item in choice if item.live]
    own = [item for item in live or choice if item.instance == item.topology]
    for narrowed in (live, own, choice):
        if len(narrowed) == 1:
            return narrowed[0]
    raise UsageError("which instance?", hint=f"Name it, or use -n. {_list(live or choice, live=bool(live))}")


def _list(known: Sequence[Known], *, live: bool) -> str:
    names = ", ".join(sorted(item.instance for item in known))
    return f"{'Live' if live else 'Known'}: {names}."


def _nearest(word: str, candidates: Sequence[str], known: Sequence[Known]) -> str:
    from difflib import get_close_matches  # only on the way to an error message

    near = get_close_matches(word, candidates, n=1)
    if near:
        return f"Did you mean `{near[0]}`?"
    if known:
        return _list(known, live=False)
    return f"Known: {', '.join(candidates)}." if candidates else ""
