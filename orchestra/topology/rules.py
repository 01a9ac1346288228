"""The checks that need this host: programs, folders, files, users, and the kernel's limits. One function per rule.

Pure: kernel limits come as data, facts about files and users through HostFacts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping

from orchestra.bindings import Template
from orchestra.errors import Problem, TopologyError
from orchestra.kinds import KernelLimits
from orchestra.topology import envfile, privileges
from orchestra.topology.fields import Condition, Isolation
from orchestra.topology.hints import nearest
from orchestra.topology.host import HostFacts
from orchestra.topology.include import Reader, normal, read_file
from orchestra.topology.limits import LIMITS, in_a_namespace, made
from orchestra.topology.loader import Loaded, examine, in_order
from orchestra.topology.model import Process, Topology
from orchestra.topology.nodes import Place, Source
from orchestra.topology.objectmodels import Fifo, FileSegment, Fill, Ftok, Owned, Segment, SysvObject
from orchestra.topology.processmodels import StdinFile
from orchestra.topology.processplans import environment_of

Rule = Callable[[Loaded, HostFacts], Iterator[Problem]]

PATH_DEFAULT = "/usr/local/bin:/usr/bin:/bin"  # where a child without PATH is looked for
SCRIPT_LINE_MAX = 256  # BINPRM_BUF_SIZE: what the kernel reads of a file to find `#!`
SOCKET_PATH_MAX = 107  # sun_path of struct sockaddr_un, less the final NUL
_COMMON_PROGRAMS = (
    "python3", "python", "bash", "sh", "cat", "sleep", "echo", "true", "false", "gcc", "cc", "make", "env", "test",
    "perl", "node", "ruby", "java", "ipcs", "ipcrm", "sort", "grep", "awk", "sed",
)  # fmt: skip


def check(loaded: Loaded, limits: KernelLimits, host: HostFacts) -> list[Problem]:
    """Return every error that only this host shows; `warnings` beside it what is merely odd."""
    found = [problem for rule in RULES for problem in rule(loaded, host)]
    found += [problem for limit in LIMITS for problem in limit(loaded, limits)]
    found += privileges.errors(loaded, limits, host)
    return in_order(found, [])


def warnings(loaded: Loaded, host: HostFacts) -> list[Problem]:
    """Return what is odd on this host but possible."""
    return in_order(list(unknown_formats(loaded, host)), [])


def load_checked(
    path: str,
    *,
    variables: Mapping[str, str] | None = None,
    environment: Mapping[str, str],
    cwd: str,
    limits: Callable[[], KernelLimits],
    host: HostFacts,
    read: Reader = read_file,
    isolation: str | None = None,
) -> Loaded:
    """Load a file and check it against this host, all in one pass. Raises TopologyError with every finding.

    `limits` reads those of the kernel and of this process; it is called only for a file that needs some of them.
    `isolation` overrides what the file says: limits of a namespace that the run does not use do not count.
    """
    loaded, problems = examine(path, variables=variables, environment=environment, cwd=cwd, read=read)
    if loaded is None:
        raise TopologyError(problems)
    needs_limits = bool(loaded.document.objects) or privileges.asks_for_attributes(loaded)
    bounds = limits() if needs_limits else KernelLimits()
    if (isolation or loaded.topology.isolation) == Isolation.PRIVATE:
        bounds = in_a_namespace(bounds)
    problems = in_order(problems + check(loaded, bounds, host), loaded.sources)
    if problems:
        raise TopologyError(problems)
    loaded.warnings.extend(warnings(loaded, host))
    return loaded


# --- programs --------------------------------------------------------------------------------------------------


def executables(loaded: Loaded, host: HostFacts) -> Iterator[Problem]:
    """Each program exists and may be executed, unless a process that must complete first may build it."""
    for name, process, path, program in _programs(loaded):
        found = locate(program, process, loaded, name, host)
        if isinstance(found, Missing):
            if not ("/" in program and may_be_built(name, loaded.topology)):
                yield loaded.marks.problem(path, found.code, found.message, found.help)
            continue
        head = host.head(found, SCRIPT_LINE_MAX)
        if head is not None and head.startswith(b"#!"):
            problem = _interpreter_problem(head, program, process, loaded, name, host)
            if problem is not None:
                yield loaded.marks.problem(path, *problem)


def unknown_formats(loaded: Loaded, host: HostFacts) -> Iterator[Problem]:
    """A text file without `#!` cannot be executed by itself (a shell would fall back to sh; nothing else does)."""
    for name, process, path, program in _programs(loaded):
        found = locate(program, process, loaded, name, host)
        head = None if isinstance(found, Missing) else host.head(found, SCRIPT_LINE_MAX)
        if head is None or head.startswith((b"#!", b"\x7fELF")):
            continue
        message = f"`{program}` is neither a program nor a script that starts with `#!`"
        yield loaded.marks.problem(path, "executable", message, "Begin it with a line such as #!/bin/sh.")


class Missing:
    """Why a program cannot be executed."""

    def __init__(self, code: str, message: str, help: str = "") -> None:  # noqa: A002
        self.code, self.message, self.help = code, message, help


def _programs(loaded: Loaded) -> Iterator[tuple[str, Process, tuple[str | int, ...], str]]:
    """Yield each program that a process needs, and where it is named."""
    for name, process in loaded.topology.processes.items():
        if ("processes", name) in loaded.broken:
            continue
        where = ("processes", name)
        ready = process.ready.exec if process.ready is not None else None
        commands = {("command",): process.command, ("ready", "exec"): ready, ("stop", "command"): process.stop.command}
        for keys, command in commands.items():
            program = literal(command[0]) if command else None
            if program:
                yield name, process, (*where, *keys, 0), program
        if process.python:
            yield name, process, (*where, "python"), process.python


def literal(template: Template) -> str | None:
    """Return the text of a template without placeholders, else None."""
    return "".join(map(str, template)) if all(isinstance(part, str) for part in template) else None


def working_folder(name: str, process: Process, loaded: Loaded) -> str | None:
    """Return the absolute folder a process runs in; None when it is known only at launch."""
    base = loaded.marks.folder(("processes", name))
    if process.directory is None:
        return base
    written = literal(process.directory)
    return None if written is None else normal(written, base)


def locate(program: str, process: Process, loaded: Loaded, name: str, host: HostFacts) -> str | Missing:
    """Return the file that would be executed, or why there is none.

    A relative path with a slash counts from the file's own folder; a bare word is searched for in the child's PATH.
    """
    if "/" in program:
        path = normal(program, loaded.marks.folder(("processes", name)))
        kind = host.kind_of(path)
        if kind is None:
            return Missing("executable", f"there is no program `{program}`", _missing_hint(path, program))
        if kind == "directory":
            return Missing("executable", f"`{program}` is a folder")
        if not host.is_executable(path):
            return Missing("executable", f"`{program}` is not executable", f"chmod +x {path}")
        return path
    return _in_path(program, process, loaded, name, host)


def _missing_hint(path: str, program: str) -> str:
    return "" if program.startswith("/") else f"It would be {path}: relative paths count from the file's own folder."


def _in_path(program: str, process: Process, loaded: Loaded, name: str, host: HostFacts) -> str | Missing:
    own = environment_of(process, loaded.marks.folder(("processes", name)), host).get("PATH")
    search = loaded.environment.get("PATH", PATH_DEFAULT) if own is None else literal(own)
    folder = working_folder(name, process, loaded)
    if search is None or folder is None:
        return Missing("", "")  # known only at launch
    refused = ""
    for entry in search.split(":"):
        path = normal(program, normal(entry, folder))
        if host.kind_of(path) == "file":
            if host.is_executable(path):
                return path
            refused = refused or path
    if refused:
        return Missing("executable", f"`{program}` is not executable: {refused}", f"chmod +x {refused}")
    beside = normal(program, loaded.marks.folder(("processes", name)))
    if host.kind_of(beside) == "file":
        return Missing(
            "executable", f"there is no program `{program}` in PATH", f"For the file beside this one, write ./{program}"
        )
    close = nearest(program, _COMMON_PROGRAMS)
    hint = f"Did you mean `{close}`?" if close and close != program else f"PATH is {search or 'empty'}"
    if " " in program:
        hint = "The first word of the list is the program alone; its arguments are words of their own."
    return Missing("executable", f"there is no program `{program}` in PATH", hint)


def may_be_built(name: str, topology: Topology) -> bool:
    """Whether some process must have completed (or ended) before this one starts: it may make files."""
    seen: set[str] = set()
    rest = [name]
    while rest:
        process = topology.processes.get(rest.pop())
        for other, item in process.depends_on.items() if process is not None else ():
            if item.condition in (Condition.COMPLETED, Condition.ENDED):
                return True
            if other not in seen:
                seen.add(other)
                rest.append(other)
    return False


_SCRIPT_LINE = re.compile(rb"#![ \t]*([^ \t\n]+)[ \t]*([^\n]*)")


def _interpreter_problem(
    head: bytes, program: str, process: Process, loaded: Loaded, name: str, host: HostFacts
) -> tuple[str, str, str] | None:
    """Return what is wrong with the `#!` line of a script: (code, message, help)."""
    found = _SCRIPT_LINE.match(head)
    if found is None:
        return ("interpreter", f"`{program}` has an empty `#!` line", "Begin it with a line such as #!/bin/sh.")
    interpreter = found.group(1).decode("utf-8", "surrogateescape")
    if interpreter.endswith("\r"):
        return ("interpreter", f"the lines of `{program}` end in CR LF", f"sed -i 's/\\r$//' {program}")
    kind = host.kind_of(interpreter) if interpreter.startswith("/") else "file"
    if kind is None:
        hint = "Install it, or change the first line of the script."
        return ("interpreter", f"`{program}` needs {interpreter}, which does not exist", hint)
    if kind == "file" and interpreter.startswith("/") and not host.is_executable(interpreter):
        return ("interpreter", f"`{program}` needs {interpreter}, which is not executable", "")
    if posixpath.basename(interpreter) == "env":
        return _env_problem(found.group(2).decode("utf-8", "surrogateescape"), program, process, loaded, name, host)
    return None


def _env_problem(
    rest: str, program: str, process: Process, loaded: Loaded, name: str, host: HostFacts
) -> tuple[str, str, str] | None:
    word = rest.strip("\r ")
    if word.endswith("\r") or rest.endswith("\r"):
        return ("interpreter", f"the lines of `{program}` end in CR LF", f"sed -i 's/\\r$//' {program}")
    if not word or word.startswith("-") or "=" in word or "/" in word:
        return None  # env's own options: it will say what is wrong
    missing = _in_path(word.split()[0], process, loaded, name, host)
    if isinstance(missing, Missing) and missing.code:
        return (
            "interpreter",
            f"`{program}` needs `{word.split()[0]}`, which is not in PATH",
            "Install it, or change the first line.",
        )
    return None


# --- folders and files -----------------------------------------------------------------------------------------


def directories(loaded: Loaded, host: HostFacts) -> Iterator[Problem]:
    """Each working folder exists and may be entered, unless a process that must complete first may make it."""
    for name, process in loaded.topology.processes.items():
        if process.directory is None or ("processes", name) in loaded.broken:
            continue
        folder = working_folder(name, process, loaded)
        if folder is None:
            continue
        path = ("processes", name, "directory")
        kind = host.kind_of(folder)
        if kind is None and not may_be_built(name, loaded.topology):
            yield loaded.marks.problem(path, "directory", f"there is no folder {folder}")
        elif kind not in (None, "directory"):
            yield loaded.marks.problem(path, "directory", f"{folder} is not a folder")
        elif kind == "directory" and not host.is_executable(folder):
            yield loaded.marks.problem(path, "directory", f"no permission to enter {folder}")


def fill_files(loaded: Loaded, host: HostFacts) -> Iterator[Problem]:
    """Each file that fills a segment can be read and fits."""
    for where, item in made(loaded, Segment):
        if not isinstance(item.fill, Fill) or item.fill.file is None or where in loaded.broken:
            continue
        file = normal(item.fill.file, loaded.marks.folder(where))
        path = (*where, "fill", "file")
        kind, size = host.kind_of(file), host.size_of(file)
        if kind is None:
            yield loaded.marks.problem(path, "unreadable", f"there is no file {file}")
        elif kind != "file":
            yield loaded.marks.problem(path, "unreadable", f"{file} is not a regular file")
        elif not host.is_readable(file):
            yield loaded.marks.problem(path, "unreadable", f"no permission to read {file}")
        elif size is not None and item.size is not None and size > item.size:
            message = f"the {size} bytes of {file} do not fit into a segment of {item.size}"
            yield loaded.marks.problem(path, "out_of_range", message, f"Write `size: {size}`, or more.")


def functions(loaded: Loaded, host: HostFacts) -> Iterator[Problem]:
    """Each module of a function is found as Python finds it, beside the file first; nothing is imported."""
    for name, process in loaded.topology.processes.items():
        if not process.function or ("processes", name) in loaded.broken or process.python is not None:
            continue  # what another interpreter finds, it alone knows
        module = process.function.partition(":")[0]
        folder = loaded.marks.folder(("processes", name))
        if host.module(module, folder) or "PYTHONPATH" in environment_of(process, folder, host):
            continue
        if may_be_built(name, loaded.topology):
            continue
        hint = f"Python looks in {folder} first, then where it is installed."
        path = ("processes", name, "function")
        yield loaded.marks.problem(path, "module", f"there is no module `{module}`", hint)


def env_files(loaded: Loaded, host: HostFacts) -> Iterator[Problem]:
    """Each file of variables can be read, and says what it means."""
    done: set[str] = set()
    for name, process in loaded.topology.processes.items():
        folder = loaded.marks.folder(("processes", name))
        for index, written in enumerate(process.env_file if ("processes", name) not in loaded.broken else ()):
            file = normal(written, folder)
            path = ("processes", name, "env_file", index)
            problem = _unreadable(file, host)
            if problem:
                yield loaded.marks.problem(path, "unreadable", problem)
            elif file not in done:
                done.add(file)
                yield from _env_faults(file, host)


def _unreadable(file: str, host: HostFacts) -> str:
    kind = host.kind_of(file)
    if kind is None:
        return f"there is no file {file}"
    if kind != "file":
        return f"{file} is not a regular file"
    return "" if host.is_readable(file) else f"no permission to read {file}"


def _env_faults(file: str, host: HostFacts) -> Iterator[Problem]:
    data = host.head(file, envfile.BYTES_MAX + 1) or b""
    faults = envfile.parse(data).faults
    source = Source(file, posixpath.dirname(file), data.decode("utf-8", "replace") if faults else "")
    for fault in faults:
        yield Place(source, fault.line, fault.column, 0).problem("bad_value", "", fault.message, fault.help)


def sockets(loaded: Loaded, host: HostFacts) -> Iterator[Problem]:  # noqa: ARG001
    """The path of a socket fits into an address: unix(7)."""
    for name, process in loaded.topology.processes.items():
        if process.ready is None or process.ready.unix is None or ("processes", name) in loaded.broken:
            continue
        written = literal(process.ready.unix)
        path = normal(written, loaded.marks.folder(("processes", name))) if written is not None else ""
        length = len(path.encode("utf-8", "surrogateescape"))
        if length > SOCKET_PATH_MAX:
            message = f"the path of a socket has at most {SOCKET_PATH_MAX} bytes, this one has {length}: {path}"
            yield loaded.marks.problem(("processes", name, "ready", "unix"), "out_of_range", message)


def inputs(loaded: Loaded, host: HostFacts) -> Iterator[Problem]:
    """Each file that is to be standard input can be read, unless a process that must complete first may make it."""
    for name, process in loaded.topology.processes.items():
        if not isinstance(process.stdin, StdinFile) or ("processes", name) in loaded.broken:
            continue
        written = literal(process.stdin.file)
        if written is None:
            continue
        file = normal(written, loaded.marks.folder(("processes", name)))
        path = ("processes", name, "stdin", "file")
        kind = host.kind_of(file)
        if kind is None and not may_be_built(name, loaded.topology):
            yield loaded.marks.problem(path, "unreadable", f"there is no file {file}")
        elif kind == "directory":
            yield loaded.marks.problem(path, "unreadable", f"{file} is a folder")
        elif kind is not None and not host.is_readable(file):
            yield loaded.marks.problem(path, "unreadable", f"no permission to read {file}")


def ftok_files(loaded: Loaded, host: HostFacts) -> Iterator[Problem]:
    """ftok(3) makes a key out of a file that exists."""
    for section, key, item in loaded.topology.objects():
        if not isinstance(item, SysvObject) or not isinstance(item.key, Ftok):
            continue
        file = normal(item.key.path, loaded.marks.folder((section, key)))
        if host.ftok(file, item.key.project) is None:
            path = (section, key, "key", "path")
            yield loaded.marks.problem(path, "unreadable", f"there is no file {file} to make a key of", f"touch {file}")


def object_paths(loaded: Loaded, host: HostFacts) -> Iterator[Problem]:
    """The folder of a mapped file or a FIFO exists; so does the object itself when it is external."""
    for section, key, item in loaded.topology.objects():
        if not isinstance(item, FileSegment | Fifo) or item.path is None or (section, key) in loaded.broken:
            continue
        file = normal(item.path, loaded.marks.folder((section, key)))
        folder, path = posixpath.dirname(file), (section, key, "path")
        if item.external and host.kind_of(file) is None:
            yield loaded.marks.problem(path, "unreadable", f"it is external, and there is no {file}")
        elif host.kind_of(folder) is None:
            yield loaded.marks.problem(path, "directory", f"there is no folder {folder}", f"mkdir -p {folder}")
        elif host.kind_of(folder) != "directory":
            yield loaded.marks.problem(path, "directory", f"{folder} is not a folder")
        elif host.kind_of(file) is None and not host.is_writable(folder):
            yield loaded.marks.problem(path, "directory", f"no permission to make files in {folder}")
        elif host.kind_of(file) == "directory":
            yield loaded.marks.problem(path, "bad_value", f"{file} is a folder")
        elif isinstance(item, FileSegment) and host.kind_of(file) == "other":
            yield loaded.marks.problem(path, "bad_value", f"{file} is not a regular file")


def owners(loaded: Loaded, host: HostFacts) -> Iterator[Problem]:
    """Each owner and group is known to this host."""
    for where, item in made(loaded, Owned):
        for key, look, what in (("owner", host.uid_of, "user"), ("group", host.gid_of, "group")):
            wanted = getattr(item, key)
            if isinstance(wanted, str) and look(wanted) is None:
                yield loaded.marks.problem((*where, key), "unknown_name", f"this host has no {what} `{wanted}`")


RULES: tuple[Rule, ...] = (
    executables, directories, functions, env_files, sockets, inputs, fill_files, ftok_files, object_paths, owners,
)  # fmt: skip
