"""From a process of the plan to what one child gets: its command, directory, environment and descriptors."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from orchestra.bindings import FIRST_FD, Binding, Template, inherited, object_variables, render
from orchestra.errors import KernelError, LaunchFailed
from orchestra.kernel.process import reopen
from orchestra.kernel.registry import adapter_for
from orchestra.kinds import Access, Family, Kind
from orchestra.ledger.rows import ObjectState
from orchestra.objects import LiveObject
from orchestra.runplan import ProcessPlan, RunPlan, Use
from orchestra.supervisor import attributes, buffering, terminals
from orchestra.supervisor.spawn import Launch

# What is handed over as an open descriptor; everything else is found by its name or id.
_PASSED = frozenset(
    {
        (Family.POSIX, Kind.QUEUE),
        (Family.POSIX, Kind.SEGMENT),
        (Family.MEMFD, Kind.SEGMENT),
        (Family.ANONYMOUS, Kind.PIPE),
    }
)


def is_passed(thing: LiveObject) -> bool:
    """Whether a child gets a descriptor of this object. One that a program has yet to make has none."""
    return thing.row.state is not ObjectState.INTENDED and (thing.plan.family, thing.plan.kind) in _PASSED


@dataclass(frozen=True, slots=True)
class Wire:
    """What all replicas of one process share."""

    plan: ProcessPlan
    folder: str
    bindings: Mapping[str, Binding]
    passed: tuple[tuple[LiveObject, Access], ...]  # in the order of `uses`
    caller: Mapping[str, str]  # the caller's environment
    ours: Mapping[str, str]  # identity and objects; wins over everything
    python_path: str
    stdin: int | None = None  # the command's own standard input, where one process is to have it

    @contextmanager
    def prepared(
        self,
        replica: int,
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        extra_fds: Mapping[int, int] = MappingProxyType({}),
        extra_environment: Mapping[str, str] = MappingProxyType({}),
        command: Sequence[Template] = (),
    ) -> Iterator[Launch]:
        """Yield a replica's launch, with descriptors opened just for it and closed afterwards. Raises LaunchFailed.

        `extra_fds` maps numbers in the child to descriptors of the caller, who closes them; `extra_environment` wins
        over everything else. `command` is run in place of the replica's own, in the same surroundings.
        """
        fds: list[int] = []
        try:
            for thing, access in self.passed:
                fds.append(open_for(thing, access))
            try:
                argv = [render(word, self.bindings, replica) for word in command or self.plan.command]
                directory = render(self.plan.directory, self.bindings, replica) or self.folder
                environment = {**self._environment(replica), **extra_environment}
            except KeyError as err:
                words = f"a placeholder asks for {err}, which the object has not"
                raise LaunchFailed(words, stage="descriptors", errno=errno.EINVAL, path=self.plan.name) from err
            passed = tuple(fds)
            function = "" if command else self.plan.function
            if not command:
                stdin = self._stdin(replica, stdin, fds)
            if function:
                argv = [self.plan.name if self.plan.replicas == 1 else f"{self.plan.name}.{replica}", function]
            yield Launch(
                argv,
                os.path.join(self.folder, directory),
                environment,
                stdin,
                stdout,
                stderr,
                passed=passed,
                extra_fds=extra_fds,
                attributes=self.plan.attributes,
                replica=replica,
                reads_input=self.plan.stdin != "null" and not command,
                isolated=self.plan.isolation == "private" and not command,
                terminal=self.has_terminal and not command,
                function=function,
                arguments=self.plan.arguments,
            )
        finally:
            for fd in fds:
                os.close(fd)

    def path(self, template: Template, replica: int) -> str:
        """Return a path as the replica means it: a relative one counts from its directory."""
        directory = os.path.join(self.folder, render(self.plan.directory, self.bindings, replica))
        return os.path.join(directory, render(template, self.bindings, replica))

    @property
    def has_terminal(self) -> bool:
        """Whether the streams of a replica are terminals."""
        return self.plan.output == "tty"

    def _stdin(self, replica: int, null: int, opened: list[int]) -> int:
        """Return the descriptor of standard input; a file is opened for this launch. Raises LaunchFailed."""
        if self.plan.stdin == "inherit":
            if self.stdin is None:
                raise LaunchFailed(
                    "there is no standard input to inherit", stage="stdin", errno=errno.EBADF, path=self.plan.name
                )
            return self.stdin
        if self.plan.stdin != "file":
            return null
        path = os.path.join(self.folder, render(self.plan.stdin_file, self.bindings, replica))
        opened.append(open_input(path))
        return opened[-1]

    def _environment(self, replica: int) -> dict[str, str]:
        declared = {name: render(value, self.bindings, replica) for name, value in self.plan.environment}
        ours = {**self.ours, "ORCHESTRA_REPLICA": str(replica)}
        return _surroundings(self.plan, self.caller, declared, ours, self.python_path)


def _surroundings(
    process: ProcessPlan, caller: Mapping[str, str], declared: Mapping[str, str], ours: Mapping[str, str], library: str
) -> dict[str, str]:
    """Return an environment; `library` is the folder of our client."""
    env = {**caller, **attributes.variables(process.attributes), **declared, **ours}
    if process.output == "tty":
        env.setdefault("TERM", terminals.TYPE)
    elif process.output == "line":
        env.update(buffering.by_lines(env, buffering.find_library()))
    if library:
        before = env.get("PYTHONPATH", "")
        env["PYTHONPATH"] = f"{before}{os.pathsep}{library}" if before else library
        env["ORCHESTRA_PATH"] = library
    return env


def preloading(plan: RunPlan, run: str, process: ProcessPlan) -> tuple[dict[str, str], list[int]]:
    """Return what the parent of a function starts with: an environment, and the numbers its children will need.

    Nothing exists yet when it imports: variables that name an object or a replica are left to the children. The run is
    named, for whoever looks for what it left behind: a child that is not exec'd shows its parent's environment.
    """
    kinds = {thing.key: (thing.family, thing.kind) for thing in plan.objects}
    declared = {
        name: "".join(str(part) for part in value)
        for name, value in process.environment
        if all(isinstance(part, str) for part in value)
    }
    env = _surroundings(process, inherited(plan.environment), declared, {"ORCHESTRA_RUN": run}, plan.python_path)
    passed = sum(kinds.get(use.object) in _PASSED for use in process.uses)
    extra = [process.ready.fd] if process.ready is not None and process.ready.kind == "fd" else []
    return env, [*range(FIRST_FD, FIRST_FD + passed), *extra]


def wires(plan: RunPlan, run: str, things: Mapping[str, LiveObject], *, stdin: int | None = None) -> dict[str, Wire]:
    """Return the wire of every process, by name. `stdin` is for the one process that inherits it."""
    caller = inherited(plan.environment)
    return {process.name: _wire(plan, run, process, things, caller, stdin) for process in plan.processes}


def _wire(
    plan: RunPlan,
    run: str,
    process: ProcessPlan,
    things: Mapping[str, LiveObject],
    caller: Mapping[str, str],
    stdin: int | None,
) -> Wire:
    passed = tuple((things[use.object], use.access) for use in process.uses if is_passed(things[use.object]))
    bindings = _bindings(process.uses, things)
    ours = {
        "ORCHESTRA_VERSION": "1",
        "ORCHESTRA_TOPOLOGY": plan.topology,
        "ORCHESTRA_INSTANCE": plan.instance,
        "ORCHESTRA_RUN": run,
        "ORCHESTRA_PROCESS": process.name,
        **object_variables(bindings),
    }
    return Wire(process, plan.folder, {b.key: b for b in bindings}, passed, caller, ours, plan.python_path, stdin)


def _bindings(uses: Sequence[Use], things: Mapping[str, LiveObject]) -> list[Binding]:
    """Return one binding a use; those with a descriptor are numbered from 3 in their order."""
    found, number = [], FIRST_FD
    for use in uses:
        thing = things[use.object]
        fd = number if is_passed(thing) else None
        number += fd is not None
        found.append(thing.binding(use.access, fd))
    return found


def open_input(path: str) -> int:
    """Open a file that a child reads as its standard input. Raises LaunchFailed.

    A FIFO is refused: opening one waits for a writer, and the supervisor waits for nobody.
    """
    problem = ""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        mode = os.fstat(fd).st_mode
        os.set_blocking(fd, True)
        if not stat.S_ISFIFO(mode) and not stat.S_ISDIR(mode):
            return fd
        os.close(fd)
        problem, number = ("it is a directory", errno.EISDIR) if stat.S_ISDIR(mode) else ("it is a FIFO", errno.EINVAL)
    except OSError as err:
        problem, number = err.strerror or "", err.errno or 0
    raise LaunchFailed(
        f"the standard input {path} cannot be opened: {problem}",
        stage="stdin",
        errno=number,
        path=path,
        detail=f"open({path!r}, O_RDONLY) -> {errno.errorcode.get(number, number)}",
        hint="Declare the FIFO under `pipes:` and open it in the program." if problem == "it is a FIFO" else "",
    )


def open_for(thing: LiveObject, access: Access) -> int:
    """Open one object with exactly `access`, as an open file description of its own. Raises LaunchFailed.

    O_NONBLOCK and the file offset belong to the description: a child must not change them under another's feet.
    """
    try:
        if thing.plan.family is Family.ANONYMOUS:
            fd = _open_pipe_end(thing, access)
        elif thing.plan.family is Family.MEMFD:
            fd = reopen(thing.handle.fds[0], access)
        else:
            fd = adapter_for(thing.plan.family, thing.plan.kind).open(thing.handle.ref, access)
    except (KernelError, OSError) as err:
        raise _refused(thing, err) from err
    if fd is None:
        raise _refused(thing, OSError(errno.EBADF, os.strerror(errno.EBADF)))
    if thing.plan.family in (Family.ANONYMOUS, Family.MEMFD):
        os.set_blocking(fd, True)
    return fd


def _open_pipe_end(thing: LiveObject, access: Access) -> int | None:
    """Open an end through our copy of it; where that was closed, through any that somebody still has."""
    end = thing.handle.fds[0 if access is Access.READ else 1]
    if not _is_pipe(end, thing):
        return adapter_for(thing.plan.family, thing.plan.kind).open(thing.handle.ref, access)
    try:
        return reopen(end, access)
    except OSError as err:
        if err.errno != errno.ENXIO:
            raise
        return os.dup(end)  # nobody can read any more: the writer is to learn it by EPIPE, not here


def _is_pipe(fd: int, thing: LiveObject) -> bool:
    """Whether `fd` still is our end: once that was closed, its number may be any file's."""
    try:
        return os.fstat(fd).st_ino == thing.handle.identity.st_ino
    except OSError:
        return False


