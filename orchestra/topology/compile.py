"""From a valid topology to the plan of a run: absolute paths, numbers for users and keys, copies, selection.

What only exists at launch (names with a nonce, ids, descriptors, the number of a replica) stays a placeholder.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from orchestra.bindings import Placeholder, Template, inherited
from orchestra.errors import UsageError
from orchestra.kinds import Fill, OnDown
from orchestra.runplan import Dependency, ObjectPlan, ProcessPlan, RunPlan, Use
from orchestra.topology.fields import REPLICAS_MAX, KeyForm
from orchestra.topology.hints import nearest_help
from orchestra.topology.host import HostFacts
from orchestra.topology.include import normal
from orchestra.topology.loader import Loaded
from orchestra.topology.model import Process
from orchestra.topology.objectmodels import Fill as DeclaredFill
from orchestra.topology.objectmodels import (
    Ftok,
    IpcObject,
    Owned,
    PosixQueue,
    PosixSemaphore,
    Segment,
    SysvObject,
    SysvQueue,
    SysvSemaphore,
)
from orchestra.topology.signals import NUMBERS

_ABSOLUTE = ("name", "path")  # fields whose values start with a slash


def compile_plan(
    loaded: Loaded,
    *,
    instance: str,
    environment: Mapping[str, str],
    host: HostFacts,
    scale: Mapping[str, int] | None = None,
    only: Sequence[str] = (),
    python_path: str = "",
) -> RunPlan:
    """Return the plan of one run.

    `scale` overrides `replicas`; `only` names the processes to start, which brings along what they depend on and
    leaves out objects that none of them uses. Raises UsageError for a name that no process has, or a user, group or
    ftok file that is gone since the checks.
    """
    topology = loaded.topology
    scale = dict(scale or {})
    for name in (*scale, *only):
        if name not in topology.processes:
            hint = nearest_help(name, list(topology.processes), "Processes are {}.")
            raise UsageError(f"no process is called `{name}`", hint=hint)
    for name, count in scale.items():
        if not 1 <= count <= REPLICAS_MAX:
            raise UsageError(f"{name} cannot have {count} replicas: from 1 to {REPLICAS_MAX}")
    selected = with_dependencies(only, topology.processes) if only else list(topology.processes)
    processes = tuple(_process(name, topology.processes[name], loaded, scale.get(name)) for name in selected)
    used = {use.object for process in processes for use in process.uses}
    objects = tuple(
        _object(section, key, item, loaded, host)
        for section, key, item in topology.objects()
        if not only or key in used
    )
    return RunPlan(
        topology=topology.name,
        instance=instance,
        file=loaded.file,
        folder=loaded.folder,
        objects=objects,
        processes=processes,
        environment=inherited(environment),
        description=topology.description,
        python_path=python_path,
    )


def with_dependencies(names: Sequence[str], processes: Mapping[str, Process]) -> list[str]:
    """Return the named processes and all that they wait for, in the order of the file."""
    wanted: set[str] = set()
    rest = list(names)
    while rest:
        name = rest.pop()
        if name not in wanted:
            wanted.add(name)
            rest.extend(processes[name].depends_on)
    return [name for name in processes if name in wanted]


# --- objects ---------------------------------------------------------------------------------------------------


def _object(section: str, key: str, item: IpcObject, loaded: Loaded, host: HostFacts) -> ObjectPlan:
    folder = loaded.marks.folder((section, key))
    fields: dict[str, Any] = {"extra": copy.deepcopy(dict(item.extensions))}
    if isinstance(item, Owned):
        fields |= {
            "mode": item.mode,
            "owner": _number(item.owner, host.uid_of, "user"),
            "group": _number(item.group, host.gid_of, "group"),
            "on_down": item.on_down,
            "external": item.external,
        }
    else:
        fields["on_down"] = OnDown.REMOVE
    if item.address == "name":
        fields["name"] = getattr(item, "name", None)
    elif item.address == "path":
        path = getattr(item, "path", None)
        fields["name"] = None if path is None else normal(path, folder)
    if isinstance(item, SysvObject):
        fields["ipc_key"] = _ipc_key(item, folder, host)
    fields |= _shape(item, folder)
    return ObjectPlan(key=key, family=item.family_name, kind=item.kind, **fields)


def _shape(item: IpcObject, folder: str) -> dict[str, Any]:
    """Return the numbers that describe an object; of an external one only those that the file gives."""
    external = bool(getattr(item, "external", False))
    given = item.model_fields_set
    if isinstance(item, PosixQueue):
        return {
            "max_messages": item.max_messages if "max_messages" in given or not external else None,
            "message_size": item.message_size if "message_size" in given or not external else None,
        }
    if isinstance(item, SysvQueue):
        return {"capacity": item.bytes_held}
    if isinstance(item, Segment):
        return {"size": item.size, "fill": _fill(item, folder)}
    if isinstance(item, PosixSemaphore):
        return {"values": (item.value,) if "value" in given or not external else ()}
    if isinstance(item, SysvSemaphore):
        return {"values": item.members if given & {"value", "values"} or not external else ()}
    return {}


def _fill(item: Segment, folder: str) -> Fill | None:
    if item.fill is None:
        return None
    if not isinstance(item.fill, DeclaredFill):
        return Fill()
    file = None if item.fill.file is None else normal(item.fill.file, folder)
    return Fill(text=item.fill.text, hex=item.fill.hex, file=file)


def _ipc_key(item: SysvObject, folder: str, host: HostFacts) -> int | None:
    if isinstance(item.key, KeyForm):
        return 0 if item.key is KeyForm.PRIVATE else None
    if isinstance(item.key, Ftok):
        path = normal(item.key.path, folder)
        key = host.ftok(path, item.key.project)
        if key is None:
            raise UsageError(f"there is no file {path} to make a key of")
        if key == 0:
            raise UsageError(f"ftok makes the key 0 of {path}, which is IPC_PRIVATE", hint="Choose another project.")
        return key
    return item.key


def _number(wanted: int | str | None, look: Any, what: str) -> int | None:
    if wanted is None or isinstance(wanted, int):
        return wanted
    found: int | None = look(wanted)
    if found is None:
        raise UsageError(f"this host has no {what} `{wanted}`")
    return found


# --- processes -------------------------------------------------------------------------------------------------


def _process(name: str, process: Process, loaded: Loaded, replicas: int | None) -> ProcessPlan:
    folder = loaded.marks.folder(("processes", name))
    command = process.command
    if process.directory is not None:
        # Where the working folder is another one, a relative program would be looked for there.
        command = (_program(command[0], folder), *command[1:])
    return ProcessPlan(
        name=name,
        command=command,
        directory=absolute(process.directory or (), folder),
        environment=tuple(process.environment.items()),
        uses=tuple(Use(key, access) for key, access in process.uses.items()),
        replicas=replicas or process.replicas,
        service=process.service,
        success=process.success,
        depends_on=tuple(Dependency(other, condition.value) for other, condition in process.depends_on.items()),
        stop_signal=NUMBERS[process.stop.signal],
        grace=process.stop.grace,
        escalate=process.escalate.value,
        extra=copy.deepcopy(dict(process.extensions)),
    )


def _program(template: Template, folder: str) -> Template:
    has_slash = any("/" in part for part in template if isinstance(part, str))
    return absolute(template, folder) if has_slash else template


def absolute(template: Template, folder: str) -> Template:
    """Return a path that counts from `folder`; a placeholder of a name or path at its start is absolute already."""
    if not template:
        return (folder,)
    first = template[0]
    if isinstance(first, Placeholder):
        return template if first.field in _ABSOLUTE else (f"{folder.rstrip('/')}/", *template)
    if len(template) == 1:
        return (normal(first, folder),)
    if first.startswith("/"):
        return template
    return (f"{folder.rstrip('/')}/{first}", *template[1:])
