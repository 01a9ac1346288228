"""From one process of a topology to its plan: absolute paths, numbers for users, copies, and what it waits for."""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from orchestra.bindings import Placeholder, Template
from orchestra.errors import UsageError
from orchestra.kinds import Account
from orchestra.runplan import Attributes, Dependency, ProcessPlan, Ready, Restart, Use, WaitFor
from orchestra.topology import envfile
from orchestra.topology.fields import Condition, Escalate
from orchestra.topology.host import HostFacts
from orchestra.topology.include import normal
from orchestra.topology.loader import Loaded
from orchestra.topology.makers import makers
from orchestra.topology.model import Process, Topology
from orchestra.topology.processmodels import EachCpus, StdinFile
from orchestra.topology.processmodels import Ready as DeclaredReady
from orchestra.topology.processmodels import Restart as DeclaredRestart
from orchestra.topology.signals import NUMBERS

_ABSOLUTE = ("name", "path")  # fields whose values start with a slash


def process_plan(
    name: str, loaded: Loaded, host: HostFacts, *, replicas: int | None = None, keep_going: bool = False
) -> ProcessPlan:
    """Return the plan of one process. Raises UsageError for a user or a file that is gone since the checks."""
    topology = loaded.topology
    process = topology.processes[name]
    folder = loaded.marks.folder(("processes", name))
    escalate = process.escalate
    if keep_going and "escalate" not in process.model_fields_set:
        escalate = Escalate.STOP_DEPENDANTS
    file = process.stdin.file if isinstance(process.stdin, StdinFile) else None
    return ProcessPlan(
        name=name,
        command=command_of(process.command, process, folder),
        function=process.function,
        arguments=copy.deepcopy(dict(process.arguments)),
        python=_interpreter(process, folder),
        directory=absolute(process.directory or (), folder),
        environment=_environment(process, folder, host),
        uses=tuple(Use(key, access) for key, access in process.uses.items()),
        replicas=replicas or process.replicas,
        service=process.service,
        success=process.success,
        depends_on=dependencies(name, topology),
        wait_for=tuple(_wait_for(process)),
        ready=None if process.ready is None else _ready(process.ready, process, folder),
        restart=_restart(process.restart),
        watchdog=process.watchdog,
        autostart=process.autostart,
        stop_signal=NUMBERS[process.stop.signal],
        stop_command=command_of(process.stop.command or (), process, folder),
        grace=process.stop.grace,
        escalate=escalate.value,
        stdin="file" if file is not None else str(process.stdin),
        stdin_file=() if file is None else absolute(file, folder),
        output=(process.output or topology.output).value,
        attributes=_attributes(process, host),
        isolation=process.isolation.value,
        extra=copy.deepcopy(dict(process.extensions)),
    )


# --- order -----------------------------------------------------------------------------------------------------


def dependencies(name: str, topology: Topology) -> tuple[Dependency, ...]:
    """Return what a process waits for: what it says, and that the makers of the objects it uses are ready."""
    depends = topology.processes[name].depends_on
    found = {other: Dependency(other, item.condition.value, item.restart) for other, item in depends.items()}
    for maker in makers(name, topology):
        given = found.get(maker)
        if given is None or given.condition == Condition.STARTED:
            found[maker] = Dependency(maker, Condition.READY.value, given is not None and given.restart)
    return tuple(found.values())


def _wait_for(process: Process) -> Iterator[WaitFor]:
    for subject, item in process.wait_for.items():
        if item.messages is not None:
            yield WaitFor(subject, "messages", item.messages.min, item.messages.max)
        if item.attached is not None:
            yield WaitFor(subject, "attached", item.attached.min, item.attached.max)
        if item.value is not None:
            yield WaitFor(subject, "value", item.value.min, item.value.max, member=item.value.index)
        if item.exists is not None:
            yield WaitFor(subject, "exists", expected=item.exists)
        if item.blocked_on is not None:
            yield WaitFor(subject, "blocked_on", object=item.blocked_on)


def _ready(ready: DeclaredReady, process: Process, folder: str) -> Ready:
    return Ready(
        kind=ready.kind,
        fd=ready.fd or 0,
        pattern=ready.log or "",
        command=command_of(ready.exec or (), process, folder),
        port=ready.tcp or 0,
        path=() if ready.unix is None else absolute(ready.unix, folder),
        object=ready.exists or "",
        timeout=ready.timeout,
    )


