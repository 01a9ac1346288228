"""What can be said about a file as a whole without looking at the host: names, uses, order, placeholders.

One function per rule; each takes a Document and returns findings. A rule looks only at what the models accepted, but
knows every declared name, so a mistake inside an object does not make its users wrong too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from orchestra.errors import Problem
from orchestra.kinds import Access, Family, Kind
from orchestra.topology.fields import KeyForm
from orchestra.topology.hints import nearest, nearest_help
from orchestra.topology.include import normal
from orchestra.topology.interpolation import SECTIONS, PlaceholderUse, dotted
from orchestra.topology.makers import watched
from orchestra.topology.marks import Marks
from orchestra.topology.model import Topology
from orchestra.topology.nodes import Map
from orchestra.topology.objectmodels import IN_WORDS, Ftok, IpcObject, SysvObject


@dataclass(frozen=True)
class Document:
    """A file with all it includes: the part that is valid, the names of everything, and the places."""

    topology: Topology
    marks: Marks
    objects: dict[str, str]  # every declared key → its section
    processes: Collection[str]  # every declared name
    placeholders: tuple[PlaceholderUse, ...] = ()


def declared_objects(root: Map) -> dict[str, str]:
    """Return every key of every object section; the first section wins where one is declared twice."""
    found: dict[str, str] = {}
    for section in SECTIONS:
        entries = root.get(section)
        for key in entries if isinstance(entries, Map) else ():
            found.setdefault(key, section)
    return found


def declared_processes(root: Map) -> Collection[str]:
    """Return the name of every process."""
    entries = root.get("processes")
    return entries.keys() if isinstance(entries, Map) else ()


def errors(document: Document) -> list[Problem]:
    """Return everything that keeps the file from being run."""
    return [problem for rule in ERRORS for problem in rule(document)]


def warnings(document: Document) -> list[Problem]:
    """Return what is odd but possible."""
    return [problem for rule in WARNINGS for problem in rule(document)]


# --- names -----------------------------------------------------------------------------------------------------


def same_key_in_two_sections(document: Document) -> Iterator[Problem]:
    """An object is known by its key alone, so keys are unique over all sections."""
    root = document.marks.root
    for section in SECTIONS:
        entries = root.get(section)
        for key in list(entries) if isinstance(entries, Map) else ():
            first = document.objects[key]
            if first != section:
                at = document.marks.key_place((first, key))
                message = f"`{key}` is declared under `{first}` already, in {at}"
                yield document.marks.problem((section, key), "duplicate_key", message, key=True)


def same_name_twice(document: Document) -> Iterator[Problem]:
    """Two objects cannot have one name, path or System V key."""
    seen: dict[tuple[str, ...], tuple[str, str]] = {}
    for section, key, item in document.topology.objects():
        address = _address(item, document.marks.folder((section, key)))
        if address is None:
            continue
        # POSIX segments and semaphores are files of one folder: /sem.x and the semaphore /x are the same file.
        first = seen.setdefault(address, (section, key))
        if first != (section, key):
            path = (section, key, item.address)
            yield document.marks.problem(path, "duplicate_name", f"`{dotted(first)}` has the same {item.address}")


def _address(item: IpcObject, folder: str) -> tuple[str, ...] | None:
    value = getattr(item, item.address) if item.address else None
    if value is None or isinstance(value, KeyForm):
        return None
    if isinstance(item, SysvObject):
        if isinstance(value, Ftok):
            return ("sysv", item.kind, normal(value.path, folder), str(value.project))
        return ("sysv", item.kind, str(value))
    if item.family_name is Family.POSIX and item.kind is not Kind.QUEUE:
        return ("shm", f"sem.{value[1:]}" if item.kind is Kind.SEMAPHORE else value[1:])
    return ("path", normal(value, folder)) if item.address == "path" else ("mqueue", value)


def undeclared_objects(document: Document) -> Iterator[Problem]:
    """Each name in `uses` is an object."""
    for name, process in document.topology.processes.items():
        for key in process.uses:
            if key in document.objects:
                continue
            hint = nearest_help(key, document.objects, "Objects are {}.")
            if key in document.processes:
                hint = f"`{key}` is a process; to wait for it write `depends_on: [{key}]`."
            elif not document.objects:
                hint = "The file declares no objects: add a section such as `queues:`."
            path = ("processes", name, "uses", key)
            yield document.marks.problem(path, "unknown_name", f"no object is called `{key}`", hint, key=True)


def undeclared_processes(document: Document) -> Iterator[Problem]:
    """Each name in `depends_on` is a process."""
    for name, process in document.topology.processes.items():
        for other in process.depends_on:
            if other in document.processes:
                continue
            hint = nearest_help(other, document.processes, "Processes are {}.", but=name)
            if other in document.objects:
                hint = f"`{other}` is an object; it exists before any process starts."
            path = ("processes", name, "depends_on", other)
            yield document.marks.problem(path, "unknown_name", f"no process is called `{other}`", hint, key=True)


# --- uses ------------------------------------------------------------------------------------------------------


def access_that_cannot_be(document: Document) -> Iterator[Problem]:
    """A semaphore is always read-write; a process has one end of an anonymous pipe."""
    for name, process in document.topology.processes.items():
        for key, access in process.uses.items():
            section = document.objects.get(key)
            item = document.topology.object(key)
            path = ("processes", name, "uses", key)
            if section == "semaphores" and access is not Access.READ_WRITE:
                message = f"a semaphore cannot be used for `{access}` only: every operation changes it"
                yield document.marks.problem(path, "bad_access", message, f"Write `{key}: read-write`.")
            elif item is not None and item.family_name is Family.ANONYMOUS and access is Access.READ_WRITE:
                message = "a process has one end of an anonymous pipe"
                yield document.marks.problem(path, "bad_access", message, f"Write `{key}: read` or `{key}: write`.")


# --- placeholders ----------------------------------------------------------------------------------------------


def placeholders(document: Document) -> Iterator[Problem]:
    """A placeholder names an object that its process uses, in its section, and a field that the object has."""
    for use in document.placeholders:
        problem = _placeholder(use, document)
        if problem is not None:
            yield problem


def _placeholder(use: PlaceholderUse, document: Document) -> Problem | None:
    section = document.objects.get(use.object)
    token = f"${{{use.section}.{use.object}.{use.field}}}"
    where = dotted(use.path)
    if section is None:
        close = nearest(use.object, document.objects)
        hint = f"Did you mean ${{{document.objects[close]}.{close}.{use.field}}}?" if close else ""
        return use.place.problem("unknown_name", where, f"no object is called `{use.object}`", hint)
    if section != use.section:
        hint = f"Write ${{{section}.{use.object}.{use.field}}}."
        return use.place.problem("bad_placeholder", where, f"`{use.object}` stands under `{section}`", hint)
    process = document.topology.processes.get(str(use.path[1]))
    if process is not None and use.object not in process.uses:
        hint = f"Add `{use.object}: {_usual_access(section)}` to `uses:` of `{use.path[1]}`."
        return use.place.problem("not_in_uses", where, f"{token} needs `{use.object}` in `uses`", hint)
    item = document.topology.object(use.object)
    if item is not None and use.field in _LATER and getattr(item, "made_by", None) == use.path[1]:
        hint = f"The program that makes it knows it. `{use.object}` can be found by its `{item.address}:`."
        return use.place.problem(
            "bad_placeholder", where, f"{token} is known only when `{use.path[1]}` has made it", hint
        )
    if item is None or use.field in fields_of(item):
        return None
    having = fields_of(item)
    message = f"{IN_WORDS[item.family_name, item.kind]} has no `{use.field}`"
    if use.field == "key" and isinstance(item, SysvObject):
        message = f"`{use.object}` is private: it has no key"
    hint = f"It has {', '.join(f'${{{section}.{use.object}.{name}}}' for name in having)}." if having else ""
    return use.place.problem("bad_placeholder", where, message, hint)


_LATER = ("id", "fd")  # what an object has only once it is there


def _usual_access(section: str) -> str:
    return "read-write" if section == "semaphores" else "read"


def fields_of(item: IpcObject) -> tuple[str, ...]:
    """Return the fields that a placeholder of this object may ask for."""
    if isinstance(item, SysvObject):
        key = () if item.key is KeyForm.PRIVATE else ("key",)
        return ("id", *key, *(("size",) if item.kind is Kind.SEGMENT else ()))
    by_kind: dict[tuple[Family, Kind], tuple[str, ...]] = {
        (Family.POSIX, Kind.QUEUE): ("name", "fd"),
        (Family.POSIX, Kind.SEGMENT): ("name", "fd", "size"),
        (Family.POSIX, Kind.SEMAPHORE): ("name",),
        (Family.FILE, Kind.SEGMENT): ("path", "size"),
        (Family.MEMFD, Kind.SEGMENT): ("fd", "size"),
        (Family.ANONYMOUS, Kind.PIPE): ("fd",),
        (Family.FIFO, Kind.PIPE): ("path",),
    }
    return by_kind[item.family_name, item.kind]


# --- oddities --------------------------------------------------------------------------------------------------


def unused_objects(document: Document) -> Iterator[Problem]:
    """An object that no process uses is made and removed for nothing."""
    used = {key for process in document.topology.processes.values() for key in process.uses}
    used |= {key for name in document.topology.processes for key in watched(name, document.topology)}
    for section, key, _ in document.topology.objects():
        if key not in used:
            yield document.marks.problem((section, key), "unused", f"no process uses `{key}`", key=True)


def one_sided(document: Document) -> Iterator[Problem]:
    """A queue or pipe with only readers waits forever; with only writers it fills up."""
    used: dict[str, list[Access]] = {}
    for process in document.topology.processes.values():
        for key, access in process.uses.items():
            used.setdefault(key, []).append(access)
    for section, key, item in document.topology.objects():
        if item.kind not in (Kind.QUEUE, Kind.PIPE) or item.foreign:
            continue  # the other side of an object that others make may be anybody
        accesses = used.get(key, [])
        if not accesses or Access.READ_WRITE in accesses or len(set(accesses)) == 2:
            continue
        reads = accesses[0] is Access.READ
        message = f"`{key}` has only {'readers' if reads else 'writers'}"
        hint = "Nobody writes: they will wait forever." if reads else "Nobody reads: it fills up, and then they wait."
        yield document.marks.problem((section, key), "one_sided", message, hint, key=True)


ERRORS = (
    same_key_in_two_sections,
    same_name_twice,
    undeclared_objects,
    undeclared_processes,
    access_that_cannot_be,
    placeholders,
)
WARNINGS = (unused_objects, one_sided)