def _refused(thing: LiveObject, err: KernelError | OSError) -> LaunchFailed:
    cause = err if isinstance(err, OSError) else err.__cause__
    number = cause.errno if isinstance(cause, OSError) and cause.errno else 0
    problem = str(err.problem) if isinstance(err, KernelError) else f"could not open {thing.plan.key}: {err.strerror}"
    detail = err.detail if isinstance(err, KernelError) else f"open -> {errno.errorcode.get(number, number)}"
    path = thing.handle.ref.name or thing.plan.key
    return LaunchFailed(problem, stage="descriptors", errno=number, path=path, detail=detail)


class PipeEnds:
    """Our copies of the ends of anonymous pipes: each is closed once nobody who uses it can be started any more.

    Otherwise a reader would never see the end of the file, nor a writer EPIPE: we would be the other side.
    """

    def __init__(self, plan: RunPlan, things: Mapping[str, LiveObject]) -> None:
        self._ends: dict[tuple[str, int], tuple[int, frozenset[str]]] = {}  # (object, 0 read | 1 write) -> fd, users
        for key, thing in things.items():
            if thing.plan.family is Family.ANONYMOUS:
                for end, fd in enumerate(thing.handle.fds):
                    users = (p.name for p in plan.processes for use in p.uses if _end(use, key) == end)
                    self._ends[key, end] = (fd, frozenset(users))
        self.needed_by(process.name for process in plan.processes)

    def renewed(self, plan: RunPlan, things: Mapping[str, LiveObject], made: Collection[str]) -> PipeEnds:
        """Return the ends after a change of the file: of pipes just `made`, and those of the others that are open."""
        after = PipeEnds(plan, {key: thing for key, thing in things.items() if key in made})
        for (key, end), (fd, _) in self._ends.items():
            if key in things and key not in made:
                users = (p.name for p in plan.processes for use in p.uses if _end(use, key) == end)
                after._ends[key, end] = (fd, frozenset(users))
        return after

    @property
    def users(self) -> frozenset[str]:
        """The processes because of which ends are open."""
        return frozenset().union(*(users for _, users in self._ends.values()))

    def needed_by(self, processes: Iterable[str]) -> None:
        """Close each end that none of these processes uses; they are all that can be started from now on."""
        able = frozenset(processes)
        for place in [place for place, (_, users) in self._ends.items() if not users & able]:
            os.close(self._ends.pop(place)[0])

    def close(self) -> None:
        """Close what is left."""
        for fd, _ in self._ends.values():
            with contextlib.suppress(OSError):
                os.close(fd)
        self._ends.clear()


def _end(use: Use, key: str) -> int | None:
    if use.object != key:
        return None
    return 0 if use.access is Access.READ else 1