def _restart(restart: DeclaredRestart) -> Restart:
    longest = max(restart.delay, restart.max_delay)  # a longer delay than the usual longest one is meant
    return Restart(restart.policy.value, restart.limit, restart.within, restart.delay, longest)


# --- programs and environment ----------------------------------------------------------------------------------


def command_of(command: tuple[Template, ...], process: Process, folder: str) -> tuple[Template, ...]:
    """Return a command; where the working folder is another one, a relative program would be looked for there."""
    if process.directory is None or not command:
        return command
    return (program_path(command[0], folder), *command[1:])


def program_path(template: Template, folder: str) -> Template:
    """Return a program with an absolute path, unless it is a bare word, which is looked for in PATH."""
    has_slash = any("/" in part for part in template if isinstance(part, str))
    return absolute(template, folder) if has_slash else template


def _interpreter(process: Process, folder: str) -> str:
    if process.python is None:
        return ""
    return normal(process.python, folder) if "/" in process.python else process.python


def _environment(process: Process, folder: str, host: HostFacts) -> tuple[tuple[str, Template], ...]:
    for path in process.env_file:
        if host.head(normal(path, folder), 0) is None:
            raise UsageError(f"{normal(path, folder)} cannot be read", hint="`env_file` names it.")
    return tuple(environment_of(process, folder, host).items())


def environment_of(process: Process, folder: str, host: HostFacts) -> Mapping[str, Template]:
    """Return the variables of a process: those of its files, as far as they can be read, then its own."""
    found: dict[str, Template] = {}
    for path in process.env_file:
        data = host.head(normal(path, folder), envfile.BYTES_MAX + 1) or b""
        found |= {name: (value,) if value else () for name, value in envfile.parse(data).values.items()}
    return {**found, **process.environment}


def absolute(template: Template, folder: str) -> Template:
    """Return a path that counts from `folder`; a placeholder of a name or path at its start is absolute already."""
    if not template:
        return (folder,)
    first = template[0]
    if isinstance(first, Placeholder):
        return template if first.field in _ABSOLUTE else (f"{folder.rstrip('/')}/", *template)
    if len(template) == 1:
        return (normal(first, folder),)
    if posixpath.isabs(first):
        return template
    return (f"{folder.rstrip('/')}/{first}", *template[1:])


# --- what it runs as -------------------------------------------------------------------------------------------


def _attributes(process: Process, host: HostFacts) -> Attributes:
    identity: dict[str, Any] = {}
    if process.user is not None:
        identity = _identity(process.user, host)
    if process.group is not None:
        identity["group"] = number_of(process.group, host.gid_of, "group")
    return Attributes(
        **identity,
        umask=process.umask,
        nice=process.nice,
        scheduler=None if process.scheduler is None else scheduler_of(process.scheduler),
        cpu_affinity=_processors(process),
        limits=tuple((name, *limit.both) for name, limit in process.limits.items()),
    )


def _identity(user: int | str, host: HostFacts) -> dict[str, Any]:
    account = host.account(user)
    if account is None:
        if isinstance(user, str):
            raise UsageError(f"this host has no user `{user}`")
        account = Account(user, -1, (), "", "")
    known = {"home": account.home, "login": account.login}
    if account.uid == host.own_uid():
        return known  # whoever runs us is that user already, with the groups of this session
    group = {} if account.gid < 0 else {"group": account.gid}
    return {"user": account.uid, **group, "groups": account.groups, **known}


def scheduler_of(text: str) -> tuple[str, int]:
    """Return `fifo:80` as ("fifo", 80), `idle` as ("idle", 0)."""
    policy, _, priority = text.partition(":")
    return policy, int(priority or 0)


def _processors(process: Process) -> tuple[tuple[int, ...], ...]:
    if process.cpu_affinity is None:
        return ()
    return process.cpu_affinity.each if isinstance(process.cpu_affinity, EachCpus) else (process.cpu_affinity,)


def number_of(wanted: int | str | None, look: Any, what: str) -> int | None:
    """Return a user or group as its number. Raises UsageError for a name that this host does not have."""
    if wanted is None or isinstance(wanted, int):
        return wanted
    found: int | None = look(wanted)
    if found is None:
        raise UsageError(f"this host has no {what} `{wanted}`")
    return found
