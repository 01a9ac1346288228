"""What waits for what: names, kinds and numbers of conditions, makers of objects, and circles.

As in references.py, one function per rule, each from a Document to findings.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestra.errors import Problem
from orchestra.kinds import Family, Kind
from orchestra.topology.fields import Condition, Isolation, Policy, StdinWord
from orchestra.topology.hints import nearest_help
from orchestra.topology.makers import awaited, made_by, makers
from orchestra.topology.model import Process
from orchestra.topology.objectmodels import IN_WORDS, IpcObject, PosixQueue, SysvSemaphore
from orchestra.topology.references import Document

SYSV_VALUE_MAX = 32767  # SEMVMX: semctl(2)
FIRST_FD = 3
_ENDS = (Condition.COMPLETED, Condition.ENDED)
_PASSED = frozenset(
    {
        (Family.POSIX, Kind.QUEUE),
        (Family.POSIX, Kind.SEGMENT),
        (Family.MEMFD, Kind.SEGMENT),
        (Family.ANONYMOUS, Kind.PIPE),
    }
)
_NAMELESS = (Family.MEMFD, Family.ANONYMOUS)
_PATHS = (Family.FILE, Family.FIFO)


def errors(document: Document) -> list[Problem]:
    """Return everything that keeps the file from being run."""
    return [problem for rule in ERRORS for problem in rule(document)]


def warnings(document: Document) -> list[Problem]:
    """Return what is odd but possible."""
    return [problem for rule in WARNINGS for problem in rule(document)]


# --- circles ---------------------------------------------------------------------------------------------------


def cycles(document: Document) -> Iterator[Problem]:
    """No process waits for itself, however long the way."""
    topology = document.topology
    graph = {name: awaited(name, topology) for name in topology.processes}
    for cycle in find_cycles(graph):
        chain = " → ".join([*cycle, cycle[0]])
        path, hint = _why(cycle[0], cycle[1 % len(cycle)], document)
        hints = [_why(name, cycle[(index + 1) % len(cycle)], document)[1] for index, name in enumerate(cycle)]
        hint = " ".join(dict.fromkeys(filter(None, hints)))
        if len(cycle) == 1:
            yield document.marks.problem(path, "cycle", f"`{cycle[0]}` waits for itself", key=True)
        else:
            message = f"these processes wait for each other: {chain}"
            yield document.marks.problem(path, "cycle", message, hint, key=True)


def _why(name: str, other: str, document: Document) -> tuple[tuple[str, ...], str]:
    """Return where it stands that one process waits for another, and words where that is not obvious."""
    if other in document.topology.processes[name].depends_on:
        return ("processes", name, "depends_on", other), ""
    made = makers(name, document.topology).get(other)
    if made is not None:
        return ("processes", name, "uses", made), f"`{name}` uses `{made}`, which `{other}` makes."
    return ("processes", name, "wait_for", other), f"`{name}` waits until `{other}` is blocked."


def find_cycles(graph: dict[str, list[str]]) -> list[list[str]]:
    """Return cycles that share no process, each as the names along it; the first name is the first of the file."""
    order = {name: index for index, name in enumerate(graph)}
    state: dict[str, int] = {}  # 1 = on the way, 2 = done
    found: list[list[str]] = []
    for start, following_start in graph.items():
        if start in state:
            continue
        way: list[str] = [start]
        rest: list[Iterator[str]] = [iter(following_start)]
        state[start] = 1
        while way:
            following = next(rest[-1], None)
            if following is None:
                state[way.pop()] = 2
                rest.pop()
            elif state.get(following) is None:
                state[following] = 1
                way.append(following)
                rest.append(iter(graph[following]))
            elif state[following] == 1:
                cycle = way[way.index(following) :]
                first = cycle.index(min(cycle, key=order.__getitem__))
                found.append(cycle[first:] + cycle[:first])
    seen: set[str] = set()
    apart = []
    for cycle in found:
        if seen.isdisjoint(cycle):
            apart.append(cycle)
            seen.update(cycle)
    return apart


def services_never_end(document: Document) -> Iterator[Problem]:
    """A service ends when everything else has: nothing can wait for that, nor for the end of what always restarts."""
    processes = document.topology.processes
    for name, process in processes.items():
        for other, item in process.depends_on.items():
            dependency, condition = processes.get(other), item.condition
            if dependency is None or condition not in _ENDS:
                continue
            path = ("processes", name, "depends_on", other)
            if dependency.service:
                message = f"`{other}` is a service: while others wait for it, it is never `{condition}`"
                yield document.marks.problem(path, "never_happens", message, "Wait for `started` or `ready`.")
            elif dependency.restart.policy is Policy.ALWAYS:
                message = f"`{other}` is restarted whenever it ends: it is never `{condition}`"
                hint = "Wait for `started` or `ready`, or restart it `on-failure`."
                yield document.marks.problem(path, "never_happens", message, hint)


# --- wait_for --------------------------------------------------------------------------------------------------


def waits(document: Document) -> Iterator[Problem]:
    """Each condition names something that can be so."""
    for name, process in document.topology.processes.items():
        for subject, item in process.wait_for.items():
            path = ("processes", name, "wait_for", subject)
            if item.blocked_on is not None:
                yield from _blocked_on(path, subject, item.blocked_on, document)
            given = [what for what in ("messages", "attached", "value", "exists") if getattr(item, what) is not None]
            if not given:
                continue
            if subject not in document.objects:
                yield _no_object(path, subject, document)
                continue
            found = document.topology.object(subject)
            for what in given if found is not None else ():
                assert found is not None
                yield from _condition((*path, what), what, item, found, document)


def _no_object(path: tuple[str, ...], key: str, document: Document, *, is_key: bool = True) -> Problem:
    hint = nearest_help(key, document.objects, "Objects are {}.")
    if key in document.processes:
        hint = f"`{key}` is a process; to wait for it write `depends_on: {{{key}: ready}}`."
    return document.marks.problem(path, "unknown_name", f"no object is called `{key}`", hint, key=is_key)


def _blocked_on(path: tuple[str, ...], subject: str, key: str, document: Document) -> Iterator[Problem]:
    if subject not in document.processes:
        hint = nearest_help(subject, document.processes, "Processes are {}.")
        if subject in document.objects:
            hint = f"`{subject}` is an object; write `process: {{blocked_on: {subject}}}`."
        yield document.marks.problem(path, "unknown_name", f"no process is called `{subject}`", hint, key=True)
    if key not in document.objects:
        yield _no_object((*path, "blocked_on"), key, document, is_key=False)
        return
    item = document.topology.object(key)
    if item is not None and item.kind is Kind.SEGMENT:
        message = f"nobody is ever blocked on {IN_WORDS[item.family_name, item.kind]}"
        hint = "Queues, semaphores and pipes let a process wait."
        yield document.marks.problem((*path, "blocked_on"), "never_happens", message, hint)


_KIND_OF = {"messages": Kind.QUEUE, "attached": Kind.SEGMENT, "value": Kind.SEMAPHORE}
_OF = {Kind.QUEUE: "messages", Kind.SEGMENT: "attached", Kind.SEMAPHORE: "value", Kind.PIPE: "exists"}


def _condition(
    path: tuple[str, ...], what: str, waiting: object, item: IpcObject, document: Document
) -> Iterator[Problem]:
    words = IN_WORDS[item.family_name, item.kind]
    if what == "exists":
        if item.family_name in _NAMELESS:
            message = f"{words} has no name that could be looked for: it is there from the start"
            yield document.marks.problem(path, "pointless", message, key=True)
        return
    if item.kind is not _KIND_OF[what]:
        hint = f"`{_OF[item.kind]}` can be asked of it."
        yield document.marks.problem(path, "never_happens", f"{words} has no `{what}`", hint, key=True)
        return
    bounds = getattr(waiting, what)
    most = _most(item)
    if most is not None and bounds.min > most:
        message = f"{bounds.min} are never there: it holds at most {most}"
        yield document.marks.problem((*path, "min"), "never_happens", message)
    if what == "value":
        yield from _member(path, bounds.index, "index" in bounds.model_fields_set, item, document)


def _most(item: IpcObject) -> int | None:
    if isinstance(item, PosixQueue) and (not item.foreign or "max_messages" in item.model_fields_set):
        return item.max_messages
    return SYSV_VALUE_MAX if isinstance(item, SysvSemaphore) else None


def _member(
    path: tuple[str, ...], index: int, is_given: bool, item: IpcObject, document: Document
) -> Iterator[Problem]:
    if not isinstance(item, SysvSemaphore):
        if is_given:
            message = "a POSIX semaphore is a single one"
            yield document.marks.problem((*path, "index"), "contradiction", message, "Remove `index`.", key=True)
        return
    if item.foreign and not item.model_fields_set & {"value", "values"}:
        return  # how many there are is seen when it is there
    count = len(item.members)
    if index >= count:
        message = f"the set has no semaphore {index}: they count from 0 to {count - 1}"
        yield document.marks.problem((*path, "index"), "never_happens", message)
    elif count > 1 and not is_given:
        hint = "Write `value: {index: 0, min: 1}`."
        yield document.marks.problem(path, "missing_key", f"which of the {count} semaphores is meant?", hint, key=True)


# --- ready -----------------------------------------------------------------------------------------------------


def ready_ways(document: Document) -> Iterator[Problem]:
    """`ready` names an object of the file, and a descriptor that is not that of an object."""
    for name, process in document.topology.processes.items():
        if process.ready is None:
            continue
        path = ("processes", name, "ready", process.ready.kind)
        if process.ready.exists is not None:
            yield from _ready_exists(path, process.ready.exists, document)
        elif process.ready.fd is not None:
            passed = passed_objects(name, process, document)
            position = process.ready.fd - FIRST_FD
            if position < len(passed):
                message = f"descriptor {process.ready.fd} is that of `{passed[position]}`"
                free = FIRST_FD + len(passed)
                hint = f"The objects have {FIRST_FD} to {free - 1} here: write `fd: {free}`."
                yield document.marks.problem(path, "contradiction", message, hint)


def passed_objects(name: str, process: Process, document: Document) -> list[str]:
    """Return the objects whose descriptors a process gets from 3 on, in the order of its `uses`."""
    found = []
    for key in process.uses:
        item = document.topology.object(key)
        if item is not None and (item.family_name, item.kind) in _PASSED and getattr(item, "made_by", None) != name:
            found.append(key)
    return found


def _ready_exists(path: tuple[str, ...], key: str, document: Document) -> Iterator[Problem]:
    if key not in document.objects:
        yield _no_object(path, key, document, is_key=False)
        return
    item = document.topology.object(key)
    if item is not None and item.family_name in _NAMELESS:
        message = f"{IN_WORDS[item.family_name, item.kind]} has no name that could be looked for"
        yield document.marks.problem(path, "pointless", message)


# --- made_by ---------------------------------------------------------------------------------------------------


def declared_makers(document: Document) -> Iterator[Problem]:
    """The maker of an object is one process, that says when it has made it, or ends."""
    processes = document.topology.processes
    for section, key, item in document.topology.objects():
        maker = getattr(item, "made_by", None)
        if maker is None:
            continue
        path = (section, key, "made_by")
        if maker not in document.processes:
            hint = nearest_help(maker, document.processes, "Processes are {}.")
            yield document.marks.problem(path, "unknown_name", f"no process is called `{maker}`", hint)
            continue
        process = processes.get(maker)
        if process is None:
            continue
        if process.replicas > 1:
            message = f"`{maker}` has {process.replicas} replicas: which of them makes `{key}`?"
            yield document.marks.problem(path, "contradiction", message, "Give the making to a process of its own.")
        if process.service and process.ready is None:
            message = f"`{maker}` is a service without `ready`: nobody could tell when it has made `{key}`"
            hint = f"Write `ready: {{exists: {key}}}`, or let the program say it: `ready: {{notify: true}}`."
            yield document.marks.problem(path, "never_happens", message, hint)


# --- isolation -------------------------------------------------------------------------------------------------


def out_of_reach(document: Document) -> Iterator[Problem]:
    """What is isolated reaches only what it inherits, or what is a path."""
    topology = document.topology
    for name, process in topology.processes.items():
        if process.isolation is not Isolation.PRIVATE:
            continue
        for key in process.uses:
            item = topology.object(key)
            if item is None or item.family_name in _PATHS or _is_inherited(item):
                continue
            words = IN_WORDS[item.family_name, item.kind]
            message = f"`{name}` is isolated by itself, and {words} cannot be inherited"
            hint = "Isolate the whole run, `isolation: private` at the top; or use a POSIX queue or segment, or a pipe."
            yield document.marks.problem(("processes", name, "uses", key), "unreachable", message, hint, key=True)
        for key in made_by(name, topology):
            item = topology.object(key)
            if item is not None and item.family_name not in _PATHS:
                message = f"`{name}` is isolated by itself: what it makes is seen by nobody else"
                section = document.objects[key]
                hint = "Isolate the whole run: `isolation: private` at the top."
                yield document.marks.problem((section, key, "made_by"), "unreachable", message, hint)
    if topology.isolation is Isolation.PRIVATE:
        for section, key, item in topology.objects():
            if getattr(item, "external", False) and item.family_name not in _PATHS:
                words = IN_WORDS[item.family_name, item.kind]
                message = f"the run is isolated: {words} of the host is out of its reach"
                hint = "Let the run make it, or leave `isolation` out."
                yield document.marks.problem((section, key, "external"), "unreachable", message, hint, key=True)


def _is_inherited(item: IpcObject) -> bool:
    return (item.family_name, item.kind) in _PASSED


# --- oddities --------------------------------------------------------------------------------------------------


def always_again(document: Document) -> Iterator[Problem]:
    """What is restarted whenever it succeeds keeps the run from ending."""
    for name, process in document.topology.processes.items():
        if process.restart.policy is Policy.ALWAYS and not process.service:
            message = f"`{name}` is started again also when it succeeds: the run does not end by itself"
            hint = "Write `service: true` if it runs until it is stopped, or `restart: on-failure`."
            yield document.marks.problem(("processes", name, "restart"), "endless", message, hint, key=True)


def waits_for_a_person(document: Document) -> Iterator[Problem]:
    """What does not start by itself is waited for until somebody starts it."""
    processes = document.topology.processes
    for name, process in processes.items():
        for other in awaited(name, document.topology) if process.autostart else ():
            if not processes[other].autostart:
                path, _ = _why(name, other, document)
                message = f"`{name}` waits for `{other}`, which starts only when it is asked for"
                hint = f"`orchestra start {other}` starts it; without `autostart: false` it starts by itself."
                yield document.marks.problem(path, "endless", message, hint, key=True)


def exists_already(document: Document) -> Iterator[Problem]:
    """An object that is made before the first process starts shows nothing by being there."""
    for name, process in document.topology.processes.items():
        awaited_objects: dict[str, tuple[str, ...]] = {}
        if process.ready is not None and process.ready.exists is not None:
            awaited_objects[process.ready.exists] = ("processes", name, "ready", "exists")
        for subject, item in process.wait_for.items():
            if item.exists:
                awaited_objects[subject] = ("processes", name, "wait_for", subject, "exists")
        for key, path in awaited_objects.items():
            item_ = document.topology.object(key)
            if item_ is not None and not item_.foreign and item_.family_name not in _NAMELESS:
                message = f"`{key}` is made before any process starts, so it always exists"
                hint = "`made_by:` declares an object that a process makes."
                yield document.marks.problem(path, "pointless", message, hint)


def shared_readiness(document: Document) -> Iterator[Problem]:
    """One port or path shows that some replica is ready, not which."""
    for name, process in document.topology.processes.items():
        ready = process.ready
        if ready is None or process.replicas < 2 or ready.kind not in ("tcp", "unix", "exists"):
            continue
        if ready.unix is not None and not all(isinstance(part, str) for part in ready.unix):
            continue  # `${replica}` makes them different
        message = f"{process.replicas} replicas are ready as soon as one of them is"
        hint = "Use `notify`, `fd` or `log`, or `unix` with ${replica} in its path."
        yield document.marks.problem(("processes", name, "ready", ready.kind), "pointless", message, hint, key=True)


def shared_input(document: Document) -> Iterator[Problem]:
    """What two processes read from one standard input goes to either of them."""
    readers = [name for name, item in document.topology.processes.items() if item.stdin is StdinWord.INHERIT]
    for name in readers:
        process = document.topology.processes[name]
        if len(readers) > 1 or process.replicas > 1:
            others = f"{len(readers)} processes" if len(readers) > 1 else f"{process.replicas} replicas"
            message = f"{others} read the same standard input: each line goes to one of them"
            yield document.marks.problem(("processes", name, "stdin"), "pointless", message)
            return


ERRORS = (cycles, services_never_end, waits, ready_ways, declared_makers, out_of_reach)
WARNINGS = (always_again, waits_for_a_person, exists_already, shared_readiness, shared_input)
