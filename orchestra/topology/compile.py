"""From a valid topology to the plan of a run: absolute paths, numbers for users and keys, copies, selection.

What only exists at launch (names with a nonce, ids, descriptors, the number of a replica) stays a placeholder.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from orchestra.bindings import inherited
from orchestra.errors import UsageError
from orchestra.kinds import Fill, OnDown
from orchestra.runplan import LogPlan, ObjectPlan, RunPlan
from orchestra.topology.fields import REPLICAS_MAX, Isolation, KeyForm
from orchestra.topology.hints import nearest_help
from orchestra.topology.host import HostFacts
from orchestra.topology.include import normal
from orchestra.topology.loader import Loaded
from orchestra.topology.makers import awaited, made_by, watched
from orchestra.topology.model import Topology
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
from orchestra.topology.processmodels import Log
from orchestra.topology.processplans import number_of, process_plan


def compile_plan(
    loaded: Loaded,
    *,
    instance: str,
    environment: Mapping[str, str],
    host: HostFacts,
    scale: Mapping[str, int] | None = None,
    only: Sequence[str] = (),
    python_path: str = "",
    isolation: str | None = None,
    keep_going: bool = False,
) -> RunPlan:
    """Return the plan of one run.

    `scale` overrides `replicas`, `isolation` what the file says; `only` names the processes to start, which brings
    along what they wait for (both also with `autostart: false`) and leaves out objects that none of them has to do
    with. With `keep_going`, a failure stops dependants only where the file does not say what it means. Raises
    UsageError for a name that no process has, an isolation that there is not, or a user, group or file that is gone
    since the checks.
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
        if count > 1 and made_by(name, topology):
            raise UsageError(f"{name} cannot have {count} replicas: it makes `{made_by(name, topology)[0]}`")
    if isolation is not None and isolation not in list(Isolation):
        raise UsageError(f"there is no isolation `{isolation}`", hint=f"One of {', '.join(Isolation)}.")
    if isolation == Isolation.PRIVATE:
        _check_reach(topology)
    selected = with_dependencies(only, topology) if only else list(topology.processes)
    processes = tuple(
        process_plan(name, loaded, host, replicas=scale.get(name), keep_going=keep_going) for name in selected
    )
    if only:  # what was asked for starts, and what it waits for has to
        processes = tuple(item._replace(autostart=True) for item in processes)
    used = {key for name in selected for key in watched(name, topology)}
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
        isolation=isolation or topology.isolation.value,
        undeclared=topology.undeclared.value,
        log=_log(topology.log),
    )


def _check_reach(topology: Topology) -> None:
    """Refuse what a file that does not say `isolation: private` itself may well have."""
    for _, key, item in topology.objects():
        if getattr(item, "external", False) and item.address != "path":
            message = f"an isolated run cannot reach `{key}`, which is external"
            raise UsageError(message, hint="Run it without --isolation private.")


def _log(log: Log) -> LogPlan:
    if log.rotate is None:
        return LogPlan(raw=log.raw)
    return LogPlan(rotate_size=log.rotate.size, keep=log.rotate.keep, raw=log.raw)


def with_dependencies(names: Sequence[str], topology: Topology) -> list[str]:
    """Return the named processes and all that they wait for, in the order of the file."""
    wanted: set[str] = set()
    rest = list(names)
    while rest:
        name = rest.pop()
        if name not in wanted:
            wanted.add(name)
            rest.extend(awaited(name, topology))
    return [name for name in topology.processes if name in wanted]


# --- objects ---------------------------------------------------------------------------------------------------


def _object(section: str, key: str, item: IpcObject, loaded: Loaded, host: HostFacts) -> ObjectPlan:
    folder = loaded.marks.folder((section, key))
    fields: dict[str, Any] = {"extra": copy.deepcopy(dict(item.extensions))}
    if isinstance(item, Owned):
        fields |= {
            "mode": item.mode,
            "owner": number_of(item.owner, host.uid_of, "user"),
            "group": number_of(item.group, host.gid_of, "group"),
            "on_down": item.on_down,
            "external": item.external,
            "made_by": item.made_by or "",
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
    """Return the numbers that describe an object; of one that others make only those that the file gives."""
    external = item.foreign
    given = item.model_fields_set
    if isinstance(item, PosixQueue):
        return {
            "max_messages": item.max_messages if "max_messages" in given or not external else None,
            "message_size": item.message_size if "message_size" in given or not external else None,
        }
    if isinstance(item, SysvQueue):
        return {"capacity": item.bytes_held}
    if isinstance(item, Segment):
        pages = getattr(item, "huge_pages", None)
        return {"size": item.size, "fill": _fill(item, folder), "huge_pages": pages, "lock": item.lock}
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
