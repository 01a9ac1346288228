"""Who makes what, and so who waits for whom: objects that a process makes are awaited by those who use them."""

from __future__ import annotations

from orchestra.topology.model import Topology


def makers(name: str, topology: Topology) -> dict[str, str]:
    """Return the other processes that make objects which a process uses: maker → its first such object."""
    found: dict[str, str] = {}
    for key in topology.processes[name].uses:
        maker = getattr(topology.object(key), "made_by", None)
        if maker is not None and maker != name and maker in topology.processes:
            found.setdefault(maker, key)
    return found


def made_by(name: str, topology: Topology) -> list[str]:
    """Return the keys of the objects that a process makes, in the order of the file."""
    return [key for _, key, item in topology.objects() if getattr(item, "made_by", None) == name]


def blocked(name: str, topology: Topology) -> list[str]:
    """Return the processes that a process waits for to be blocked on something."""
    waits = topology.processes[name].wait_for
    return [other for other, item in waits.items() if item.blocked_on is not None and other in topology.processes]


def awaited(name: str, topology: Topology) -> list[str]:
    """Return every process that a process waits for, for whatever reason."""
    depends = [other for other in topology.processes[name].depends_on if other in topology.processes]
    return list(dict.fromkeys([*depends, *makers(name, topology), *blocked(name, topology)]))


def watched(name: str, topology: Topology) -> set[str]:
    """Return the keys of all objects that a process has to do with: used, awaited, or made."""
    process = topology.processes[name]
    found = {*process.uses, *made_by(name, topology)}
    for subject, item in process.wait_for.items():
        found.add(subject if item.blocked_on is None else item.blocked_on)
    if process.ready is not None and process.ready.exists is not None:
        found.add(process.ready.exists)
    return found
